"""How well does the roofline simulator rank and time 288,334 published convolutions on a V100, without any fit?

The data (alibaba/lightweight-neural-architecture-search, TensorRT on a V100; HWNAS_DATA names their folder) come in 25
groups of one precision, type and batch. First table: rank correlation by group, where nothing is fitted: the
description of the V100 is a data sheet's. Beside it MACs, and the weights' bytes. Second table: three constants a
precision (effective peak, effective bandwidth, launch) are fitted on 500 random rows, and all other rows are
predicted; beside it MACs and weights, scaled by one factor each. Five seeds.

The rows called fp16_damoyolo state batch 32, and cannot be that: they would move six times what a V100's memory does,
and compute nearly three times its peak (the last two columns show the greatest of each group). They are simulated as
batch 1, and as they are labelled in a row of their own. FP32 beyond its peak of 15.7 is Winograd's algorithm. INT8
moves slowly, likely because an engine of one layer writes FP32; the fit takes that for a low bandwidth.

Last, the blocks of the workspace's space on this machine, from probed facts: nothing is timed. Where the workspace
keeps a table of measured blocks, the rank correlation with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _common import Setting, finish, log, markdown, parser
from _data import folder
from numpy.typing import NDArray
from scipy.stats import spearmanr

from hwnas.core.additive import distinct_blocks
from hwnas.core.count import macs
from hwnas.core.metrics import Floats
from hwnas.devices.runner.facts import probe
from hwnas.latency.hardware import cpu
from hwnas.latency.roofline import Convolutions, Roofline
from hwnas.latency.simulated import SimulatedLatency
from hwnas.luts import LatencyTable

NAME = "simulator_roofline"
FITTED = 500
"""Rows that three constants are fitted on."""
MISLABELLED = "fp16_damoyolo"
AS_LABELLED = f"{MISLABELLED}, batch as labelled"
GROUP = ["precision", "conv_type", "batch"]


def published(step: int) -> pd.DataFrame:
    """The convolutions, every `step`-th of them; those of impossible speed appear twice, once as batch 1."""
    frame = pd.read_parquet(folder() / "v100_trt_conv_ops" / "v100_trt_conv_latency.parquet").iloc[::step]
    frame = frame.assign(precision=frame["precision"].astype(str), conv_type=frame["conv_type"].astype(str))
    labelled = frame[frame["precision"] == MISLABELLED].assign(precision=AS_LABELLED)
    frame.loc[frame["precision"] == MISLABELLED, "batch"] = 1
    return pd.concat([frame, labelled], ignore_index=True)


def convolutions(frame: pd.DataFrame) -> Convolutions:
    return Convolutions.square(
        batch=frame["batch"],
        in_channels=frame["in_c"],
        size=frame["in_h"],
        out_channels=frame["out_c"],
        kernel=frame["kernel"],
        stride=frame["stride"],
        groups=np.where(frame["conv_type"] == "Depthwise", frame["in_c"], 1),
        added=frame["elmt_fused"],
    )


def described(precision: str) -> Roofline:
    return Roofline.of({"like": f"v100/{precision.split('_')[0]}"})


def rank(predicted: Floats, measured: Floats) -> float:
    return float(spearmanr(predicted, measured).statistic)


def orders(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rank correlations of each group, nothing fitted."""
    rows = []
    for (precision, kind, batch), group in frame.groupby(GROUP):
        given, measured = convolutions(group), group["latency_ms"].to_numpy()
        simulator = described(str(precision))
        simulated = simulator.latency_ms(given)
        moved = simulator.hardware.value_bytes * given.values + simulator.hardware.weight_bytes * given.weights
        rows.append(
            {
                "group": f"{precision} {kind} {batch}",
                "rows": len(group),
                "simulator": rank(simulated, measured),
                "macs": rank(given.macs, measured),
                "weights": rank(given.weights, measured),
                "median_error": error(simulated, measured),
                "greatest_gb_s": float(np.max(1e-6 * moved / measured)),
                "greatest_tflops": float(np.max(2e-9 * given.macs / measured)),
                "counts": precision != AS_LABELLED,
            }
        )
    return rows


def error(predicted: Floats, measured: Floats) -> float:
    """Median relative error."""
    return float(np.median(np.abs(predicted / measured - 1)))


