"""Latency from a table of measured blocks: the plain sum, and the sum corrected by whole measured networks."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hwnas.core.additive import Additive, BlockIndex, sums
from hwnas.core.arch import Arch, ArchBatch, Genes
from hwnas.core.errors import InputError
from hwnas.core.files import write_json
from hwnas.core.metrics import LATENCY, Floats, Metric, Prediction, Timed
from hwnas.core.net import NetSpec
from hwnas.core.problem import Statistic
from hwnas.core.protocols import SearchSpace
from hwnas.latency import fitting
from hwnas.latency.features import BlockFeatures
from hwnas.luts import LatencyTable, Row

NEAR = 0.1
"""How far from the limit, relative to it, a measurement still counts as near: the sigma of a bell."""
NEAR_WEIGHT = 4.0
"""How much more than others a network measured at the limit weighs: that is where the model must be right."""
SHRINK = 0.25
"""Prior of the closed loop's scale, in measurements: one verdict at the limit corrects 80% of its miss."""
RECENT = 0.85
"""Share of its trust that a network measured in the closed loop keeps with each later one, so that the scale follows a
machine's drift: one search with its four finalists, and a verdict, halve what was learnt before or on another day."""
INTERVAL = 0.9
"""Share of networks whose measured median lies between `lower` and `upper`."""


ABSENT = Row(math.inf, math.inf, 0.0, 0)
"""Stands for a row that an imported table lacks."""


class AdditiveLatency(ABC):
    """What latency models that are sums over blocks share: exact ranges of the median and of the p90."""

    metric: Metric = LATENCY
    median: Additive
    p90: Additive

    @abstractmethod
    def estimate(self, batch: ArchBatch) -> Prediction:
        """N predictions."""

    def additive(self, statistic: Statistic) -> Additive:
        """The cost behind a statistic."""
        return self.p90 if statistic == "p90" else self.median

    def reachable(self, statistic: Statistic = "median") -> tuple[float, float]:
        """Least and greatest predicted value over the whole space, exactly."""
        return self.additive(statistic).range()

    def least(self, statistic: Statistic = "median") -> Arch:
        """The architecture of least predicted value, exactly."""
        return self.additive(statistic).least()


class TableSum(AdditiveLatency):
    """The plain baseline: the sum of the blocks' rows, of medians and of p90s.

    A sum of p90s is no p90, and a sum of blocks counts one call a block: `CorrectedTable` does better. The interval is
    the sum of the rows' inter-quartile ranges.

    A measured table has every row of its space. An imported one may not: the range is then that of the networks whose
    rows are all there, and any other is an error that names the first missing row. With `missing` "infinite" such a
    network takes for ever instead, so that searches under a limit never propose it.

    Raises:
        InputError: a block of the space has no row in a table that was measured.
    """

    def __init__(
        self, space: SearchSpace, table: LatencyTable, *, missing: Literal["refuse", "infinite"] = "refuse"
    ) -> None:
        self._index, self._table, self._missing = BlockIndex(space), table, missing
        rows = [_row(table, net) for net in self._index.nets]
        self.median = self._index.additive(np.array([row.median_ms for row in rows]))
        self.p90 = self._index.additive(np.array([row.p90_ms for row in rows]))
        self._spread = self._index.additive(
            np.array([0.0 if row is ABSENT else row.spread * row.median_ms for row in rows])
        )

    def estimate(self, batch: ArchBatch) -> Prediction:
        """N predictions."""
        median, p90, spread = sums((self.median, self.p90, self._spread), batch)
        half = spread / 2
        absent = np.isinf(median)
        if self._missing == "refuse" and absent.any():
            self._refuse(batch.take(absent))
        return Prediction(median, p90, np.maximum(median - half, 0.0), median + half)

    def _refuse(self, batch: ArchBatch) -> None:
        """Raise the table's own error for the first row that the first architecture lacks."""
        for net, count in zip(self._index.nets, self._index.counts(batch)[0], strict=True):
            if count:
                self._table.row(net)


def _row(table: LatencyTable, net: NetSpec) -> Row:
    partial = table.provenance.imported is not None
    return ABSENT if partial and net.key() not in table.rows else table.row(net)


