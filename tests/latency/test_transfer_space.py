"""A transferred model over a space: a sum over slots where blocks add up, and lowered networks elsewhere."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from hwnas import spaces
from hwnas.core.arch import ArchBatch
from hwnas.core.genetics import sample
from hwnas.core.protocols import Estimator, SearchSpace
from hwnas.latency import transfer_space
from hwnas.latency.op_features import VIEWS, totals
from hwnas.latency.transfer import Prior, Source, Transfer
from hwnas.latency.transfer_space import TransferLatency
from hwnas.spaces.nasbench201 import NasBench201
from hwnas.testing import EstimatorContract

CELLS = NasBench201()
SPACES = ("ofa_mbv3/small/v1", "ofa_mbv3/w1.0/v1", "ofa_mbv3/w1.2/v1")


def space_of(name: str) -> SearchSpace:
    return CELLS if name == CELLS.id else spaces.load(name)


@cache
def transfer(name: str) -> Transfer:
    space = space_of(name)
    nets = [space.lower(arch) for arch in sample(space, 60, np.random.default_rng(0))]
    rng = np.random.default_rng(1)
    work = np.array([1 + sum(value for key, value in totals(net).items() if ": macs" in key) / 100 for net in nets])
    prior = Prior.learn([Source(nets, work * rng.lognormal(0, 0.1, len(nets))) for _ in range(3)])
    return prior.fit(nets[:10], 2 * work[:10], 2.4 * work[:10])


@cache
def compiled(name: str) -> TransferLatency:
    return TransferLatency(space_of(name), transfer(name))


@pytest.mark.parametrize("name", [*SPACES, CELLS.id])
def test_it_says_what_the_transfer_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_space, "CHUNK", 16)
    space, latency = space_of(name), compiled(name)
    archs = sample(space, 40, np.random.default_rng(3))
    said, expected = latency.estimate(archs), transfer(name).estimate([space.lower(arch) for arch in archs])
    for one, other in zip(vars(said).values(), vars(expected).values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8)
    np.testing.assert_allclose(latency(archs), said.median, rtol=1e-9)


@pytest.mark.parametrize("name", SPACES)
def test_the_sum_is_exact(name: str) -> None:
    latency = compiled(name)
    assert latency.median is not None
    least, greatest = latency.median.range()
    found = latency.median(sample(latency.space, 500, np.random.default_rng(4)))
    assert least <= found.min()
    assert found.max() <= greatest
    below = ArchBatch.of([latency.median.least()])
    assert latency.estimate(below).median[0] == pytest.approx(max(least, transfer(name).floor_ms))


def test_cells_with_zeros_are_lowered() -> None:
    assert compiled(CELLS.id).median is None


@pytest.mark.parametrize("name", [SPACES[0], CELLS.id])
def test_its_weights_give_its_means(name: str) -> None:
    space, model = space_of(name), transfer(name)
    nets = [space.lower(arch) for arch in sample(space, 20, np.random.default_rng(5))]
    constant, slopes = model.weights()
    direct = [
        constant + sum(slopes[view].get(key, 0.0) * value for view in VIEWS for key, value in totals(net, view).items())
        for net in nets
    ]
    np.testing.assert_allclose(np.maximum(direct, model.floor_ms), model.predict(nets), rtol=1e-8)


class TestContract(EstimatorContract):
    def space(self) -> SearchSpace:
        return spaces.load(SPACES[0])

    def estimator(self) -> Estimator:
        return compiled(SPACES[0])


class TestLoweredContract(EstimatorContract):
    def space(self) -> SearchSpace:
        return CELLS

    def estimator(self) -> Estimator:
        return compiled(CELLS.id)
