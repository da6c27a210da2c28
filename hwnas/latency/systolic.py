"""A white-box simulator of a systolic array: cycles, stalls and accesses of every operator, by formulas.

Convolutions and linear layers run on the array (`systolic_flows`), one operator after the other, each from DRAM and
back to DRAM. Pooling runs on a row of lanes at the array's edge, one for each column, which take in a value a cycle:
`avg_pool` and `max_pool` read each window anew, `global_pool` each input once. `add`, `mul` and `act` are done on the
way in or out, as biases and fused activations are, and take no cycle of their own (so does the NVDLA's SDP, NVIDIA
2018, and the activation unit of Jouppi et al., ISCA 2017, section 2); the second operand of an `add` is fetched.
`zero` is written by the memory's controller.

Left out: compression and skipping of zeros, the wider words of partial sums, refresh and row misses of DRAM, what
operators could keep on chip for each other, and the arithmetic's energy outside multiply-accumulates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveFloat, PositiveInt, ValidationError

from hwnas.core.errors import InputError
from hwnas.core.net import NetSpec, Op, OpKind, Shape
from hwnas.core.protocols import Cost
from hwnas.latency.systolic_flows import FLOWS, Array, Dataflow, Work

POOLS = ("avg_pool", "max_pool")


class Hardware(BaseModel):
    """What a person writes about an array. Energies are for one value of `bytes_per_value` bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    rows: PositiveInt
    columns: PositiveInt
    clock_mhz: PositiveFloat
    dataflow: Dataflow
    bytes_per_value: PositiveInt
    input_sram_kib: PositiveFloat
    weight_sram_kib: PositiveFloat
    output_sram_kib: PositiveFloat
    mac_pj: NonNegativeFloat
    """One multiply-accumulate with what it reads and writes in the registers of its processing element."""
    sram_pj: NonNegativeFloat
    """One access to a buffer."""
    dram_pj: NonNegativeFloat
    """One access to DRAM."""
    dram_gb_per_s: PositiveFloat | None = None
    """In 10^9 bytes a second; without it DRAM always keeps up and nothing stalls."""
    pooling_as_convolution: bool = False
    """Count a pooling as the dense convolution of its window and channels, as estimators that know nothing else do."""

    @property
    def array(self) -> Array:
        """The array with half of each buffer, in values."""
        inputs, weights, outputs = (
            1024 * kib / self.bytes_per_value / 2
            for kib in (self.input_sram_kib, self.weight_sram_kib, self.output_sram_kib)
        )
        return Array(self.rows, self.columns, inputs, weights, outputs)

    @property
    def values_per_cycle(self) -> float:
        """What DRAM moves in a cycle."""
        if self.dram_gb_per_s is None:
            return math.inf
        return self.dram_gb_per_s * 1e3 / self.clock_mhz / self.bytes_per_value


EYERISS = Hardware(
    rows=12,
    columns=14,
    clock_mhz=200,
    dataflow="rs",
    bytes_per_value=2,
    # 181.5 KiB on chip: a buffer of 100 KiB for inputs and partial sums, here cut in half, and one of 8 KiB for weights
    # with the 168 elements' own 224 weights each.
    input_sram_kib=50,
    weight_sram_kib=81.5,
    output_sram_kib=50,
    # 16-bit multiply and add: 1.1 + 0.4 pJ at 45 nm (Horowitz, ISSCC 2014, figure 1.1.9). A register access costs as
    # much as a MAC, a buffer 6 and DRAM 200 times that (Chen et al., ISCA 2016, table IV); a MAC has four of the first.
    mac_pj=7.5,
    sram_pj=9,
    dram_pj=300,
)
"""The chip of Chen et al., "Eyeriss: An Energy-Efficient Reconfigurable Accelerator for Deep Convolutional Neural
Networks", JSSC 52(1), 2017, with a DRAM that keeps up: what crosses its link is compressed, which is not modelled."""


@dataclass(frozen=True)
class OperatorCost:
    """What one operator takes; `stall_cycles` come on top of `compute_cycles`, accesses are counted in values."""

    name: str
    kind: OpKind
    macs: int
    compute_cycles: int
    stall_cycles: int
    sram_accesses: int
    dram_accesses: int
    energy_mj: float

    @property
    def cycles(self) -> int:
        return self.compute_cycles + self.stall_cycles


class Systolic:
    """Simulates networks on a described array; what it says is simulated, never measured."""

    def __init__(self, hardware: Hardware) -> None:
        self.hardware = hardware

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Systolic:
        """From the keys of `Hardware`, as a TOML file has them.

        Raises:
            InputError: a key is unknown or missing, or its value is wrong.
        """
        try:
            return cls(Hardware.model_validate(dict(settings)))
        except ValidationError as error:
            raise InputError(f"systolic array: {_explain(error)}") from error

    def simulate(self, net: NetSpec) -> Cost:
        """Latency and energy of one image."""
        costs = self.operators(net)
        cycles = sum(cost.cycles for cost in costs)
        return Cost(cycles / (1e3 * self.hardware.clock_mhz), sum(cost.energy_mj for cost in costs))

    def operators(self, net: NetSpec) -> tuple[OperatorCost, ...]:
        """What each operator takes, in order."""
        return tuple(self._operator(op, net.shape(op.inputs[0])) for op in net.ops)

    def _operator(self, op: Op, in_shape: Shape) -> OperatorCost:
        if op.kind in ("conv", "linear") or (op.kind in POOLS and self.hardware.pooling_as_convolution):
            return self._on_array(op, in_shape)
        return self._beside_array(op, in_shape)

    def _on_array(self, op: Op, in_shape: Shape) -> OperatorCost:
        work = Work.of(op, in_shape)
        nest = FLOWS[self.hardware.dataflow](work, self.hardware.array)
        stalls = nest.stall_cycles(self.hardware.values_per_cycle)
        buffered = nest.repeats * nest.buffered
        return self._cost(op, work.macs, nest.compute_cycles, stalls, buffered, nest.dram_values)

    def _beside_array(self, op: Op, in_shape: Shape) -> OperatorCost:
        inputs, outputs = math.prod(in_shape), math.prod(op.out_shape)
        if op.kind == "global_pool":
            return self._pool(op, inputs, inputs, outputs)
        if op.kind in POOLS:
            return self._pool(op, op.kernel**2 * outputs, inputs, outputs)
        moved = outputs if op.kind in ("add", "zero") else 0
        stalls = moved / self.hardware.values_per_cycle
        return self._cost(op, 0, 0, stalls, moved, moved)

    def _pool(self, op: Op, taken: int, inputs: int, outputs: int) -> OperatorCost:
        compute = -(-taken // self.hardware.columns)
        dram = inputs + outputs
        stalls = max(0.0, dram / self.hardware.values_per_cycle - compute)
        return self._cost(op, 0, compute, stalls, taken + outputs, dram)

    def _cost(self, op: Op, macs: int, compute: int, stalls: float, sram: int, dram: float) -> OperatorCost:
        dram_accesses = round(dram)
        hardware = self.hardware
        picojoules = macs * hardware.mac_pj + sram * hardware.sram_pj + dram_accesses * hardware.dram_pj
        return OperatorCost(op.name, op.kind, macs, compute, math.ceil(stalls), sram, dram_accesses, 1e-9 * picojoules)


def _explain(error: ValidationError) -> str:
    """The first problem, in one line."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown key {key!r}: the keys are {', '.join(Hardware.model_fields)}"
    if first["type"] == "missing":
        return f"key {key!r} is missing: add it"
    return f"{key} = {first['input']!r} is wrong: {first['msg'].lower()}"