@dataclass(frozen=True, eq=False)
class Points:
    """N measured networks. `verdict` marks those of the closed loop, finalists included: it listens to them most."""

    genes: Genes
    median: Floats
    p90: Floats
    verdict: NDArray[np.bool_]

    @classmethod
    def of(cls, batch: ArchBatch, measurements: Sequence[Timed], verdict: bool) -> Points:
        """Networks and their measurements, in the same order."""
        if len(batch) != len(measurements):
            raise ValueError(f"{len(batch)} architectures but {len(measurements)} measurements")
        median = np.array([measurement.median for measurement in measurements])
        p90 = np.array([measurement.p90 for measurement in measurements])
        return cls(batch.genes, median, p90, np.full(len(batch), verdict))

    def join(self, other: Points) -> Points:
        """These points and then the others."""
        return Points(
            np.concatenate([self.genes, other.genes]),
            np.concatenate([self.median, other.median]),
            np.concatenate([self.p90, other.p90]),
            np.concatenate([self.verdict, other.verdict]),
        )

    def nearness(self, limit_ms: float | None, statistic: Statistic) -> Floats:
        """1 at the limit, falling to 0 away from it; 1 everywhere where there is no limit."""
        if limit_ms is None:
            return np.ones(len(self.median))
        return _bell(self.p90 if statistic == "p90" else self.median, limit_ms)

    def to_json(self) -> list[dict[str, Any]]:
        """One object a network."""
        columns = zip(self.genes.tolist(), self.median.tolist(), self.p90.tolist(), self.verdict.tolist(), strict=True)
        return [{"genes": g, "median": m, "p90": p, "verdict": v} for g, m, p, v in columns]

    @classmethod
    def from_json(cls, document: list[dict[str, Any]]) -> Points:
        """Read what `to_json` wrote."""
        genes = np.array([point["genes"] for point in document], dtype=np.int16)
        median, p90 = (np.array([float(point[key]) for point in document]) for key in ("median", "p90"))
        return cls(genes, median, p90, np.array([bool(point["verdict"]) for point in document]))


