"""Does the simulator of FPGA accelerators rank networks as published numbers do? Nothing is fitted.

Two tables, each beside MACs and parameters, as rank correlations (Spearman):

1. NAS-Bench-201 on a ZC706 board: the `fpga` numbers of HW-NAS-Bench for all 15,625 cells, as HELP republished them.
   They have the operator of every edge, of dead ones too, and nothing for sums and skip connections.
2. Accel-NASBench: 5,136 MnasNet networks on Xilinx's DPUs of a ZCU102 and of a VCK190, measured.

The boards are written from data sheets and from the publications; each constant has its source beside it. Variants
change one thing that no source settles; they run over a sample of the networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from _common import finish, log, markdown, parser
from _data import cell_edges, help_cells
from _data import cells as official_counts
from _mnasnet import counted_macs, lower, networks
from scipy import stats

from hwnas.core.count import macs, params
from hwnas.core.metrics import Floats
from hwnas.core.net import NetSpec
from hwnas.latency.fpga_tiles import FpgaTiles
from hwnas.spaces.nasbench201 import NasBench201

NAME = "simulator_fpga"
DPUS = ("ZCU102", "VCK190")
SAMPLE = 1500
SEED = 0

ZC706: dict[str, Any] = {
    # XC7Z045: 900 DSP48E1 slices, 545 block RAMs of 36 Kb (DS190). One slice a multiply-accumulate of 16 bits.
    "dsps": 900,
    "on_chip_bytes": 545 * 36 * 1024 // 8,
    "bits_per_value": 16,
    # The processing system's DDR3, 32 bits at 1,066 MT/s (UG954).
    "bandwidth_gb_s": 4.264,
    # HW-NAS-Bench (Li et al., ICLR 2021) does not say; accelerators for this board run at 150 to 200.
    "clock_mhz": 200,
    # It follows the "chunk-based pipeline" of Shen et al., ISCA 2017: an image passes from layer to layer through the
    # external memory, and while one layer runs none of the same image does.
    "sharing": "turns",
    "keep_on_chip": False,
}
"""HW-NAS-Bench's board, as far as it is described. Lanes are the simulator's own: 16 channels, line buffers."""

ZCU102: dict[str, Any] = {
    # DPUCZDX8G B4096, one core of three (measured single-threaded): 8 x 16 x 16 multiply-accumulates a cycle out of 512
    # slices at twice the clock with two products each (PG338, "Enhanced Usage of DSP"); pixels run over rows.
    "dsps": 512,
    "macs_per_dsp": 4,
    "unroll": {"rows": 8, "inputs": 16, "outputs": 16},
    # 281 MHz (UG1354, Vitis AI 2.5, "ZCU102 Evaluation Kit").
    "clock_mhz": 281,
    # Depthwise convolutions and pools run on the ALU, a value of the window a cycle, 16 channels x 4 pixels: half the
    # pixels of the array (PG338, "DepthwiseConv"); additions and products on an engine of the same width.
    "lanes": {"rows": 4, "channels": 16, "line_buffers": False},
    # Two groups of 8 banks for values and one of 16 for weights, 16 x 2,048 bytes each
    # (Vitis-AI, target_factory/targets/DPUCZDX8G_ISA1_B4096.prototxt).
    "on_chip_bytes": 2 * 16 * 16 * 2048,
    # Two ports of 128 bits at the clock (PG338, "Port Descriptions"), less than the board's DDR4 gives.
    "bandwidth_gb_s": 2 * 16 * 0.281,
    "bits_per_value": 8,
    "sharing": "engines",
    "reuse": "output",
}

VCK190: dict[str, Any] = {
    # DPUCVDX8G C32B6: 32 AI engines an image at 1,250 MHz, 128 multiply-accumulates of 8 bits each (PG389, "Peak
    # Theoretical Performance"), as 8 x 16 x 32 (DPUCVDX8G_ISA3_C32B6.prototxt).
    "dsps": 32,
    "macs_per_dsp": 128,
    "array_clock_mhz": 1250,
    "unroll": {"rows": 8, "inputs": 16, "outputs": 32},
    # The rest in programmable logic at 333 MHz (UG1354, "VCK190 Evaluation Board"); the ALU has 16 x 8 (the prototxt).
    "clock_mhz": 333,
    "lanes": {"rows": 8, "channels": 16, "line_buffers": False},
    # Banks of 16 x 8,192 bytes (the prototxt).
    "on_chip_bytes": 2 * 16 * 16 * 8192,
    # Wired to the LPDDR4 (Vitis-AI, DPUCVDX8G TRD): two controllers of 2 x 32 bits at 3,900 MT/s.
    "bandwidth_gb_s": 2 * 8 * 3.9,
    # Six images in step is what it was measured with.
    "batch": 6,
    "bits_per_value": 8,
    "sharing": "engines",
    "reuse": "output",
}

Changes = Callable[[dict[str, Any]], dict[str, Any]]
"""From a board's settings to those that a variant has instead."""

