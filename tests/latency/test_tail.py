"""The tail: recovered where it is a share and a constant, and never below the median."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.latency.tail import Tail

MEDIANS = np.random.default_rng(0).uniform(1, 20, 40)


@pytest.mark.parametrize(("share", "constant"), [(0.2, 0.1), (0.05, 0.0), (0.0, 0.4), (0.0, 0.0)])
def test_a_share_and_a_constant_are_recovered(share: float, constant: float) -> None:
    tail = Tail.fit(MEDIANS, MEDIANS, (1 + share) * MEDIANS + constant)
    assert tail.share == pytest.approx(share, abs=1e-9)
    assert tail.constant_ms == pytest.approx(constant, abs=1e-9)
    np.testing.assert_allclose(tail(np.array([3.0, 100.0])), (1 + share) * np.array([3.0, 100.0]) + constant)


def test_a_few_spikes_do_not_spoil_it() -> None:
    p90 = 1.2 * MEDIANS + 0.1
    p90[:3] *= 3
    noisy = p90 * (1 + 0.005 * np.random.default_rng(1).normal(size=40))
    np.testing.assert_allclose(Tail.fit(MEDIANS, MEDIANS, noisy)(MEDIANS), 1.2 * MEDIANS + 0.1, rtol=0.02)


def test_it_is_of_what_was_predicted() -> None:
    """The tail is the device's, so what a predictor is off by enters it in proportion alone."""
    tail = Tail.fit(1.1 * MEDIANS, MEDIANS, 1.22 * MEDIANS)
    assert tail.share == pytest.approx(0.2, rel=1e-6)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 12))
def test_it_never_lies_below_the_median(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    medians = rng.lognormal(size=count)
    tail = Tail.fit(medians * rng.uniform(0.5, 2, count), medians, medians * rng.uniform(0.7, 1.5, count))
    assert tail.share >= 0
    assert tail.constant_ms >= 0
    asked = rng.lognormal(sigma=3, size=20)
    assert np.all(tail(asked) >= asked)


def test_without_measurements_it_is_the_median() -> None:
    assert Tail()(MEDIANS).tolist() == MEDIANS.tolist()