def _bell(values_ms: Floats, limit_ms: float) -> Floats:
    """1 at the limit, falling to 0 away from it."""
    return np.asarray(np.exp(-0.5 * ((values_ms / limit_ms - 1) / NEAR) ** 2), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Coefficients:
    """What a fit found.

    median = median_scale x (weights . features); p90 = p90_scale x ((1 + tail) x weights . features + tail_constant).
    `interval` is the relative half-width that held-out networks' medians kept within.
    """

    weights: Floats
    tail: float
    tail_constant: float
    median_scale: float
    p90_scale: float
    interval: float


class CorrectedTable(AdditiveLatency):
    """A table sum corrected by measured networks: still a sum over blocks, so ranges stay exact and bulk is one gather.

    The median and the p90 each have a fit of their own. Immutable: `update` gives a new one.
    """

    def __init__(
        self,
        space: SearchSpace,
        table: LatencyTable,
        points: Points,
        *,
        coefficients: Coefficients | None = None,
        limit_ms: float | None = None,
        statistic: Statistic = "p90",
        features: BlockFeatures | None = None,
    ) -> None:
        self.space, self.table, self.points = space, table, points
        self.limit_ms, self.statistic = limit_ms, statistic
        self._features = features or BlockFeatures.of(space, table)
        self.coefficients = coefficients or self._fit()
        found = self.coefficients
        base = found.median_scale * found.weights
        tail = found.p90_scale * (1 + found.tail) * found.weights
        tail[-1] += found.p90_scale * found.tail_constant
        self.median, self.p90 = self._features.weighted(base), self._features.weighted(tail)

    @classmethod
    def fit(
        cls, space: SearchSpace, table: LatencyTable, batch: ArchBatch, measurements: Sequence[Timed]
    ) -> CorrectedTable:
        """Fit on N networks measured whole; about 20 well-spread ones suffice for 4 weights.

        Raises:
            InputError: a block of the space has no row in the table.
        """
        if not len(batch):
            raise ValueError("want at least one measured network")
        return cls(space, table, Points.of(batch, measurements, verdict=False))

    def update(
        self,
        batch: ArchBatch,
        measurements: Sequence[Timed],
        *,
        limit_ms: float | None = None,
        statistic: Statistic = "p90",
    ) -> CorrectedTable:
        """The closed loop's correction: refit with newly measured networks, those near the limit weighing most."""
        points = self.points.join(Points.of(batch, measurements, verdict=True))
        limit = limit_ms if limit_ms is not None else self.limit_ms
        return CorrectedTable(
            self.space, self.table, points, limit_ms=limit, statistic=statistic, features=self._features
        )

    def estimate(self, batch: ArchBatch) -> Prediction:
        """N predictions."""
        (median, p90), half = sums((self.median, self.p90), batch), self.coefficients.interval
        return Prediction(median, p90, median * max(0.0, 1 - half), median * (1 + half))

    def save(self, path: Path) -> None:
        """Write coefficients and every measured network as JSON, whole or not at all."""
        found = self.coefficients
        document = {
            "schema": 1,
            "space": self.space.id,
            "table_sha256": self.table.sha256(),
            "limit_ms": self.limit_ms,
            "statistic": self.statistic,
            "coefficients": {
                **vars(found),
                "weights": dict(zip(self._features.names, found.weights.tolist(), strict=True)),
            },
            "points": self.points.to_json(),
        }
        write_json(path, document)

    @classmethod
    def load(cls, space: SearchSpace, table: LatencyTable, path: Path) -> CorrectedTable:
        """Read what `save` wrote; where the table was measured again since, the kept networks are fitted to it anew.

        Raises:
            InputError: the file is missing, damaged or of another space.
        """
        try:
            document = json.loads(path.read_text())
            points = Points.from_json(document["points"])
            limit, statistic = document["limit_ms"], document["statistic"]
            kept = dict(document["coefficients"])
            kept["weights"] = np.array([float(weight) for weight in kept["weights"].values()])
            coefficients = Coefficients(**kept)
            of_space, of_table = document["space"], document["table_sha256"]
        except FileNotFoundError as error:
            raise InputError(f"no latency model {path}: run `hwnas profile`") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is damaged: run `hwnas profile` again") from error
        if of_space != space.id or points.genes.shape[1:] != (len(space.choices),):
            raise InputError(f"{path} is a latency model of {of_space}, not of {space.id}: run `hwnas profile` again")
        same = of_table == table.sha256()
        return cls(
            space, table, points, coefficients=coefficients if same else None, limit_ms=limit, statistic=statistic
        )

    def _fit(self) -> Coefficients:
        points = self.points
        batch = ArchBatch(self.space.id, points.genes)
        columns = [additive(batch) for additive in self._features.additives()]
        matrix = np.stack([*columns, np.ones(len(batch))], axis=1)
        near = points.nearness(self.limit_ms, self.statistic)
        importance = 1 + (NEAR_WEIGHT - 1) * near if self.limit_ms is not None else np.ones(len(batch))
        weights = fitting.robust(matrix, points.median, points.median, importance)
        base = matrix @ weights
        tails = np.stack([base, np.ones(len(base))], axis=1)
        tail, constant = fitting.robust(tails, points.p90 - base, points.p90, importance)
        p90 = base + tail * base + constant
        if self.limit_ms is not None:
            # Near is also what was expected at the limit and took longer, or less: of a machine that changed its speed
            # since it was profiled nothing else is seen.
            expected = p90 if self.statistic == "p90" else base
            near = np.maximum(near, _bell(expected, self.limit_ms))
        median_scale = self._scale(points.median / base, near)
        p90_scale = self._scale(points.p90 / p90, near)
        return Coefficients(
            weights=weights,
            tail=float(tail),
            tail_constant=float(constant),
            median_scale=median_scale,
            p90_scale=max(p90_scale, median_scale / (1 + float(tail))),  # a p90 never lies below its median
            interval=self._interval(matrix, importance),
        )

    def _scale(self, ratio: Floats, near: Floats) -> float:
        """How far the loop's networks lie off the fit around the limit: their geometric mean ratio, shrunk.

        The latest count most.
        """
        verdict = self.points.verdict
        trust = near * verdict
        later = verdict.sum() - np.cumsum(verdict)
        recent = trust * RECENT**later
        if not recent.sum():
            return 1.0
        known = trust.sum() / (trust.sum() + SHRINK)
        return float(np.exp(known * (recent @ np.log(ratio)) / recent.sum()))

    def _interval(self, matrix: Floats, importance: Floats) -> float:
        """Relative half-width from medians of held-out folds."""
        median = self.points.median
        residuals = np.ones(len(median))
        for held in fitting.folds(len(median)):
            rest = np.setdiff1d(np.arange(len(median)), held)
            if len(rest):
                weights = fitting.robust(matrix[rest], median[rest], median[rest], importance[rest])
                residuals[held] = matrix[held] @ weights / median[held] - 1
        return fitting.bound(residuals, INTERVAL)