CELL_VARIANTS: dict[str, Changes] = {
    "as described": lambda _: {},
    "values stay on the chip": lambda _: {"keep_on_chip": True},
    "memory of 12.8 GB/s": lambda _: {"bandwidth_gb_s": 12.8},
    "32 lanes": lambda _: {"lanes": {"channels": 32}},
    "pools without line buffers": lambda _: {"lanes": {"line_buffers": False}},
    "array and lanes at once": lambda _: {"sharing": "engines"},
    "FNAS's pipeline, tiles of 13": lambda _: {"sharing": "pipeline", "tile": 13},
    "FNAS's pipeline, tiles of 4": lambda _: {"sharing": "pipeline", "tile": 4},
}
"""12.8 GB/s is the board's second memory, wired to the logic. Tiles of 13 x 13 are Zhang et al.'s (FPGA 2015)."""
DPU_VARIANTS: dict[str, Changes] = {
    "as described": lambda _: {},
    "values go through memory": lambda _: {"keep_on_chip": False},
    "one layer after the other": lambda _: {"sharing": "turns"},
    "half the bandwidth": lambda board: {"bandwidth_gb_s": board["bandwidth_gb_s"] / 2},
    "tiles of 8 rows and columns": lambda _: {"tile": 8},
}


def rank(found: Floats, published: Floats) -> float:
    return float(stats.spearmanr(found, published).statistic)


def compared(
    published: Floats, official: Floats, nets: Iterable[NetSpec], board: dict[str, Any]
) -> tuple[dict[str, Any], Floats]:
    """The simulator beside the baselines, and its latencies in ms; no more than one network at a time is kept.

    `official` are the counts of operations that were published with the networks.
    """
    simulator = FpgaTiles.of(board)
    counts = np.array([(macs(net), params(net), simulator.simulate(net).latency_ms) for net in nets])
    names = ("macs", "params", "simulated")
    ranks = {name: rank(column, published) for name, column in zip(names, counts.T, strict=True)}
    ranks["official_macs"] = rank(official, published)
    ratio = {str(q): float(np.percentile(counts[:, 2] / published, q)) for q in (5, 50, 95)}
    return {"networks": len(counts), **ranks, "simulated_over_published": ratio}, counts[:, 2]


def varied(
    published: Floats, nets: Sequence[NetSpec], board: dict[str, Any], variants: dict[str, Changes]
) -> dict[str, Any]:
    """The rank correlation of each variant."""
    ranks = {}
    for name, change in variants.items():
        simulator = FpgaTiles.of({**board, **change(board)})
        ranks[name] = rank(np.array([simulator.simulate(net).latency_ms for net in nets]), published)
    return {"networks": len(nets), "simulated": ranks}


def take(count: int, limit: int) -> list[int]:
    """Positions of a sample, ascending."""
    drawn = np.random.default_rng(SEED).permutation(count)[:limit]
    return sorted(int(i) for i in drawn)


