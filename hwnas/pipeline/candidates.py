"""Which subnets are worth measuring: constrained evolution over the latency model and the accuracy predictor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from hwnas.core.arch import Arch, ArchBatch
from hwnas.core.problem import Constraint, Problem, Trial
from hwnas.core.protocols import Evaluator
from hwnas.latency.in_use import LatencyInUse
from hwnas.strategies.evolution import ConstrainedEvolution

if TYPE_CHECKING:
    from hwnas.config import SearchSettings

GUARD = 0.05
"""Share of the limit kept free on both sides of the predicted p90: what repeated measurements differ by."""


@dataclass(frozen=True)
class Candidate:
    """An architecture and what was predicted of it."""

    arch: Arch
    predicted_accuracy: float
    predicted_median_ms: float
    predicted_p90_ms: float

    def to_json(self) -> dict[str, Any]:
        """Architecture and predictions, as documents have them."""
        latency = {"median": self.predicted_median_ms, "p90": self.predicted_p90_ms}
        predicted = {"latency_ms": latency, "accuracy": self.predicted_accuracy}
        return {"arch": self.arch.to_json(), "predicted": predicted}


@dataclass(frozen=True)
class Band:
    """Where p90s should lie, in ms: up to the limit, and not so far below that speed is bought for nothing.

    Larger subnets of a well-trained supernet are the more accurate ones. Where one below the band is predicted to be
    better all the same, `specialize` says so beside its result. Where the limit does not bind, anything below it will
    do.
    """

    limit_ms: float
    least_ms: float
    misses: int = 0
    """Verdicts that missed this limit: each makes the next proposals 2.5% of the limit faster."""

    @classmethod
    def of(cls, limit_ms: float, headroom: float, binding: bool, misses: int = 0) -> Band:
        """The band of a limit; `headroom` is the share of it that may stay unused."""
        return cls(limit_ms, (1 - headroom) * limit_ms if binding else 0.0, misses)

    def constraint(self, model: LatencyInUse) -> Constraint:
        """What is asked of predictions: the band less the guard on both sides, lower with every miss."""
        most = (1 - GUARD - self.misses * GUARD / 2) * self.limit_ms
        least = min(self.least_ms + GUARD * self.limit_ms, most - GUARD * self.limit_ms) if self.least_ms else 0.0
        return Constraint(model, most, max(0.0, least), "p90")

    def admits(self, p90_ms: float) -> bool:
        """What is asked of a measured finalist before it is verified: the band less half the guard on both sides.

        Where verification has missed already it sees more than this measurement does, and low values may be right.
        """
        guard = GUARD / 2 * self.limit_ms
        least = min(self.least_ms + guard, self.top_ms - guard) if self.least_ms and not self.misses else 0.0
        return least <= p90_ms <= self.top_ms

    @property
    def top_ms(self) -> float:
        """The slowest measured p90 that is still worth a verification."""
        return (1 - (1 + self.misses) * GUARD / 2) * self.limit_ms


def search(
    model: LatencyInUse,
    predictor: Evaluator,
    band: Band,
    settings: SearchSettings,
    excluded: frozenset[Arch],
    seed: int,
) -> list[Candidate]:
    """The finalists: the subnets of best predicted accuracy in the band, best first; none where the band is empty."""
    space = model.space
    problem = Problem(space, predictor, (band.constraint(model),), settings.population * settings.generations)
    strategy = ConstrainedEvolution(
        population=settings.population,
        parents=settings.parents,
        mutation_probability=settings.mutation_probability,
        seeds=ArchBatch.of([model.least("p90")]),
    )
    with threadpool_limits(1):  # products of small matrices lose to the hand-over between threads
        trials = list(strategy.search(problem, np.random.default_rng(seed)))
    best = finalists([trial for trial in trials if trial.arch not in excluded], settings.finalists)
    return described(model, [trial.arch for trial in best], [trial.score for trial in best])


def described(model: LatencyInUse, archs: Sequence[Arch], scores: Sequence[float]) -> list[Candidate]:
    """Architectures with their predicted accuracies and latencies, in the same order."""
    if not archs:
        return []
    latency = model.estimate(ArchBatch.of(list(archs)))
    rows = zip(archs, scores, latency.median, latency.p90, strict=True)
    return [Candidate(arch, float(score), float(median), float(p90)) for arch, score, median, p90 in rows]


def finalists(trials: list[Trial], count: int) -> list[Trial]:
    """The `count` best trials, best first; equal scores in the order they were found."""
    return sorted(trials, key=lambda trial: (-trial.score, trial.number))[:count]
