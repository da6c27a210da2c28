"""One published time: a mean over some runs, and the standard deviation where the file has one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from hwnas.luts.table import Row

TAIL = NormalDist().inv_cdf(0.9)
"""Standard deviations between the mean and the 90th percentile of a normal distribution: 1.2816."""
QUARTILES = 2 * NormalDist().inv_cdf(0.75)
"""Standard deviations between its quartiles: 1.349."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds; None for what the file does not say."""

    mean_ms: float
    std_ms: float | None = None
    runs: int | None = None

    def row(self) -> Row:
        """The mean as median, and p90 and spread as of a normal distribution; without a deviation there is no tail."""
        std = self.std_ms or 0.0
        return Row(self.mean_ms, self.mean_ms + TAIL * std, QUARTILES * std / self.mean_ms, self.runs or 0)


def total(parts: Sequence[Timing]) -> Timing:
    """What runs one after the other: means add up, and variances as of independent times; the fewest runs count."""
    variances = [part.std_ms**2 for part in parts if part.std_ms is not None]
    runs = [part.runs for part in parts if part.runs is not None]
    return Timing(
        sum(part.mean_ms for part in parts),
        sum(variances) ** 0.5 if len(variances) == len(parts) else None,
        min(runs) if len(runs) == len(parts) else None,
    )


def pooled(timings: Sequence[Timing]) -> Timing:
    """The same work timed more than once, all runs taken together; alike where one of them does not say how many."""
    if len(timings) == 1:
        return timings[0]
    runs = [timing.runs for timing in timings if timing.runs is not None]
    weights = runs if len(runs) == len(timings) else [1] * len(timings)
    pairs = list(zip(weights, timings, strict=True))
    mean = sum(weight * timing.mean_ms for weight, timing in pairs) / sum(weights)
    squares = [
        weight * (timing.std_ms**2 + (timing.mean_ms - mean) ** 2)
        for weight, timing in pairs
        if timing.std_ms is not None
    ]
    std = (sum(squares) / sum(weights)) ** 0.5 if len(squares) == len(timings) else None
    return Timing(mean, std, sum(runs) if len(runs) == len(timings) else None)
