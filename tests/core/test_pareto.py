"""Fronts against the definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hwnas.core.pareto import non_dominated


@given(arrays(np.float64, st.tuples(st.integers(0, 30), st.integers(1, 3)), elements=st.integers(0, 5).map(float)))
def test_equals_the_definition(costs: np.ndarray) -> None:
    wanted = [not any(np.all(other <= row) and np.any(other < row) for other in costs) for row in costs]
    assert non_dominated(costs).tolist() == wanted


def test_equal_rows_stand_together() -> None:
    assert non_dominated(np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 1.0], [2.0, 2.0]])).tolist() == [
        True,
        True,
        True,
        False,
    ]