def fits(frame: pd.DataFrame, seeds: int) -> list[dict[str, Any]]:
    """For each precision and seed: errors on all rows but the fitted ones."""
    rows = []
    for precision, group in frame.groupby("precision"):
        given, measured = convolutions(group), group["latency_ms"].to_numpy(dtype=np.float64)
        simulator = described(str(precision))
        for seed in range(seeds):
            order = np.random.default_rng(seed).permutation(len(group))
            learnt, held = order[:FITTED], order[FITTED:]
            fitted = simulator.fit(given.take(learnt), measured[learnt])
            predictions = {
                "fitted": fitted.latency_ms(given),
                "data_sheet": simulator.latency_ms(given),
                "macs": scaled(given.macs, measured, learnt),
                "weights": scaled(given.weights, measured, learnt),
            }
            errors = {name: error(values[held], measured[held]) for name, values in predictions.items()}
            hardware = fitted.hardware
            rows.append(
                {
                    "precision": precision,
                    "seed": seed,
                    **errors,
                    "peak_tflops": hardware.peak_tflops,
                    "memory_gb_s": hardware.memory_gb_s,
                    "launch_us": hardware.launch_us,
                }
            )
    return rows


def scaled(values: Floats, measured: Floats, learnt: NDArray[np.intp]) -> Floats:
    """A baseline times the one factor that is right for half of the fitted rows."""
    return values * float(np.median(measured[learnt] / values[learnt]))


def this_machine(workspace: Path) -> dict[str, Any]:
    """Simulated blocks on this machine's CPU, one thread; beside them the workspace's measured ones, if any."""
    setting, hardware = Setting.of(workspace), cpu(probe())
    space, simulator = setting.supernet.space, Roofline(hardware)
    blocks = distinct_blocks(space)
    simulated = np.array([simulator.simulate(net).latency_ms for net in blocks.values()])
    figures: dict[str, Any] = {
        "space": space.id,
        "hardware": hardware.model_dump(),
        "blocks": len(blocks),
        "block_ms": {str(q): float(np.percentile(simulated, q)) for q in (0, 50, 100)},
        "network_ms": list(SimulatedLatency(space, simulator).reachable()),
    }
    path = setting.tables / "table.csv"
    if not path.exists():
        log(f"no {path}: nothing to compare the blocks with")
        return figures
    table = LatencyTable.read(path)
    measured = np.array([table.row(net).median_ms for net in blocks.values()])
    counts = np.array([float(macs(net)) for net in blocks.values()])
    figures |= {"spearman": rank(simulated, measured), "macs_spearman": rank(counts, measured)}
    return figures | {"median_error": error(simulated, measured)}


def summary(groups: list[dict[str, Any]]) -> dict[str, Any]:
    counted = [row for row in groups if row["counts"]]
    ours = [row["simulator"] for row in counted]
    return {
        "groups": len(counted),
        "rows": sum(row["rows"] for row in counted),
        "spearman_median": float(np.median(ours)),
        "spearman_least": min(ours),
        "macs_spearman_median": float(np.median([row["macs"] for row in counted])),
        "macs_better_in": sum(row["macs"] >= row["simulator"] for row in counted),
    }


def tables(groups: list[dict[str, Any]], fitted: list[dict[str, Any]]) -> list[str]:
    columns = ["simulator", "macs", "weights", "median_error"]
    greatest = ["greatest_gb_s", "greatest_tflops"]
    first = [
        [
            row["group"],
            row["rows"],
            *(f"{row[name]:.3f}" for name in columns),
            *(f"{row[name]:.0f}" for name in greatest),
        ]
        for row in groups
    ]
    second = []
    for precision, rows in pd.DataFrame(fitted).groupby("precision"):
        spread = f"{100 * rows['fitted'].min():.1f} to {100 * rows['fitted'].max():.1f}%"
        means = [f"{100 * rows[name].mean():.0f}%" for name in ("data_sheet", "macs", "weights")]
        constants = [f"{rows[name].mean():.3g}" for name in ("peak_tflops", "memory_gb_s", "launch_us")]
        second.append([precision, f"{100 * rows['fitted'].mean():.1f}%", spread, *means, *constants])
    return [
        markdown(
            [*("precision, type, batch", "rows", "simulator", "MACs", "weights", "error", "GB/s", "TFLOP/s")], first
        ),
        markdown([*("precision", "fitted", "seeds", "data sheet", "MACs", "weights"), "TFLOP/s", "GB/s", "us"], second),
    ]


def main() -> None:
    args = parser(__doc__, seeds=5).parse_args()
    frame = published(20 if args.quick else 1)
    log(f"{len(frame)} rows")
    groups = orders(frame)
    fitted = fits(frame, 1 if args.quick else args.seeds)
    figures = {**summary(groups), "by_group": groups, "fits": fitted, "this_machine": this_machine(args.workspace)}
    finish(args, NAME, figures, tables(groups, fitted))


if __name__ == "__main__":
    main()
