"""What SCALE-Sim said of our layers, as `tests/data/make_scalesim.py` froze it, and what ours says of the same."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwnas.core.net import INPUT, NetSpec, Op
from hwnas.latency.systolic import OperatorCost, Systolic

FILES = sorted((Path(__file__).parent / "data").glob("scalesim_*.json"))


@dataclass(frozen=True)
class Run:
    """One layer on one array with one data flow; cycles are SCALE-Sim's."""

    array: tuple[int, int]
    dataflow: str
    net: NetSpec
    compute_cycles: int
    stall_cycles: int

    def ours(self) -> OperatorCost:
        """The same array in our words.

        Its bandwidth, 10 values a cycle for each of inputs, weights and outputs, is 30 shared ones here.
        """
        rows, columns = self.array
        buffers = dict.fromkeys(("input_sram_kib", "weight_sram_kib", "output_sram_kib"), 64)
        energies = dict.fromkeys(("mac_pj", "sram_pj", "dram_pj"), 1)
        array = {"rows": rows, "columns": columns, "dataflow": self.dataflow, "bytes_per_value": 1}
        speeds = {"clock_mhz": 1000, "dram_gb_per_s": 30}
        return Systolic.of({**array, **speeds, **buffers, **energies}).operators(self.net)[0]


def runs() -> list[Run]:
    """All that is frozen."""
    return [_run(tuple(document["array"]), run) for document in map(_read, FILES) for run in document["runs"]]


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _run(array: Any, run: dict[str, Any]) -> Run:
    shape = {key: run[key] for key in ("kind", "name", "in_channels", "kernel", "stride", "groups")}
    op = Op(inputs=(INPUT,), out_shape=tuple(run["out_shape"]), **shape)
    net = NetSpec(tuple(run["in_shape"]), (op,))
    return Run(array, run["dataflow"], net, run["compute_cycles"], run["stall_cycles"])
