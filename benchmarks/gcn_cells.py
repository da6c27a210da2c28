"""How near does the graph predictor come to the latencies of cells that it has not seen?

Data: BRP-NAS's desktop CPU (Intel Core i7-7820X, TensorFlow, batch 1), 15,284 connected cells of NAS-Bench-201. For
each seed 900 random cells are measured, and all others are predicted. Side by side:

- macs: one factor, fitted on the same cells; operator counts: ridge regression on how many of each are live;
- boosted trees: gradient boosting on the live operators of each edge, counts, pairs of operators that follow one
  another or are side by side, and longest paths by six costs;
- gcn: the product's, an ensemble of five over a linear part;
- twins: cells that are the same network but for dead edges, as if each were predicted by its group's median (groups of
  three or more): what no predictor of the network can beat by much.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
from _common import finish, log, markdown, parser
from _data import cell_edges, desktop_cpu
from _shapes import SHAPES, shape_option
from numpy.typing import NDArray
from scipy.stats import spearmanr

from hwnas.core.count import macs
from hwnas.core.metrics import Floats
from hwnas.core.net import NetSpec
from hwnas.latency.gcn import GCN
from hwnas.latency.gcn_network import Shape, Training
from hwnas.latency.report_card import proportional
from hwnas.spaces.nasbench201 import EDGES, OPERATORS, NasBench201

NAME = "gcn_cells"
CELLS = 900
"""BRP-NAS's number of measured cells."""
PATH_COSTS = ((0, 1, 1, 1), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0, 1, 2, 1), (0, 1, 3, 2))
"""Of a skip, 1 x 1, 3 x 3 and pooling, for the longest paths."""
Predict = Callable[[NDArray[np.intp], NDArray[np.intp], int], Floats]
"""Training cells, cells to predict, and a seed; milliseconds."""


class Cells:
    """The measured cells: operators of live edges (N x 6), networks and latencies in ms."""

    def __init__(self) -> None:
        numbers, self.latency_ms = desktop_cpu()
        space = NasBench201()
        self.live = space.canonical(cell_edges())[numbers]
        known = {edges: space.cell(edges) for edges in {tuple(row) for row in self.live.tolist()}}
        self.nets: list[NetSpec] = [known[tuple(row)] for row in self.live.tolist()]
        self.macs = np.array([float(macs(net)) for net in self.nets])
        self.counts = np.stack([(self.live == op).sum(1) for op in range(1, len(OPERATORS))], axis=1).astype(float)
        self.features = np.concatenate([self._edges(), self.counts, self._pairs(), self._paths()], axis=1)

    def of(self, rows: NDArray[np.intp]) -> list[NetSpec]:
        return [self.nets[row] for row in rows]

    def _edges(self) -> Floats:
        hot = self.live[:, :, None] == np.arange(1, len(OPERATORS))
        return np.asarray(hot.reshape(len(hot), -1), dtype=np.float64)

    def _pairs(self) -> Floats:
        """How often each operator follows each other one, and how often any two are side by side."""
        hot = (self.live[:, :, None] == np.arange(1, len(OPERATORS))).astype(float)
        follow, beside = np.zeros((len(hot), 4, 4)), np.zeros((len(hot), 4, 4))
        for first, (_, middle) in enumerate(EDGES):
            for second, (start, _) in enumerate(EDGES):
                product = hot[:, first, :, None] * hot[:, second, None, :]
                if middle == start:
                    follow += product
                if first < second:
                    beside += product + product.transpose(0, 2, 1)
        upper = np.triu_indices(4)
        return np.concatenate([follow.reshape(len(hot), -1), beside[:, upper[0], upper[1]]], axis=1)

    def _paths(self) -> Floats:
        longest = []
        for costs in PATH_COSTS:
            cost = np.array([-np.inf, *costs])
            ends = np.full((len(self.live), 4), -np.inf)
            ends[:, 0] = 0
            for edge, (start, end) in enumerate(EDGES):
                ends[:, end] = np.maximum(ends[:, end], ends[:, start] + cost[self.live[:, edge]])
            longest.append(ends[:, 3])
        return np.stack(longest, axis=1)


