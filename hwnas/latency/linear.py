"""`Linear`: latency as a weighted sum over the operators of a network, by ridge regression on relative errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwnas.core.metrics import Floats
from hwnas.core.net import NetSpec
from hwnas.latency.op_features import Sums

STRENGTHS = tuple(np.logspace(-3, 3, 13).tolist())
"""Of the ridge, for standardised features; the best by leaving one out is taken."""
FAR = 10.0
"""Standard deviations beyond which a feature counts no further."""

ROUNDING = 1e-9
"""Below this, what is left of 1 after a network's own weight in its fit is rounding error."""


@dataclass(frozen=True, eq=False)
class Linear:
    """Weights of standardised sums over operators, of N networks that it was fitted on."""

    names: tuple[str, ...]
    centre: Floats
    scale: Floats
    weights: Floats
    constant: float
    blind: Floats
    """What the regression says of each of its own networks when it is left out, in ms."""

    @classmethod
    def fit(cls, nets: Sequence[NetSpec], latency_ms: Floats, *, constant: bool = False) -> Linear:
        """Fit on N networks; `constant` takes the geometric mean instead, for any network."""
        return cls.fit_sums(Sums.of(nets), latency_ms, constant=constant)

    @classmethod
    def fit_sums(cls, sums: Sums, latency_ms: Floats, *, constant: bool = False) -> Linear:
        """`fit`, where the networks' sums are there already."""
        if constant:
            mean = float(np.exp(np.log(latency_ms).mean()))
            none = np.zeros(0)
            return cls((), none, none, none, mean, np.full(len(latency_ms), mean))
        from sklearn.linear_model import RidgeCV

        centre, scale = sums.values.mean(0), sums.values.std(0) + 1e-9
        unit = float(latency_ms.mean())
        importance = (unit / latency_ms) ** 2  # so that 1% counts the same at every size
        rows = (sums.values - centre) / scale
        found = RidgeCV(STRENGTHS).fit(rows, latency_ms / unit, sample_weight=importance)
        blind = unit * _left_out(rows, latency_ms / unit, importance, float(found.alpha_))
        return cls(sums.names, centre, scale, unit * found.coef_, unit * float(found.intercept_), blind)

    def predict(self, nets: Sequence[NetSpec]) -> Floats:
        """N latencies in ms; below 0 where a network is far from what was measured."""
        return self.predict_sums(Sums.of(nets).onto(self.names))

    def predict_sums(self, values: Floats) -> Floats:
        """`predict` from N x F sums in the order of `names`."""
        if not self.names:
            return np.full(len(values), self.constant)
        rows = (values - self.centre) / self.scale
        return np.asarray(np.clip(rows, -FAR, FAR) @ self.weights + self.constant, dtype=np.float64)


def _left_out(rows: Floats, target: Floats, importance: Floats, strength: float) -> Floats:
    """Leave-one-out predictions of a ridge regression, from the diagonal of its hat matrix (Allen's PRESS, 1974)."""
    root = np.sqrt(importance)[:, None]
    mean_row = (importance @ rows) / importance.sum()
    mean_target = float(importance @ target / importance.sum())
    left, sizes, _ = np.linalg.svd((rows - mean_row) * root, full_matrices=False)
    shrunk = sizes**2 / (sizes**2 + strength)
    goal = (target - mean_target) * root[:, 0]
    fitted = (left * shrunk) @ (left.T @ goal)
    hat = np.einsum("ij,j,ij->i", left, shrunk, left) + importance / importance.sum()
    residual = (goal - fitted) / np.maximum(1 - hat, ROUNDING)
    return np.asarray(target - residual / root[:, 0], dtype=np.float64)
