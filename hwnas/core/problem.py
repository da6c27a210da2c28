"""What a search is asked: objectives, constraints, a budget, and the journal of trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from hwnas.core.arch import Arch, ArchBatch
from hwnas.core.metrics import Floats, Metric

if TYPE_CHECKING:
    from hwnas.core.protocols import Estimator, Evaluator, SearchSpace

Statistic = Literal["median", "p90"]


@dataclass(frozen=True)
class Constraint:
    """`estimator`'s `statistic` must lie in [`at_least`, `at_most`], in the metric's unit."""

    estimator: Estimator
    at_most: float
    at_least: float = 0.0
    statistic: Statistic = "median"

    @property
    def metric(self) -> Metric:
        return self.estimator.metric

    def values(self, batch: ArchBatch) -> Floats:
        """The constrained statistic of each architecture, N values."""
        prediction = self.estimator.estimate(batch)
        return prediction.p90 if self.statistic == "p90" else prediction.median


@dataclass(frozen=True)
class Trial:
    """One evaluated architecture: its score (more is better) and its place in the budget."""

    arch: Arch
    score: float
    number: int


@dataclass
class Problem:
    """Find the architecture of `space` with the best `evaluator` score that meets every constraint.

    `evaluate` alone counts the budget (`max_trials` scored architectures) and tells the journal.
    """

    space: SearchSpace
    evaluator: Evaluator
    constraints: tuple[Constraint, ...]
    max_trials: int
    journal: Callable[[Sequence[Trial]], None] | None = None
    trials: int = field(default=0, init=False)

    @property
    def left(self) -> int:
        """Trials that the budget still allows."""
        return self.max_trials - self.trials

    def feasible(self, batch: ArchBatch) -> NDArray[np.bool_]:
        """Which architectures meet every constraint; cheap, and not counted."""
        mask = np.ones(len(batch), dtype=np.bool_)
        for constraint in self.constraints:
            values = constraint.values(batch)
            mask &= (values <= constraint.at_most) & (values >= constraint.at_least)
        return mask

    def evaluate(self, batch: ArchBatch) -> list[Trial]:
        """Score the architectures, at most `left` of them, and count them."""
        batch = batch.take(np.arange(min(len(batch), self.left)))
        if not len(batch):
            return []
        scores = self.evaluator.evaluate(batch)
        trials = [
            Trial(arch, float(score), self.trials + i)
            for i, (arch, score) in enumerate(zip(batch, scores, strict=True))
        ]
        self.trials += len(trials)
        if self.journal is not None:
            self.journal(trials)
        return trials
