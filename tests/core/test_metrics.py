"""Measurements: what they record, where their percentiles lie, the tails of those that were taken side by side."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwnas.core.metrics import Conditions, Measurement, with_shared_tail


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


def test_intervals_know_that_a_visit_is_of_one_spell() -> None:
    """Visits differ by 5%, samples within one by 0.5%: the median's interval holds the truth as often as it says."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(100):
        spells = 1 + 0.05 * rng.standard_normal(40)
        samples = (spells[:, None] * (1 + 0.005 * rng.standard_normal((40, 10)))).ravel()
        low, high = Measurement(samples, bursts=(10,) * 40).interval(50)
        held += low <= 1 <= high
    assert held >= 88
    assert 0.01 < high - low < 0.06


@given(st.lists(st.floats(0.001, 1e3), min_size=1, max_size=30), st.sampled_from([50.0, 90.0]))
def test_an_interval_is_among_the_samples(samples: list[float], percent: float) -> None:
    low, high = Measurement(np.array(samples)).interval(percent)
    assert min(samples) <= low * (1 + 1e-9)
    assert low <= high
    assert high <= max(samples) * (1 + 1e-9)


@given(
    st.lists(st.lists(st.floats(0.001, 1e3), min_size=1, max_size=4), min_size=1, max_size=4),
    st.booleans(),
    st.none() | st.floats(0.1, 10),
)
def test_a_record_gives_the_measurement_back(visits: list[list[float]], steady: bool, anchor: float | None) -> None:
    samples = np.array([one for visit in visits for one in visit])
    made = Measurement(samples, steady, tuple(map(len, visits)), Conditions(others=0.5), anchor)
    read = Measurement.from_record(json.loads(json.dumps(made.record())))
    assert read is not None
    np.testing.assert_array_equal(read.samples_ms, made.samples_ms)
    assert (read.steady, read.bursts, read.conditions, read.anchor_ms) == (steady, made.bursts, made.conditions, anchor)


@pytest.mark.parametrize("samples", [[], [0.0], [-1.0], [float("nan")], "text", None, [[1.0]]])
def test_a_record_without_samples_is_none(samples: object) -> None:
    assert Measurement.from_record({"samples_ms": samples}) is None
