"""The linear part: what it says of a left-out network is what it says without it, and errors count in proportion."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from hwnas.core.genetics import sample
from hwnas.core.metrics import Floats
from hwnas.core.net import NetSpec
from hwnas.latency.linear import Linear, _left_out
from hwnas.latency.op_features import totals
from hwnas.spaces.nasbench201 import NasBench201

CELLS = NasBench201()


def cells(count: int, seed: int) -> list[NetSpec]:
    genes = sample(CELLS, count, np.random.default_rng(seed)).genes
    return [CELLS.cell(tuple(map(int, row))) for row in genes]


def additive_ms(net: NetSpec) -> float:
    sums = totals(net)
    count = sum(value for name, value in sums.items() if name.endswith(": count"))
    return 0.5 + 0.1 * count + sum(value for name, value in sums.items() if name.endswith(": macs"))


NETS, FRESH = cells(60, 0), cells(40, 1)
TRUTH, FRESH_TRUTH = (np.array([additive_ms(net) for net in nets]) for nets in (NETS, FRESH))


@pytest.mark.parametrize("strength", [1e-3, 1.0, 100.0])
@pytest.mark.parametrize("shape", [(12, 5), (9, 20)], ids=["more rows", "more columns"])
def test_left_out_is_a_fit_without_the_row(shape: tuple[int, int], strength: float) -> None:
    rng = np.random.default_rng(3)
    rows, target = rng.normal(size=shape), rng.uniform(0.5, 2, shape[0])
    importance = rng.uniform(0.2, 3, shape[0])
    expected = []
    for row in range(len(rows)):
        rest = np.arange(len(rows)) != row
        refit = Ridge(strength).fit(rows[rest], target[rest], sample_weight=importance[rest])
        expected.append(float(refit.predict(rows[row : row + 1])[0]))
    np.testing.assert_allclose(_left_out(rows, target, importance, strength), expected, rtol=1e-8)


def test_a_sum_over_operators_is_found() -> None:
    model = Linear.fit(NETS, TRUTH)
    np.testing.assert_allclose(model.predict(FRESH), FRESH_TRUTH, rtol=0.02)
    np.testing.assert_allclose(model.blind, TRUTH, rtol=0.05)


def test_the_blind_predictions_are_worse_than_its_own() -> None:
    noisy = TRUTH * (1 + 0.1 * np.random.default_rng(5).normal(size=len(TRUTH)))
    model = Linear.fit(NETS, noisy)
    own, blind, new = (
        float(np.mean(np.abs(said / true - 1)))
        for said, true in ((model.predict(NETS), noisy), (model.blind, noisy), (model.predict(FRESH), FRESH_TRUTH))
    )
    assert own < blind
    assert new < blind  # for the noise of what it is compared with is not in it


def test_errors_count_in_proportion() -> None:
    """Between two levels of one network, 1 ms and 3 ms, the least sum of squared relative errors is at 1.2 ms."""
    nets = [NETS[0]] * 20 + [NETS[1]] * 20
    times = np.array([1.0, 3.0] * 10 + [5.0] * 20)
    weights = 1 / times[:2] ** 2
    best = float(weights @ times[:2] / weights.sum())
    assert best == pytest.approx(1.2)
    model = Linear.fit(nets, times)
    assert model.predict([NETS[0]])[0] == pytest.approx(best, rel=0.01)
    doubled = Linear.fit(nets, 2 * times)
    np.testing.assert_allclose(doubled.predict(FRESH), 2 * model.predict(FRESH), rtol=1e-9)


def test_a_constant_is_the_geometric_mean() -> None:
    model = Linear.fit(NETS[:2], np.array([1.0, 4.0]), constant=True)
    assert model.predict(FRESH).tolist() == pytest.approx([2.0] * len(FRESH))
    assert model.blind.tolist() == pytest.approx([2.0, 2.0])
    assert model.predict([]).tolist() == []


def test_what_was_never_seen_is_left_out() -> None:
    """Of a whole network, whose stem and classifier no cell has, something is said; `Domain` is what refuses it."""
    whole = CELLS.network((3,) * 6)
    said: Floats = Linear.fit(NETS, TRUTH).predict([whole])
    assert np.isfinite(said).all()
    assert Linear.fit(NETS, TRUTH).predict([]).shape == (0,)
