"""What is added up and pooled of published times, by hand and by its laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwnas.luts.published.timing import QUARTILES, TAIL, Timing, pooled, total
from hwnas.luts.table import Row

timings = st.builds(Timing, st.floats(0.01, 100), st.floats(0, 10), st.integers(1, 1000))


def test_a_row_is_of_a_normal_distribution() -> None:
    draws = np.random.default_rng(0).normal(8.0, 0.5, 400_000)
    low, high = np.percentile(draws, (25, 75))
    row = Timing(8.0, 0.5, 40).row()
    assert (row.median_ms, row.samples) == (8.0, 40)
    assert row.p90_ms == pytest.approx(np.percentile(draws, 90), rel=1e-3)
    assert row.spread == pytest.approx((high - low) / 8.0, rel=1e-2)
    assert pytest.approx((1.2816, 1.3490), abs=5e-5) == (TAIL, QUARTILES)


def test_without_a_deviation_there_is_no_tail() -> None:
    assert Timing(8.0).row() == Row(8.0, 8.0, 0.0, 0)


def test_parts_add_up() -> None:
    assert total([Timing(1.0, 0.3, 500), Timing(2.0, 0.4, 60)]) == Timing(3.0, 0.5, 60)
    assert total([Timing(1.0, 0.3, 500), Timing(2.0)]) == Timing(3.0)


def test_runs_are_pooled() -> None:
    """1 1 1 and 4 4 4 4 4 4 4 4 4: a mean of 3.25, and a variance of 3 x 2.25^2 / 12 + 9 x 0.75^2 / 12."""
    found = pooled([Timing(1.0, 0.0, 3), Timing(4.0, 0.0, 9)])
    assert (found.mean_ms, found.runs) == (3.25, 12)
    assert found.std_ms == pytest.approx(np.std([1.0] * 3 + [4.0] * 9))


def test_times_that_do_not_say_their_runs_count_alike() -> None:
    assert pooled([Timing(1.0, 0.5, 9), Timing(3.0)]) == Timing(2.0)


@given(st.lists(timings, min_size=1, max_size=5))
def test_pooling_has_no_order_and_stays_inside(found: list[Timing]) -> None:
    one, other = pooled(found), pooled(found[::-1])
    assert one.mean_ms == pytest.approx(other.mean_ms)
    assert one.std_ms == pytest.approx(other.std_ms, abs=1e-9)
    assert one.runs == other.runs == sum(timing.runs or 0 for timing in found)
    means = [timing.mean_ms for timing in found]
    assert min(means) * (1 - 1e-12) <= one.mean_ms <= max(means) * (1 + 1e-12)


@given(timings)
def test_a_time_alone_stays_as_it_is(timing: Timing) -> None:
    assert pooled([timing]) is timing
    assert total([timing]).mean_ms == timing.mean_ms
