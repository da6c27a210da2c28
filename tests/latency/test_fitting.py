"""The small regression against its definition."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls

from hwnas.latency import fitting


@given(st.integers(0, 10_000))
def test_non_negative_least_squares_as_scipy_has_it(seed):
    rng = np.random.default_rng(seed)
    features, target = rng.normal(size=(12, 4)), rng.normal(size=12)
    expected, error = nnls(features, target)
    found = fitting.non_negative(features, target)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(features @ found - target), error, atol=1e-9)


def test_outliers_hardly_move_the_fit():
    rng = np.random.default_rng(0)
    features = rng.uniform(1, 2, size=(40, 2))
    truth = np.array([3.0, 0.5])
    target = features @ truth * rng.normal(1, 0.005, 40)
    target[:6] *= 2
    np.testing.assert_allclose(fitting.robust(features, target, target, np.ones(40)), truth, atol=0.15)


def test_folds_hold_each_row_out_once():
    for count in (1, 3, 10, 47):
        assert sorted(np.concatenate(fitting.folds(count))) == list(range(count))


def test_bound_covers_the_share():
    assert fitting.bound(np.arange(1, 100) / 100, 0.9) == 0.9
    assert fitting.bound(np.array([0.1, -0.3]), 0.9) == 0.3
