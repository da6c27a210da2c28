"""Orders: what is right is 1, what is reversed is -1, and each figure is of what it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwnas.evaluators.ranking import Ranking


@given(st.integers(0, 2**31), st.integers(2, 60))
def test_the_right_order_and_the_reverse(seed: int, count: int) -> None:
    measured = np.random.default_rng(seed).permutation(count).astype(float)
    right, wrong = Ranking.of(3 * measured - 1, measured), Ranking.of(-measured, measured)
    assert (right.top_tenth, right.bottom_tenth) == (1, 1)
    assert (right.kendall_tau, wrong.kendall_tau) == (pytest.approx(1), pytest.approx(-1))
    if count > 3:
        halves = (right.kendall_tau_better_half, wrong.kendall_tau_better_half)
        assert halves == (pytest.approx(1), pytest.approx(-1))
        assert (wrong.top_tenth, wrong.bottom_tenth) == (0, 0)


def test_the_better_half_is_by_what_was_measured() -> None:
    measured = np.arange(20.0)
    predicted = np.concatenate([np.arange(10.0)[::-1], np.arange(10.0, 20)])
    ranking = Ranking.of(predicted, measured)
    assert ranking.kendall_tau_better_half == pytest.approx(1)
    assert ranking.kendall_tau == pytest.approx((190 - 2 * 45) / 190)
    assert (ranking.top_tenth, ranking.bottom_tenth) == (1, 0)


def test_all_alike_orders_nothing() -> None:
    ranking = Ranking.of(np.ones(10), np.arange(10.0))
    assert (ranking.kendall_tau, ranking.kendall_tau_better_half) == (0, 0)
