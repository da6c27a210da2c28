"""How well a cost model predicts: every model side by side with the plain baselines, on held-out networks."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import kendalltau, spearmanr

from hwnas.core.metrics import Floats


@dataclass(frozen=True)
class Score:
    """One model on N held-out networks; shares are fractions of networks, `mape` a mean relative error.

    `refused` more lie outside what the model was fitted on, so that it says nothing of them.

    `noise_floor` is the same mean relative error between two halves of each network's own samples, taken in the same
    interleaved rounds: no model can be told to be better than that. Another process, another minute differ by more
    (benchmarks/held_out.py).
    """

    model: str
    networks: int
    spearman: float
    kendall: float
    within_5: float
    within_10: float
    mape: float
    noise_floor: float
    refused: int = 0

    def to_json(self) -> dict[str, Any]:
        """One entry of `report_card`; a correlation with what never differs is null."""
        values = asdict(self)
        return {**values, **{name: None for name in ("spearman", "kendall") if math.isnan(values[name])}}


def score(model: str, measured: Floats, predicted: Floats, noise_floor: float) -> Score:
    """Compare N predictions with N measurements, in the same unit; an infinite prediction is a refusal."""
    known = np.isfinite(predicted)
    refused = int(np.sum(~known))
    measured, predicted = measured[known], predicted[known]
    error = np.abs(predicted / measured - 1)
    return Score(
        model=model,
        networks=len(measured),
        spearman=float(spearmanr(measured, predicted).statistic),
        kendall=float(kendalltau(measured, predicted).statistic),
        within_5=float(np.mean(error <= 0.05)),
        within_10=float(np.mean(error <= 0.10)),
        mape=float(np.mean(error)),
        noise_floor=noise_floor,
        refused=refused,
    )


def proportional(proxy: Floats, measured: Floats) -> float:
    """The factor that turns a proxy (MACs, parameters) into milliseconds: the median ratio on fitting networks."""
    return float(np.median(measured / proxy))


def noise_floor(samples: list[Floats], percent: float = 50) -> float:
    """Mean relative difference between a percentile of the odd and of the even samples of each network.

    0 where networks have one sample, as simulated ones do: the same is said again.
    """
    halves = [[np.percentile(values[start::2], percent) for start in (0, 1)] for values in samples if len(values) > 1]
    return float(np.mean([abs(first / second - 1) for first, second in halves])) if halves else 0.0
