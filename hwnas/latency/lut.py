"""Latency from a table of measured blocks: the plain sum, and the sum corrected by whole measured networks."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from hwnas.core.additive import Additive, BlockIndex, sums
from hwnas.core.arch import Arch, ArchBatch
from hwnas.core.metrics import LATENCY, Floats, Metric, Prediction, Timed
from hwnas.core.net import NetSpec
from hwnas.core.problem import Statistic
from hwnas.core.protocols import SearchSpace
from hwnas.latency import fitting
from hwnas.latency.closed_loop import Correction, Limit, Points
from hwnas.latency.features import BlockFeatures
from hwnas.latency.model_file import reading, remove_weights, write_document
from hwnas.luts import LatencyTable, Row

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
class Coefficients:
    """What a fit found: `correction` of weights . features.

    `interval` is the relative half-width that held-out networks' medians kept within.
    """

    weights: Floats
    correction: Correction
    interval: float


class CorrectedTable(AdditiveLatency):
    """A table sum corrected by measured networks: still a sum over blocks, so ranges stay exact and bulk is one gather.

    The median and the p90 each have a fit of their own. Immutable: `update` gives a new one.
    """

    name = "lut corrected"

    def __init__(
        self,
        space: SearchSpace,
        table: LatencyTable,
        points: Points,
        *,
        coefficients: Coefficients | None = None,
        limit: Limit | None = None,
        features: BlockFeatures | None = None,
    ) -> None:
        self.space, self.table, self.points, self.limit = space, table, points, limit or Limit()
        self._features = features or BlockFeatures.of(space, table)
        self.coefficients = coefficients or self._fit()
        found, correction = self.coefficients, self.coefficients.correction
        tail = correction.p90_scale * (1 + correction.tail) * found.weights
        tail[-1] += correction.p90_scale * correction.tail_constant
        self.median = self._features.weighted(correction.median_scale * found.weights)
        self.p90 = self._features.weighted(tail)

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
        return CorrectedTable(
            self.space, self.table, points, limit=self.limit.moved(limit_ms, statistic), features=self._features
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
            "model": self.name,
            "space": self.space.id,
            "table_sha256": self.table.sha256(),
            "limit_ms": self.limit.ms,
            "statistic": self.limit.statistic,
            "coefficients": {
                "weights": dict(zip(self._features.names, found.weights.tolist(), strict=True)),
                **vars(found.correction),
                "interval": found.interval,
            },
            "points": self.points.to_json(),
        }
        write_document(path, document)
        remove_weights(path)

    @classmethod
    def load(cls, space: SearchSpace, table: LatencyTable, path: Path) -> CorrectedTable:
        """Read what `save` wrote; where the table was measured again since, the kept networks are fitted to it anew.

        Raises:
            InputError: the file is missing, damaged or of another space.
        """
        with reading(path, space) as document:
            points = Points.from_json(document["points"])
            limit = Limit(document["limit_ms"], document["statistic"])
            kept = dict(document["coefficients"])
            weights = np.array([float(weight) for weight in kept.pop("weights").values()])
            coefficients = Coefficients(weights, interval=kept.pop("interval"), correction=Correction(**kept))
            same = document["table_sha256"] == table.sha256()
        return cls(space, table, points, coefficients=coefficients if same else None, limit=limit)

    def _fit(self) -> Coefficients:
        points = self.points
        batch = ArchBatch(self.space.id, points.genes)
        columns = [additive(batch) for additive in self._features.additives()]
        matrix = np.stack([*columns, np.ones(len(batch))], axis=1)
        importance = points.importance(self.limit)
        weights = fitting.robust(matrix, points.median, points.median, importance)
        correction = Correction.fit(points, matrix @ weights, self.limit)
        return Coefficients(weights, correction, self._interval(matrix, importance))

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
