"""MnasNet's reward by numbers worked by hand."""

from __future__ import annotations

import numpy as np

from hwnas.core.arch import ArchBatch
from hwnas.core.metrics import LATENCY, Floats, Prediction
from hwnas.strategies.reward import HARD, SOFT, MnasNetReward, mnasnet_reward

ACCURACY = np.array([0.8, 0.8, 0.8])
LATENCY_MS = np.array([1.0, 2.0, 4.0])


def test_soft() -> None:
    """2 ** 0.07 = 1.0497..: half the latency pays 5%, twice costs 5%."""
    got = mnasnet_reward(ACCURACY, LATENCY_MS, 2.0, SOFT)
    np.testing.assert_allclose(got, [0.8 * 1.0497167, 0.8, 0.8 / 1.0497167], rtol=1e-6)


def test_hard() -> None:
    np.testing.assert_allclose(mnasnet_reward(ACCURACY, LATENCY_MS, 2.0, HARD), [0.8, 0.8, 0.4])


class Fixed:
    metric = LATENCY

    def estimate(self, batch: ArchBatch) -> Prediction:
        return Prediction(LATENCY_MS, 2 * LATENCY_MS, LATENCY_MS, LATENCY_MS)

    def evaluate(self, batch: ArchBatch) -> Floats:
        return ACCURACY


def test_evaluator_takes_the_statistic_asked_for() -> None:
    batch = ArchBatch("toy/v1", np.zeros((3, 1), dtype=np.int16))
    median = MnasNetReward(Fixed(), Fixed(), 2.0, HARD)
    np.testing.assert_allclose(median.evaluate(batch), [0.8, 0.8, 0.4])
    tail = MnasNetReward(Fixed(), Fixed(), 2.0, HARD, "p90")
    np.testing.assert_allclose(tail.evaluate(batch), [0.8, 0.4, 0.2])
