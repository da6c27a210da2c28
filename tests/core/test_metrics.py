"""Tails of models that were measured side by side."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwnas.core.metrics import Measurement, with_shared_tail


def noisy(median: float, seed: int, samples: int = 200) -> Measurement:
    """Samples with a tail: one in five is up to a half slower."""
    rng = np.random.default_rng(seed)
    slow = np.where(rng.random(samples) < 0.2, 1 + rng.random(samples) / 2, 1.0)
    return Measurement(median * slow)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=6), st.integers(0, 1000))
def test_medians_are_kept_and_every_tail_is_the_same(medians: list[float], seed: int) -> None:
    measured = [noisy(median, seed + row) for row, median in enumerate(medians)]
    timings = with_shared_tail(measured)
    assert [timing.median for timing in timings] == [measurement.median for measurement in measured]
    ratios = [timing.p90 / timing.median for timing in timings]
    assert ratios == pytest.approx([ratios[0]] * len(ratios))
    tails = [measurement.p90 / measurement.median for measurement in measured]
    assert min(tails) * 0.999 <= ratios[0] <= max(tails) * 1.001


def test_many_tell_the_tail_better_than_one() -> None:
    """Of 50 repetitions, the p90s of four models together vary half as much as those of each alone, or nearly so."""
    alone, together = [], []
    for repetition in range(50):
        measured = [noisy(1.0, 10 * repetition + row) for row in range(4)]
        alone.append(measured[0].p90)
        together.append(with_shared_tail(measured)[0].p90)
    assert np.std(together) < 0.7 * np.std(alone)


def test_a_long_measurement_does_not_outweigh_the_others() -> None:
    short, long = Measurement(np.array([1.0] * 8 + [2.0] * 2)), Measurement(np.ones(10_000))
    assert with_shared_tail([short, long])[0].p90 == pytest.approx(np.percentile([1.0] * 18 + [2.0] * 2, 90))


def test_nothing_measured() -> None:
    assert with_shared_tail([]) == []
