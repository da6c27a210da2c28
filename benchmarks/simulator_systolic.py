"""How near does the simulated systolic array come to others' figures? Nothing here is fitted.

Three comparisons, each with figures that others published or computed:

- SCALE-Sim 3.0.0, frozen under tests/data: 30 layers of the once-for-all spaces, three data flows, two arrays. Compared
  are compute cycles, and beside them stall cycles, where the two model buffers and DRAM differently. SCALE-Sim's start
  is no stall: it fills its buffers before it counts;
- the Eyeriss chip: what it took for AlexNet's convolutions, 4 images (Chen et al., JSSC 52(1), 2017, table V);
- HW-NAS-Bench's estimates of Eyeriss for the 15,625 cells of NAS-Bench-201, as HELP has them. Their authors count the
  operator of every edge, dead ones too, and evidently a pooling as a dense 3 x 3 convolution (their figures are the
  same for both): a row with that and a row without, beside the counts of multiply-accumulates and parameters, and the
  multiply-accumulates where pooling counts as a convolution. Their figures take but 27 values, so that ranks depend on
  little more than that choice; the relative error is what tells models apart. The other data flows on the same array,
  and DRAM at the chip's link speed (64 bits at 90 MHz), show how much hangs on mapping and memory.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from _common import ROOT, finish, log, markdown, parser
from _data import cell_edges, help_cells
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

from hwnas.core.count import macs, params
from hwnas.core.metrics import Floats
from hwnas.core.net import INPUT, NetSpec, Op
from hwnas.latency.systolic import EYERISS, POOLS, Systolic
from hwnas.spaces.nasbench201 import AVG_POOL, CELLS, CONV_1X1, CONV_3X3, EDGES, NONE, SKIP, WIDTHS, NasBench201

sys.path.insert(0, str(ROOT / "tests"))
from scalesim_runs import runs

NAME = "simulator_systolic"
LINK_GB_PER_S = 0.72
ALEXNET = {
    "conv1": ((3, 227), (96, 55), 11, 4, 1, 16.5),
    "conv2": ((96, 27), (256, 27), 5, 1, 2, 39.2),
    "conv3": ((256, 13), (384, 13), 3, 1, 1, 21.8),
    "conv4": ((384, 13), (384, 13), 3, 1, 2, 16.0),
    "conv5": ((384, 13), (256, 13), 3, 1, 2, 10.0),
}
"""Channels and side of input and output, kernel, stride, groups, and the published processing latency in ms."""
IMAGES = 4


def against_scalesim() -> list[dict[str, Any]]:
    """One entry for each array and data flow."""
    found = [(run, run.ours()) for run in runs()]
    entries = []
    for array in sorted({run.array for run, _ in found}):
        for dataflow in ("ws", "os", "is"):
            pairs = [(run, ours) for run, ours in found if (run.array, run.dataflow) == (array, dataflow)]
            deviations = [abs(ours.compute_cycles / run.compute_cycles - 1) for run, ours in pairs]
            entries.append(
                {
                    "array": "x".join(map(str, array)),
                    "dataflow": dataflow,
                    "layers": len(pairs),
                    "greatest_deviation": max(deviations),
                    "median_deviation": float(np.median(deviations)),
                    "stall_cycles": sum(ours.stall_cycles for _, ours in pairs),
                    "scalesim_stall_cycles": sum(run.stall_cycles for run, _ in pairs),
                    "compute_cycles": sum(ours.compute_cycles for _, ours in pairs),
                    "scalesim_compute_cycles": sum(run.compute_cycles for run, _ in pairs),
                }
            )
    return entries


def against_the_chip() -> list[dict[str, Any]]:
    """One entry for each of AlexNet's convolutions."""
    entries = []
    for name, (entry, out, kernel, stride, groups, published) in ALEXNET.items():
        shape = (out[0], out[1], out[1])
        op = Op("conv", name, (INPUT,), entry[0], shape, kernel, stride, groups)
        (cost,) = Systolic(EYERISS).operators(NetSpec((entry[0], entry[1], entry[1]), (op,)))
        simulated = IMAGES * cost.compute_cycles / (1e3 * EYERISS.clock_mhz)
        active = cost.macs / cost.compute_cycles
        entries.append({"layer": name, "chip_ms": published, "simulated_ms": simulated, "active_elements": active})
    return entries


def pools_as_convolutions(net: NetSpec) -> NetSpec:
    """The same network with a dense convolution for each pooling."""
    return NetSpec(net.input_shape, tuple(replace(op, kind="conv") if op.kind in POOLS else op for op in net.ops))


