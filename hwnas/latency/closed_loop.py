"""What measured networks tell a fitted model: its tail, and how far it is off around the limit of a search.

Latency models of every kind get their tail and their scale here, as the closed loop of `hwnas specialize` measures
finalists and hands out verdicts; a corrected table refits its weights as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwnas.core.arch import ArchBatch, Genes
from hwnas.core.metrics import Floats, Timed
from hwnas.core.problem import Statistic
from hwnas.latency import fitting

NEAR = 0.1
"""How far from the limit, relative to it, a measurement still counts as near: the sigma of a bell."""
NEAR_WEIGHT = 4.0
"""How much more than others a network measured at the limit weighs: that is where the model must be right."""
SHRINK = 0.25
"""Prior of the closed loop's scale, in measurements: one verdict at the limit corrects 80% of its miss."""
RECENT = 0.85
"""Share of its trust that a network measured in the closed loop keeps with each later one, so that the scale follows a
machine's drift: one search with its four finalists, and a verdict, halve what was learnt before or on another day."""


@dataclass(frozen=True)
class Limit:
    """What a search asks for; None where nothing does yet."""

    ms: float | None = None
    statistic: Statistic = "p90"

    def moved(self, ms: float | None, statistic: Statistic) -> Limit:
        """Another one; as many ms as before where none are given."""
        return Limit(self.ms if ms is None else ms, statistic)


@dataclass(frozen=True, eq=False)
class Points:
    """N measured networks, their medians and p90s in ms.

    `verdict` marks those of the closed loop, finalists included: it listens to them most.
    """

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
        return Points(*(np.concatenate([mine, vars(other)[name]]) for name, mine in vars(self).items()))

    def take(self, rows: NDArray[np.bool_]) -> Points:
        """Some of them."""
        return Points(*(column[rows] for column in vars(self).values()))

    def importance(self, limit: Limit) -> Floats:
        """How much each counts in a fit: most at the limit, all alike where there is none."""
        if limit.ms is None:
            return np.ones(len(self.median))
        return 1 + (NEAR_WEIGHT - 1) * self._nearness(limit)

    def _nearness(self, limit: Limit) -> Floats:
        """1 at the limit, falling to 0 away from it; 1 everywhere where there is no limit."""
        if limit.ms is None:
            return np.ones(len(self.median))
        return _bell(self.p90 if limit.statistic == "p90" else self.median, limit.ms)

    def trust(self, limit: Limit, median: Floats, p90: Floats) -> Floats:
        """How much each counts for the scale: those of the closed loop that lie near the limit.

        Near is also what was expected at the limit (`median` and `p90` of the model) and took longer, or less: of a
        machine that changed its speed since it was profiled nothing else is seen.
        """
        near = self._nearness(limit)
        if limit.ms is not None:
            near = np.maximum(near, _bell(p90 if limit.statistic == "p90" else median, limit.ms))
        return np.asarray(near * self.verdict, dtype=np.float64)

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


@dataclass(frozen=True)
class Correction:
    """From what a model says of the median, `base`, to what is expected, all in ms.

    median = median_scale x level x base; p90 = p90_scale x ((1 + tail) x level x base + tail_constant). The level takes
    a bias out of models that were not fitted to these networks; the scales are the closed loop's.
    """

    tail: float = 0.0
    tail_constant: float = 0.0
    """In ms."""
    median_scale: float = 1.0
    p90_scale: float = 1.0
    level: float = 1.0

    @classmethod
    def fit(cls, points: Points, base: Floats, limit: Limit, *, level: float = 1.0) -> Correction:
        """From N networks and what a model says of them, in ms."""
        base = level * base
        columns = np.stack([base, np.ones(len(base))], axis=1)
        found = fitting.robust(columns, points.p90 - base, points.p90, points.importance(limit))
        tail, constant = float(found[0]), float(found[1])
        p90 = base + tail * base + constant
        trust = points.trust(limit, base, p90)
        median_scale = _scale(points.median / base, trust, points.verdict)
        p90_scale = _scale(points.p90 / p90, trust, points.verdict)
        # A p90 never lies below its median.
        return cls(tail, constant, median_scale, max(p90_scale, median_scale / (1 + tail)), level)

    def median(self, base: Floats) -> Floats:
        """Medians in ms."""
        return self.median_scale * self.level * base

    def p90(self, base: Floats) -> Floats:
        """90th percentiles in ms."""
        return self.p90_scale * ((1 + self.tail) * self.level * base + self.tail_constant)


def _scale(ratio: Floats, trust: Floats, verdict: NDArray[np.bool_]) -> float:
    """How far the loop's networks lie off the fit around the limit: their geometric mean ratio, shrunk.

    The latest count most.
    """
    later = verdict.sum() - np.cumsum(verdict)
    recent = trust * RECENT**later
    if not recent.sum():
        return 1.0
    known = trust.sum() / (trust.sum() + SHRINK)
    return float(np.exp(known * (recent @ np.log(ratio)) / recent.sum()))
