"""What the networks say in bulk is what they say: graphs of any size, chains, both kinds of adjacency."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hwnas import spaces
from hwnas.core.genetics import sample
from hwnas.core.net import NetSpec
from hwnas.latency import gcn_predict
from hwnas.latency.gcn_network import Ensemble, Shape
from hwnas.latency.gcn_predict import predict
from hwnas.latency.graphs import GraphBatch, batch, graph
from hwnas.spaces.nasbench201 import NONE, SKIP, NasBench201

CELLS = NasBench201()
OFA = spaces.load("ofa_mbv3/small/v1")


def cells() -> list[NetSpec]:
    """One of them is an input alone."""
    genes = sample(CELLS, 60, np.random.default_rng(1)).genes
    return [CELLS.cell((SKIP, NONE, SKIP, NONE, NONE, SKIP)), *(CELLS.cell(tuple(map(int, row))) for row in genes)]


def chains() -> list[NetSpec]:
    return [OFA.lower(arch) for arch in sample(OFA, 40, np.random.default_rng(1))]


def batched(nets: list[NetSpec]) -> GraphBatch:
    graphs = [graph(net) for net in nets]
    return batch(graphs, sorted({name for one in graphs for held in one.classes for name in held}))


@pytest.mark.parametrize("rows", [1, 100, gcn_predict.ROWS])
@pytest.mark.parametrize("directed", [True, False])
@pytest.mark.parametrize("nets", [cells(), chains(), cells() + chains()], ids=["cells", "chains", "both"])
def test_it_says_what_the_networks_say(
    nets: list[NetSpec], directed: bool, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gcn_predict, "ROWS", rows)
    graphs = batched(nets)
    net = Ensemble(2, graphs.features.shape[2], Shape(3, 16, directed), 5.0, 0)
    with torch.no_grad():
        for part in (*net.gains, *net.shifts):
            part += torch.randn(part.shape, generator=torch.Generator().manual_seed(3))
        expected = net(*[torch.from_numpy(part).expand(2, *part.shape) for part in vars(graphs).values()])
    np.testing.assert_allclose(predict(net, graphs), expected.numpy(), rtol=1e-4, atol=1e-5)


def test_only_chains_are_taken_for_chains(monkeypatch: pytest.MonkeyPatch) -> None:
    """An edge more, twice or the other way round, and it is none."""
    chain = batched(chains()[:1])
    tests = [chain]
    for place, value in (((0, 5, 2), 1.0), ((0, 5, 4), 2.0), ((0, 5, 4), 0.0), ((0, 4, 5), 1.0)):
        edges = chain.edges.copy()
        edges[place] = value
        tests.append(GraphBatch(chain.features, edges, chain.mask))
    found = []
    for one in tests:
        found.append(gcn_predict._are_chains(torch.from_numpy(one.edges), torch.from_numpy(one.mask)))
    assert found == [True, False, False, False, False]
