"""The simulator of FPGA accelerators: a network's tile tasks, walked (FNAS, Jiang et al., DAC 2019, arXiv 1901.11211).

What is not in it: the time from a request to the first task, pipeline depths of the multipliers, rows of external
memory that open and close, buffers that fill up because a reader is late, and two engines that move at the same time
(each has the whole bandwidth then).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hwnas.core.net import NetSpec
from hwnas.core.protocols import Cost
from hwnas.latency.fpga_board import Board
from hwnas.latency.fpga_layers import layers_of
from hwnas.latency.fpga_schedule import walk

MULTIPLY_PJ = {8: 0.2, 16: 0.8, 32: 3.1}
"""Of two integers of so many bits: 45 nm, 0.9 V (Horowitz, "Computing's energy problem", ISSCC 2014, figure 1.1.9);
16 bits, which the figure leaves out, by the square of the bits, as 8 and 32 are apart."""
ADD_PJ = 0.1
"""Of two integers of 32 bits, which sums have (the same figure)."""
ON_CHIP_PJ_PER_BYTE = 10 / 8
"""A cache of 8 kB, the nearest there to a block RAM of 4.5 kB: 10 pJ for 64 bits (the same figure)."""
OFF_CHIP_PJ_PER_BYTE = 1950 / 8
"""DRAM: 1.3 to 2.6 nJ for 64 bits (the same figure); their middle."""


class FpgaTiles:
    """A board as a simulator. It computes one network at a time, from an empty accelerator to the last tile."""

    def __init__(self, board: Board) -> None:
        self.board = board

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> FpgaTiles:
        """A simulator from the keys of a file.

        Raises:
            InputError: a key is unknown or missing, or a value is wrong.
        """
        return cls(Board.of(settings))

    def simulate(self, net: NetSpec) -> Cost:
        """Milliseconds until a batch is done and millijoules of one image of it, without what the board draws idle.

        Raises:
            InputError: a pipeline of more layers than multipliers.
        """
        layers, parts = layers_of(net, self.board)
        done = max((float(tiles[-1, -1, -1]) for tiles in walk(layers)), default=0.0)
        mac_pj = MULTIPLY_PJ[self.board.bits_per_value] + ADD_PJ
        energy_pj = sum(
            work.macs * mac_pj
            + work.additions * ADD_PJ
            + part.on_chip_bytes * ON_CHIP_PJ_PER_BYTE
            + part.off_chip_bytes * OFF_CHIP_PJ_PER_BYTE
            for work, part in parts
        )
        return Cost(latency_ms=done / 1e3, energy_mj=energy_pj / 1e9)