def cells(limit: int | None) -> dict[str, Any]:
    """NAS-Bench-201 on the ZC706."""
    space, edges = NasBench201(), cell_edges()
    published = help_cells()["fpga"].to_numpy(dtype=np.float64)
    where = take(len(published), limit or len(published))
    log(f"{len(where)} cells")

    def network(index: int) -> NetSpec:
        return space.network(tuple(int(operator) for operator in edges[index]))

    official = official_counts()["flops_M_c10"].to_numpy(dtype=np.float64)
    figures, _ = compared(published[where], official[where], (network(i) for i in where), ZC706)
    log("variants")
    some = [where[i] for i in take(len(where), SAMPLE)]
    figures["variants"] = varied(published[some], [network(i) for i in some], ZC706, CELL_VARIANTS)
    return figures


def mnasnet(frame: pd.DataFrame, nets: Sequence[NetSpec], column: str, board: dict[str, Any]) -> dict[str, Any]:
    """Accel-NASBench on one DPU."""
    log(f"{len(nets)} networks on {column.removeprefix('latency_')}")
    published = frame[column].to_numpy(dtype=np.float64)
    figures, found = compared(published, frame["macs"].to_numpy(dtype=np.float64), nets, board)
    excited = frame[[f"block{stage}_se" for stage in range(7)]].any(axis=1).to_numpy()
    for name, some in (("plain", ~excited), ("excited", excited)):
        figures[name] = {"networks": int(some.sum()), "simulated": rank(found[some], published[some])}
    part = take(len(nets), SAMPLE)
    figures["variants"] = varied(published[part], [nets[i] for i in part], board, DPU_VARIANTS)
    return figures


def lowering(frame: pd.DataFrame, nets: Sequence[NetSpec]) -> dict[str, float]:
    """How far the networks' own counts are from the published columns, at most, in millions."""
    own: dict[str, Callable[[NetSpec], float]] = {"params": params, "macs": counted_macs}
    return {
        name: float(np.abs(np.array([count(net) for net in nets]) / 1e6 - frame[name].to_numpy()).max())
        for name, count in own.items()
    }


def table(rows: dict[str, dict[str, Any]]) -> str:
    header = ["numbers", "networks", "MACs", "official MACs", "parameters", "simulated"]
    header.append("simulated / published: 5%, median, 95%")
    lines = []
    for name, found in rows.items():
        ratios = ", ".join(f"{value:.2f}" for value in found["simulated_over_published"].values())
        ranks = [f"{found[key]:.3f}" for key in ("macs", "official_macs", "params", "simulated")]
        lines.append([name, found["networks"], *ranks, ratios])
    return markdown(header, lines)


def ranks(title: str, columns: dict[str, dict[str, float]]) -> str:
    names = list(next(iter(columns.values())))
    return markdown(
        [title, *columns], [[name, *(f"{column[name]:.3f}" for column in columns.values())] for name in names]
    )


def main() -> None:
    args = parser(__doc__).parse_args()
    found_cells = cells(300 if args.quick else None)
    frame = networks().dropna(subset=["latency_zcu102", "latency_vck190"])
    if args.quick:
        frame = frame.iloc[take(len(frame), 150)]
    nets = [lower(row) for row in frame.to_dict("records")]
    zcu102 = mnasnet(frame, nets, "latency_zcu102", ZCU102)
    vck190 = mnasnet(frame, nets, "latency_vck190", VCK190)
    figures = {
        "zc706": found_cells,
        "zcu102": zcu102,
        "vck190": vck190,
        "lowering_error_millions": lowering(frame, nets),
    }
    dpus = (zcu102, vck190)
    tables = [
        table({"NAS-Bench-201, ZC706": found_cells, "MnasNet, ZCU102": zcu102, "MnasNet, VCK190": vck190}),
        ranks("ZC706, variant", {"simulated": found_cells["variants"]["simulated"]}),
        ranks("DPU, variant", {name: found["variants"]["simulated"] for name, found in zip(DPUS, dpus, strict=True)}),
        ranks(
            "squeeze-and-excite",
            {
                name: {key: found[key]["simulated"] for key in ("plain", "excited")}
                for name, found in zip(DPUS, dpus, strict=True)
            },
        ),
    ]
    finish(args, NAME, figures, tables)


if __name__ == "__main__":
    main()
