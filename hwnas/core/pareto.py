"""Pareto fronts of two or more costs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwnas.core.metrics import Floats


def non_dominated(costs: Floats) -> NDArray[np.bool_]:
    """Which rows of `costs` (N x M, less is better) are not dominated.

    A row is dominated where another one is nowhere worse and somewhere better.
    """
    order = np.lexsort(costs.T[::-1])
    mask = np.zeros(len(costs), dtype=np.bool_)
    front: list[int] = []
    for row in order:
        rivals = costs[front]
        if not np.any(np.all(rivals <= costs[row], axis=1) & np.any(rivals < costs[row], axis=1)):
            mask[row] = True
            front.append(int(row))
    return mask
