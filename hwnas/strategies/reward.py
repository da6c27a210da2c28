"""Accuracy and latency in one number, for searches without a hard limit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwnas.core.arch import ArchBatch
from hwnas.core.metrics import Floats
from hwnas.core.problem import Statistic
from hwnas.core.protocols import Estimator, Evaluator

SOFT = (-0.07, -0.07)
"""MnasNet's soft limit: twice the latency must pay with 5% relative accuracy (Tan et al., CVPR 2019, section 3)."""
HARD = (0.0, -1.0)
"""MnasNet's hard limit: free below the target, punished in proportion above it."""


def mnasnet_reward(accuracy: Floats, latency_ms: Floats, target_ms: float, exponents: tuple[float, float]) -> Floats:
    """Accuracy x (latency / target) ^ w, N values; w is `exponents[0]` up to the target and `exponents[1]` above."""
    ratio = np.asarray(latency_ms) / target_ms
    result: Floats = np.asarray(accuracy) * ratio ** np.where(ratio <= 1, exponents[0], exponents[1])
    return result


@dataclass(frozen=True, eq=False)
class MnasNetReward:
    """An evaluator of that reward, over any evaluator of accuracy and estimator of latency."""

    evaluator: Evaluator
    estimator: Estimator
    target_ms: float
    exponents: tuple[float, float] = SOFT
    statistic: Statistic = "median"

    def evaluate(self, batch: ArchBatch) -> Floats:
        """Rewards, N values."""
        prediction = self.estimator.estimate(batch)
        latency_ms = prediction.p90 if self.statistic == "p90" else prediction.median
        return mnasnet_reward(self.evaluator.evaluate(batch), latency_ms, self.target_ms, self.exponents)
