"""Small regressions: few features, non-negative weights, relative errors, robust to outliers."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from hwnas.core.metrics import Floats

HUBER = 1.345
"""Huber's tuning constant: 95% efficiency where errors are normal (Huber 1981)."""
ROUNDS = 10
"""Rounds of reweighting; the weights move by less than a thousandth after about five."""
MAD_TO_SIGMA = 1.4826
"""Standard deviation of a normal variable over its median absolute deviation."""


def non_negative(features: Floats, target: Floats) -> Floats:
    """Least squares with non-negative weights, exactly: the best of all subsets whose own solution is non-negative.

    `features` is N x K with K at most 6 or so, `target` N values; K weights out. The optimum of the constrained problem
    is the plain solution on its support, so trying every support finds it, with no tolerance to tune.
    """
    count = features.shape[1]
    best, best_error = np.zeros(count), float(target @ target)
    for size in range(1, count + 1):
        for subset in combinations(range(count), size):
            columns = features[:, subset]
            weights = np.linalg.lstsq(columns, target, rcond=None)[0]
            error = float(np.sum((columns @ weights - target) ** 2))
            if np.all(weights >= 0) and error < best_error * (1 - 1e-12):
                best, best_error = np.zeros(count), error
                best[list(subset)] = weights
    return best


def robust(features: Floats, target: Floats, unit: Floats, importance: Floats) -> Floats:
    """Non-negative weights for `features` @ weights ~ `target`, by Huber's loss on residuals over `unit`.

    Dividing by `unit` (the measured latencies) makes 1% count the same at every size. `importance` holds one weight a
    point. N x K, N, N and N in; K out.
    """
    scale = np.maximum(np.abs(features).max(axis=0), 1e-300)
    rows, goal = features / scale / unit[:, None], target / unit
    trust = np.ones(len(goal))
    weights: Floats = np.zeros(features.shape[1])
    for _ in range(ROUNDS):
        root = np.sqrt(trust * importance)
        weights = non_negative(rows * root[:, None], goal * root)
        residual = np.abs(rows @ weights - goal)
        sigma = MAD_TO_SIGMA * float(np.median(residual))
        trust = np.minimum(1.0, HUBER * sigma / np.maximum(residual, 1e-12)) if sigma > 0 else trust
    return np.asarray(weights / scale, dtype=np.float64)


def folds(count: int, parts: int = 10) -> list[NDArray[np.intp]]:
    """Row indices of up to `parts` held-out folds; each row is in one of them."""
    return [np.arange(start, count, min(parts, count)) for start in range(min(parts, count))]


def bound(residuals: Floats, share: float = 0.9) -> float:
    """What `share` of new absolute residuals stay under, from held-out ones (split conformal, Vovk et al. 2005)."""
    rank = int(np.ceil(share * (len(residuals) + 1)))
    return float(np.sort(np.abs(residuals))[min(rank, len(residuals)) - 1])


def all_positive(values: Floats, count: int) -> bool:
    """Whether there are `count` values, each a positive number."""
    return len(values) == count and bool(np.all(np.isfinite(values) & (values > 0)))
