"""A drift that the anchor shows leaves the rows; repetitions bound what is left."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.core.metrics import Measurement
from hwnas.luts.drift import LEVEL, Drift

SPEEDS = st.lists(st.floats(0.5, 2.0), min_size=30, max_size=60)


def measured(ms: float, speed: float, anchor_ms: float = 0.1) -> Measurement:
    return Measurement(np.array([0.9, 1.0, 1.1]) * ms * speed, anchor_ms=anchor_ms * speed)


@settings(max_examples=50, deadline=None)
@given(SPEEDS, st.floats(0.1, 10.0))
def test_what_slows_the_anchor_too_leaves_no_trace(speeds, slower):
    first = {f"b{i}": measured(1.0 + i, speed) for i, speed in enumerate(speeds)}
    other = {f"b{i}": measured(1.0 + i, slower * speed) for i, speed in enumerate(reversed(speeds))}
    one, two = (Drift.of(rows, []) for rows in (first, other))
    for name in first:
        here, there = one.row(first[name]), two.row(other[name])
        assert here.median_ms / one.level_ms == pytest.approx(there.median_ms / two.level_ms)
        assert here.p90_ms / one.level_ms == pytest.approx(there.p90_ms / two.level_ms)


def test_the_level_is_the_middle_one_and_the_extent_says_how_far_it_went():
    rows = {f"b{i}": measured(1.0, speed) for i, speed in enumerate(np.linspace(0.9, 1.1, 101))}
    drift = Drift.of(rows, [])
    assert drift.level_ms == pytest.approx(0.1)
    assert drift.extent == pytest.approx(0.18)


def test_repetitions_bound_the_next_ones():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(300):
        noise = np.exp(rng.standard_t(3, (2, 60)) * 0.02)
        first = {f"b{i}": measured(noise[0, i], 1.0) for i in range(60)}
        again = [(f"b{i}", measured(noise[1, i], 1.0)) for i in range(60)]
        drift = Drift.of(first, again[:59])
        row = drift.row(first["b59"])
        held.append(abs(again[59][1].median / row.median_ms - 1) <= row.within)
    assert LEVEL - 0.02 <= np.mean(held) < 1.0


def test_without_an_anchor_or_repetitions_nothing_is_claimed():
    plain = {"a": Measurement(np.array([1.0, 2.0, 3.0]))}
    row = Drift.of(plain, []).row(plain["a"])
    assert (row.median_ms, row.within, row.p90_within) == (2.0, 0.0, 0.0)
    visits = Measurement(np.tile([0.95, 1.0, 1.05, 1.1], 10) * np.repeat([1.0, 1.1], 20), bursts=(4,) * 10)
    assert 0 < Drift.of({"a": visits}, []).row(visits).within < 0.1
    few = {f"b{i}": measured(1.0, 1.0) for i in range(43)}
    assert Drift.of(few, [(name, few[name]) for name in few]).within == (0.0, 0.0)
