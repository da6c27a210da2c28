"""How far do ten measurements of a new device carry, with other devices known?

Data: HELP's latencies of the 15,625 cells of NAS-Bench-201 (Lee et al., NeurIPS 2021), its split: nine known devices,
900 random cells each; six new devices, ten cells each, chosen before anything of them is known. Cells that were used
anywhere are not scored; hyperparameters were chosen on HELP's four validation devices alone (`--devices validation`).
Spearman's rank correlation, side by side:

- macs: of live operators;
- ridge: regression on how often each operator is written, on the same ten cells (and on ten random ones);
- transfer: `hwnas.latency.transfer`; and how many measurements fall within its 90% interval;
- as published: HELP's own README, ten samples (another choice of them), and BRP-NAS with 900.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from _common import finish, log, markdown, parser
from _data import cell_edges, help_cells
from numpy.typing import NDArray
from scipy.stats import spearmanr

from hwnas.core.count import macs
from hwnas.core.metrics import Floats
from hwnas.core.net import NetSpec
from hwnas.latency.transfer import Prior, Source
from hwnas.spaces.nasbench201 import OPERATORS, NasBench201

NAME = "transfer"
KNOWN = (
    *("1080ti_1", "1080ti_32", "1080ti_256", "silver_4114", "silver_4210r"),
    *("samsung_a50", "pixel3", "essential_ph_1", "samsung_s7"),
)
VALIDATION = ("titanx_1", "titanx_32", "titanx_256", "gold_6240")
TEST = ("titan_rtx_256", "gold_6226", "fpga", "pixel2", "raspi4", "eyeriss")
CELLS = 900
"""Of each known device."""
PUBLISHED = {
    "HELP, 10 samples (its README)": (0.987, 0.989, 0.985, 0.802, 0.890, 0.940),
    "BRP-NAS, 900 samples (HELP's README)": (0.814, 0.796, 0.801, 0.666, 0.847, 0.811),
}
"""In the order of `TEST`."""


def ridge(counts: Floats, rows: Sequence[int], times: Floats) -> Floats:
    """Every cell's latency by operator counts, fitted on a few."""
    from sklearn.linear_model import Ridge

    own = np.asarray(rows)
    return np.asarray(Ridge(alpha=0.1).fit(counts[own], times[own]).predict(counts))


def one_seed(
    nets: list[NetSpec], counts: Floats, work: Floats, devices: Sequence[str], measured: int, seed: int
) -> dict[str, list[float]]:
    """Rank correlations by model, a value a device."""
    latencies = help_cells()
    order = np.random.default_rng(seed).permutation(len(nets))
    known, free = order[:CELLS], order[CELLS:]

    def of(rows: NDArray[np.intp]) -> list[NetSpec]:
        return [nets[row] for row in rows]

    prior = Prior.learn([Source(of(known), latencies[device].to_numpy()[known]) for device in KNOWN])
    chosen = free[prior.choose(of(free), measured)]
    scored = np.setdiff1d(free, np.concatenate([chosen, free[:measured]]))
    found: dict[str, list[float]] = {name: [] for name in ("macs", "ridge, random", "ridge", "transfer", "covered")}
    for device in devices:
        times = latencies[device].to_numpy(dtype=np.float64)
        answer = prior.fit(of(chosen), times[chosen]).estimate(of(scored))
        guesses = {
            "macs": work[scored],
            "ridge, random": ridge(counts, free[:measured].tolist(), times)[scored],
            "ridge": ridge(counts, chosen.tolist(), times)[scored],
            "transfer": answer.median,
        }
        for name, guess in guesses.items():
            found[name].append(float(spearmanr(guess, times[scored]).statistic))
        found["covered"].append(float(np.mean((answer.lower <= times[scored]) & (times[scored] <= answer.upper))))
    return found


def main() -> None:
    options = parser(__doc__, seeds=5)
    options.add_argument("--devices", choices=("test", "validation"), default="test")
    options.add_argument("--measured", type=int, nargs="+", default=[10], help="cells a new device (%(default)s)")
    args = options.parse_args()
    devices = TEST if args.devices == "test" else VALIDATION
    space, edges = NasBench201(), cell_edges()
    nets = [space.cell(tuple(row)) for row in edges.tolist()]  # networks differ in nothing else
    counts = np.stack([(edges == operator).sum(1) for operator in range(1, len(OPERATORS))], axis=1).astype(float)
    work = np.array([float(macs(space.cell(tuple(row)))) for row in space.canonical(edges).tolist()])
    figures: dict[str, Any] = {"devices": list(devices), "known": list(KNOWN), "cells": CELLS}
    tables = []
    for measured in args.measured:
        seeds = range(1 if args.quick else args.seeds)
        runs = [one_seed(nets, counts, work, devices, measured, seed) for seed in seeds]
        means = {name: np.mean([run[name] for run in runs], axis=0) for name in runs[0]}
        least = float(np.min([np.mean(run["transfer"]) for run in runs]))
        log(f"{measured} measurements: {means}")
        by_device = {name: dict(zip(devices, row.tolist(), strict=True)) for name, row in means.items()}
        overall = {name: {"mean": float(row.mean())} for name, row in means.items()}
        figures[f"measured_{measured}"] = {name: overall[name] | by_device[name] for name in means} | {"least": least}
        lines = [[name, *(f"{value:.3f}" for value in (*row, row.mean()))] for name, row in means.items()]
        if args.devices == "test":
            lines += [[name, *(f"{value:.3f}" for value in (*row, np.mean(row)))] for name, row in PUBLISHED.items()]
        tables.append(f"{measured} measurements\n\n{markdown(['', *devices, 'mean'], lines)}")
    finish(args, NAME, figures, tables)


if __name__ == "__main__":
    main()
