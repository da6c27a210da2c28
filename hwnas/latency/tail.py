"""`Tail`: the p90 from the median. A device's tail is its own: it has a model of its own, and is no sum of p90s."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwnas.core.metrics import Floats
from hwnas.latency import fitting


@dataclass(frozen=True)
class Tail:
    """p90 = (1 + share) x median + constant_ms."""

    share: float = 0.0
    constant_ms: float = 0.0

    @classmethod
    def fit(cls, predicted_ms: Floats, median_ms: Floats, p90_ms: Floats) -> Tail:
        """From N networks: what was predicted of their medians, their medians and their p90s."""
        columns = np.stack([predicted_ms, np.ones(len(predicted_ms))], axis=1)
        share, constant = fitting.robust(columns, p90_ms - median_ms, p90_ms, np.ones(len(p90_ms)))
        return cls(float(share), float(constant))

    def __call__(self, median_ms: Floats) -> Floats:
        """N p90s."""
        return np.asarray((1 + self.share) * median_ms + self.constant_ms, dtype=np.float64)