def networks(edges: NDArray[np.int16], cost: Callable[[NetSpec], float]) -> Floats:
    """An additive cost of networks of N x 6 operators with the operator of every edge, N values.

    A network whose edges all skip has everything but those operators; a cell with the edge 0-3 alone is one of them.
    """
    space, total = NasBench201(), np.zeros(len(edges))
    for operator in (CONV_1X1, CONV_3X3, AVG_POOL):
        cells = [space.cell((NONE, NONE, NONE, operator, NONE, NONE), stage) for stage in range(len(WIDTHS))]
        total += (edges == operator).sum(axis=1) * CELLS * sum(map(cost, cells))
    return total + cost(space.network((SKIP,) * len(EDGES)))


def against_hw_nas_bench(step: int) -> list[dict[str, Any]]:
    """One entry for each model; relative errors for those that predict milliseconds."""
    published = help_cells()["eyeriss"].to_numpy(dtype=np.float64)[::step]
    edges = cell_edges()[::step]
    pooled = EYERISS.model_copy(update={"pooling_as_convolution": True})
    arrays = {"rs, pooling as pooling": EYERISS, "rs, pooling as convolution": pooled}
    for dataflow in ("ws", "os", "is"):
        arrays[f"{dataflow}, pooling as convolution"] = pooled.model_copy(update={"dataflow": dataflow})
    linked = pooled.model_copy(update={"dram_gb_per_s": LINK_GB_PER_S})
    arrays["rs, pooling as convolution, DRAM at link speed"] = linked
    counts = {"macs": networks(edges, macs), "params": networks(edges, params)}
    counts["macs, pooling as convolution"] = networks(edges, lambda net: macs(pools_as_convolutions(net)))
    latencies = {}
    for name, hardware in arrays.items():
        simulator = Systolic(hardware)
        latencies[name] = networks(edges, lambda net, simulator=simulator: simulator.simulate(net).latency_ms)  # type: ignore[misc]
    return [ranks(name, published, values) for name, values in counts.items()] + [
        {**ranks(name, published, values), **errors(published, values)} for name, values in latencies.items()
    ]


def ranks(model: str, published: Floats, predicted: Floats) -> dict[str, Any]:
    rounded = predicted.round(9)  # equal sums in another order are equal
    return {
        "model": model,
        "cells": len(published),
        "spearman": float(spearmanr(published, rounded).statistic),
        "kendall": float(kendalltau(published, rounded).statistic),
    }


def errors(published: Floats, predicted: Floats) -> dict[str, float]:
    ratio = predicted / published
    return {"median_ratio": float(np.median(ratio)), "mape": float(np.mean(np.abs(ratio - 1)))}


def tables(figures: dict[str, Any]) -> list[str]:
    """What goes into docs/results.md."""
    scalesim = [
        [entry["array"], entry["dataflow"], entry["layers"]]
        + [f"{100 * entry[key]:.2f}%" for key in ("greatest_deviation", "median_deviation")]
        + [f"{entry[key]:,}" for key in ("compute_cycles", "stall_cycles", "scalesim_stall_cycles")]
        for entry in figures["scalesim"]
    ]
    chip = [
        [entry["layer"], f"{entry['chip_ms']:.1f}", f"{entry['simulated_ms']:.1f}", f"{entry['active_elements']:.0f}"]
        for entry in figures["chip"]
    ]
    cells = [
        [entry["model"], f"{entry['spearman']:.4f}", f"{entry['kendall']:.4f}"]
        + ([f"{entry['median_ratio']:.2f}", f"{100 * entry['mape']:.0f}%"] if "mape" in entry else ["-", "-"])
        for entry in figures["hw_nas_bench"]
    ]
    deviations = ["compute cycles, greatest deviation", "median", "compute cycles", "stalls", "stalls of SCALE-Sim"]
    return [
        markdown(["array", "data flow", "layers", *deviations], scalesim),
        markdown(["layer, 4 images", "chip, ms", "simulated, ms", "active elements"], chip),
        markdown(["model", "Spearman", "Kendall", "simulated / published", "MAPE"], cells),
    ]


def main() -> None:
    args = parser(__doc__).parse_args()
    log("SCALE-Sim's layers and the chip's")
    figures = {"scalesim": against_scalesim(), "chip": against_the_chip()}
    log("the cells of NAS-Bench-201")
    figures["hw_nas_bench"] = against_hw_nas_bench(step=25 if args.quick else 1)
    finish(args, NAME, figures, tables(figures))


if __name__ == "__main__":
    main()
