"""How well predictions order architectures: over all of them, among the better half, and at both ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwnas.core.metrics import Floats

ENDS = 0.1
"""Share of the architectures at either end."""


@dataclass(frozen=True)
class Ranking:
    """What is known of an order; NaN-free: where all are alike, a tau is 0.

    P@topK and P@bottomK are the shares of the best and of the worst tenth that are predicted to be there (Ning et al.,
    NeurIPS 2021, section 3.2).
    """

    kendall_tau: float
    kendall_tau_better_half: float
    top_tenth: float
    bottom_tenth: float

    @classmethod
    def of(cls, predicted: Floats, measured: Floats) -> Ranking:
        """Of N predictions of N measured values; more is better."""
        better = np.argsort(-measured, kind="stable")[: -(-len(measured) // 2)]
        count = max(1, round(ENDS * len(measured)))

        def shared(sign: int) -> float:
            first, second = (np.argsort(sign * values, kind="stable")[:count] for values in (predicted, measured))
            return len(np.intersect1d(first, second)) / count

        half = kendall_tau(predicted[better], measured[better])
        return cls(kendall_tau(predicted, measured), half, shared(-1), shared(1))


def kendall_tau(first: Floats, second: Floats) -> float:
    """Kendall's tau-b; 0 where one of them is all alike, or there is nothing to compare."""
    from scipy.stats import kendalltau

    if len(first) < 2:
        return 0.0
    tau = float(kendalltau(first, second).statistic)
    return tau if np.isfinite(tau) else 0.0
