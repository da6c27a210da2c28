"""The machine's drift, told by an anchor, is taken out of rows; those that were measured twice say what rows are worth.

The anchor is one model that is measured with every group of a campaign, in the same interleaved rounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from hwnas.core.metrics import Floats, Measurement
from hwnas.luts.table import Row

LEVEL = 0.9
"""Share of repetitions that fall within a row's bounds."""
LEAST_VISITS = 5
"""Fewer visits of a row say nothing about nine in ten."""
CONFIDENCE = 0.99
"""That at least so many do."""


@dataclass(frozen=True)
class Drift:
    """Of one campaign: what the anchor took in the middle of it, in ms, and its 5th to 95th percentile, over that.

    `within` bounds the relative difference of a repetition from a row, for medians and for p90s; zeros where too few
    rows were repeated to tell. `level_ms` is 0 where no anchor was measured.
    """

    level_ms: float = 0.0
    extent: float = 0.0
    within: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of(cls, measurements: Mapping[str, Measurement], repeats: Sequence[tuple[str, Measurement]]) -> Drift:
        """From first measurements by name, and second ones of some of them."""
        levels = [one.anchor_ms for one in measurements.values() if one.anchor_ms is not None]
        if not levels:
            return cls()
        low, level, high = np.percentile(levels, (5, 50, 95)).tolist()
        drift = cls(level, (high - low) / level)
        pairs = [(drift.row(measurements[name]), drift.row(again)) for name, again in repeats]
        medians = np.array([again.median_ms / first.median_ms - 1 for first, again in pairs])
        p90s = np.array([again.p90_ms / first.p90_ms - 1 for first, again in pairs])
        return cls(level, drift.extent, (_bound(medians), _bound(p90s)))

    def row(self, measurement: Measurement) -> Row:
        """A measurement as it would have been at the middle of the campaign."""
        factor = self.level_ms / measurement.anchor_ms if self.level_ms and measurement.anchor_ms else 1.0
        return Row.of(measurement, factor, self.within if any(self.within) else _among_visits(measurement))


def _among_visits(measurement: Measurement) -> tuple[float, float]:
    """How far the visits of one measurement lie from the whole of it, nine in ten of them: its medians and p90s.

    More than a repetition would, for a visit is short; but what differs from process to process is not in it.
    """
    if len(measurement.bursts) < LEAST_VISITS:
        return 0.0, 0.0
    visits = measurement.visits
    medians = np.array([np.median(visit) for visit in visits]) / measurement.median - 1
    p90s = np.array([np.percentile(visit, 90) for visit in visits]) / measurement.p90 - 1
    return float(np.quantile(np.abs(medians), LEVEL)), float(np.quantile(np.abs(p90s), LEVEL))


def _bound(differences: Floats) -> float:
    """A tolerance bound (Wilks, Annals of Mathematical Statistics 12, 1941), whatever the distribution.

    The k-th smallest of n absolute differences is at least their `LEVEL` quantile with probability `CONFIDENCE` for the
    least k with P(Binomial(n, LEVEL) < k) >= CONFIDENCE; 44 repetitions are the fewest that have one.
    """
    place = int(binom.ppf(CONFIDENCE, len(differences), LEVEL)) + 1
    return float(np.sort(np.abs(differences))[place - 1]) if place <= len(differences) else 0.0