def shares(predicted: Floats, measured: Floats) -> dict[str, float]:
    error = np.abs(predicted / measured - 1)
    found = {f"within_{percent}": float(np.mean(error <= percent / 100)) for percent in (10, 5, 1)}
    return {**found, "spearman": float(spearmanr(predicted, measured).statistic)}


def models(cells: Cells, epochs: int, shape: Shape) -> dict[str, Predict]:
    """Every model by name."""
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.linear_model import RidgeCV

    times = cells.latency_ms

    def by_macs(known: NDArray[np.intp], others: NDArray[np.intp], _: int) -> Floats:
        return proportional(cells.macs[known] + 1.0, times[known]) * (cells.macs[others] + 1.0)

    def by_counts(known: NDArray[np.intp], others: NDArray[np.intp], _: int) -> Floats:
        model = RidgeCV(np.logspace(-3, 3, 13)).fit(cells.counts[known], times[known])
        return np.asarray(model.predict(cells.counts[others]))

    def by_trees(known: NDArray[np.intp], others: NDArray[np.intp], seed: int) -> Floats:
        model = GradientBoostingRegressor(
            n_estimators=1000, max_depth=4, learning_rate=0.03, subsample=0.5, max_features=0.3, random_state=seed
        )
        model.fit(cells.features[known], np.log(times[known]))
        return np.asarray(np.exp(model.predict(cells.features[others])), dtype=np.float64)

    def by_gcn(known: NDArray[np.intp], others: NDArray[np.intp], seed: int) -> Floats:
        model = GCN(seed=seed, shape=shape, training=Training(epochs=epochs)).fit(cells.of(known), times[known])
        return model.predict(cells.of(others))

    return {"macs": by_macs, "operator counts": by_counts, "boosted trees": by_trees, "gcn": by_gcn}


def twins(cells: Cells) -> dict[str, float]:
    """Each cell by the median of its group."""
    groups: dict[tuple[int, ...], list[float]] = defaultdict(list)
    for row, time_ms in zip(cells.live.tolist(), cells.latency_ms.tolist(), strict=True):
        groups[tuple(row)].append(time_ms)
    large = [np.array(group) for group in groups.values() if len(group) >= 3]
    return shares(np.concatenate([np.full(len(group), np.median(group)) for group in large]), np.concatenate(large))


def main() -> None:
    options = parser(__doc__, seeds=5)
    shape_option(options)
    args = options.parse_args()
    seeds, epochs = (1, 10) if args.quick else (args.seeds, Training().epochs)
    cells = Cells()
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(cells.nets))
        known, others = order[:CELLS], order[CELLS:]
        if args.quick:
            others = others[:2000]
        for name, predict in models(cells, epochs, SHAPES[args.shape]).items():
            started = time.monotonic()
            entry = shares(predict(known, others, seed), cells.latency_ms[others])
            entry["seconds"] = time.monotonic() - started
            found[name].append(entry)
            log(f"seed {seed}, {name}: {entry}")
    figures: dict[str, Any] = {
        name: {key: float(np.mean([entry[key] for entry in entries])) for key in entries[0]}
        for name, entries in found.items()
    }
    figures["twins"] = twins(cells)
    rows = [
        [
            name,
            *(f"{100 * entry[f'within_{percent}']:.1f}%" for percent in (10, 5, 1)),
            f"{entry['spearman']:.4f}",
            f"{entry['seconds']:.0f} s" if "seconds" in entry else "-",
        ]
        for name, entry in figures.items()
    ]
    table = markdown(["model", "within 10%", "within 5%", "within 1%", "Spearman", "training and predicting"], rows)
    finish(args, NAME, {"shape": args.shape, "cells": CELLS, "seeds": seeds, **figures}, [table])


if __name__ == "__main__":
    main()
