"""The graph predictor over a space: composed graphs are the networks' own, and so is what is said of them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas import spaces
from hwnas.core.arch import ArchBatch
from hwnas.core.errors import InputError
from hwnas.core.genetics import sample
from hwnas.core.protocols import Estimator, SearchSpace
from hwnas.latency import gcn_space
from hwnas.latency.domain import MARGIN, Domain
from hwnas.latency.gcn import GCN
from hwnas.latency.gcn_network import Shape, Training
from hwnas.latency.gcn_space import Chains, GcnLatency
from hwnas.latency.graphs import batch, graph
from hwnas.latency.op_features import Sums, totals
from hwnas.spaces.nasbench201 import NasBench201
from hwnas.testing import EstimatorContract, ToySpace

SPACES = ("ofa_mbv3/small/v1", "ofa_mbv3/w1.0/v1", "ofa_mbv3/w1.2/v1")
CELLS = NasBench201()


@cache
def gcn(name: str, linear: bool = True) -> GCN:
    """Fitted on forty networks of a space, by a made-up latency."""
    space: SearchSpace = CELLS if name == CELLS.id else ToySpace() if name == "toy/v1" else spaces.load(name)
    nets = [space.lower(arch) for arch in sample(space, 40, np.random.default_rng(0))]
    times = np.array([1 + sum(totals(net).values()) ** 0.9 for net in nets])
    model = GCN(members=2, shape=Shape(2, 8), training=Training(epochs=3, batch=16), linear=linear)
    return model.fit(nets, times, 1.1 * times)


@cache
def compiled(name: str) -> GcnLatency:
    return GcnLatency(spaces.load(name), gcn(name), outside="infinite")


@pytest.mark.parametrize("name", SPACES)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_composed_graphs_are_those_of_the_networks(name: str, seed: int) -> None:
    latency, fitted = compiled(name), gcn(name).fitted
    assert latency.chains is not None
    archs = sample(latency.space, 12, np.random.default_rng(seed))
    nets = [latency.space.lower(arch) for arch in archs]
    graphs, composed = [graph(net) for net in nets], latency.chains.compose(archs)
    for one, other in zip(
        vars(composed.graphs).values(), vars(batch(graphs, fitted.domain.classes)).values(), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(composed.sums, Sums.of(nets).onto(fitted.whole.names), rtol=1e-9)
    assert composed.inside.tolist() == [not fitted.domain.outside(one) for one in graphs]
    said, inside = latency.estimate(archs), np.flatnonzero(composed.inside)
    if len(inside):
        expected = gcn(name).estimate([nets[row] for row in inside])
        for one, other in zip(vars(said).values(), vars(expected).values(), strict=True):
            np.testing.assert_allclose(one[inside], other, rtol=1e-5)


def test_every_class_of_the_space_need_not_be_known() -> None:
    """Where no block of 7 x 7 was measured, networks with one lie outside, and the others do not."""
    space = spaces.load(SPACES[0])
    archs = sample(space, 400, np.random.default_rng(1))
    kernels = archs.genes[:, 6::2]
    seven = (kernels == 2).any(1)
    small = archs.genes.copy()
    small[:, 6::2] %= 2
    few = ArchBatch(space.id, small[:30])
    model = GCN(members=2, shape=Shape(1, 4), training=Training(epochs=1))
    model.fit([space.lower(arch) for arch in few], np.linspace(1, 2, 30))
    assert not any("7x7" in name for name in model.fitted.domain.classes)
    latency = GcnLatency(space, model, outside="infinite")
    assert latency.chains is not None
    assert np.isinf(latency(archs)[seven]).all()
    assert np.isfinite(latency(ArchBatch(space.id, small))).mean() > 0.9
    assert "7x7" not in " ".join(name for held in graph(space.lower(latency.least())).classes for name in held)


@pytest.mark.parametrize("name", [SPACES[0], CELLS.id], ids=["composed", "lowered"])
def test_what_lies_outside_is_refused_by_its_place(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcn_space, "CHUNK", 8)
    space: SearchSpace = CELLS if name == CELLS.id else spaces.load(name)
    archs = sample(space, 60, np.random.default_rng(2))
    work = np.array([graph(space.lower(arch)).total()[0] for arch in archs])
    heavy = work > np.quantile(work, 0.8)
    fitted, model = gcn(name).fitted, GCN()
    most = np.array([np.quantile(work, 0.8) / MARGIN, *[np.inf] * 3])
    model._state = replace(fitted, domain=Domain(fitted.domain.classes, 99, np.zeros(4), most))
    latency, infinite = GcnLatency(space, model), GcnLatency(space, model, outside="infinite")
    with pytest.raises(InputError, match=rf"^network {np.argmax(heavy)} lies outside what .* macs: ") as caught:
        latency.estimate(archs)
    assert "\n" not in str(caught.value)
    said = infinite.estimate(archs)
    assert all(np.isinf(values).tolist() == heavy.tolist() for values in vars(said).values())
    np.testing.assert_allclose(latency(archs.take(~heavy)), said.median[~heavy], rtol=1e-5)


@pytest.mark.parametrize("space", [CELLS, ToySpace()], ids=["cells", "toy"])
def test_other_spaces_are_lowered(space: SearchSpace) -> None:
    """Cells have no simple blocks; of the toy space's networks some have one block alone."""
    latency = GcnLatency(space, gcn(space.id), outside="infinite")
    assert latency.chains is None
    archs = sample(space, 40, np.random.default_rng(4))
    said = latency.estimate(archs)
    inside = np.flatnonzero(np.isfinite(said.median))
    assert len(inside) > 20
    expected = gcn(space.id).estimate([space.lower(archs[row]) for row in inside])
    for one, other in zip(vars(said).values(), vars(expected).values(), strict=True):
        np.testing.assert_allclose(one[inside], other, rtol=1e-5)


@pytest.mark.parametrize("name", [SPACES[0], CELLS.id])
def test_the_ends_of_the_range_are_no_worse_than_random(name: str) -> None:
    space: SearchSpace = CELLS if name == CELLS.id else spaces.load(name)
    latency = GcnLatency(space, gcn(name), outside="infinite")
    least, greatest = latency.range()
    found = latency(sample(space, 500, np.random.default_rng(0)))
    found = found[np.isfinite(found)]
    assert least <= found.min() * (1 + 1e-5)
    assert greatest >= found.max() * (1 - 1e-5)
    assert latency(ArchBatch.of([latency.least()]))[0] == pytest.approx(least, rel=1e-5)


def test_without_a_linear_part() -> None:
    space = spaces.load(SPACES[0])
    model = gcn(SPACES[0], linear=False)
    latency = GcnLatency(space, model, outside="infinite")
    archs = sample(space, 20, np.random.default_rng(6))
    said = latency(archs)
    inside = np.flatnonzero(np.isfinite(said))
    expected = model.predict([space.lower(archs[row]) for row in inside])
    np.testing.assert_allclose(said[inside], expected, rtol=1e-5)
    assert latency.range()[0] <= said[inside].min()


def test_a_predictor_of_another_space_has_no_range() -> None:
    latency = GcnLatency(spaces.load(SPACES[0]), gcn(CELLS.id), outside="infinite")
    with pytest.raises(InputError, match="measure some of its networks and fit it on them as well"):
        latency.range()


def test_an_unfitted_one_is_refused() -> None:
    with pytest.raises(InputError, match="not fitted"):
        GcnLatency(CELLS, GCN())


def test_another_space_is_refused() -> None:
    with pytest.raises(ValueError, match="asked about"):
        compiled(SPACES[0])(sample(CELLS, 1, np.random.default_rng(0)))


def test_chains_of_blocks_that_are_not_there() -> None:
    assert Chains.of(ToySpace(), gcn("toy/v1").fitted.domain, ()) is None


class TestComposed(EstimatorContract):
    def space(self) -> SearchSpace:
        return spaces.load(SPACES[0])

    def _batch(self) -> ArchBatch:
        drawn = sample(self.space(), 60, np.random.default_rng(0))
        return drawn.take(np.flatnonzero(np.isfinite(compiled(SPACES[0])(drawn)))[:32])

    def estimator(self) -> Estimator:
        return GcnLatency(self.space(), gcn(SPACES[0]))


class TestLowered(TestComposed):
    def space(self) -> SearchSpace:
        return CELLS

    def _batch(self) -> ArchBatch:
        drawn = sample(CELLS, 60, np.random.default_rng(0))
        infinite = GcnLatency(CELLS, gcn(CELLS.id), outside="infinite")
        return drawn.take(np.flatnonzero(np.isfinite(infinite(drawn)))[:32])

    def estimator(self) -> Estimator:
        return GcnLatency(CELLS, gcn(CELLS.id))
