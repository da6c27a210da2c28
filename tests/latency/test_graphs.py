"""Networks as graphs: cells worked by hand, chains of blocks, order and places, and what a batch holds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas import spaces
from hwnas.core.genetics import sample
from hwnas.core.net import NetSpec
from hwnas.latency.graphs import SIZES, SMALL, Graph, batch, graph
from hwnas.latency.op_features import totals
from hwnas.spaces.builder import Builder
from hwnas.spaces.nasbench201 import AVG_POOL, CONV_1X1, CONV_3X3, NONE, SKIP, NasBench201

CELLS = NasBench201()
OFA = spaces.load("ofa_mbv3/small/v1")
VALUES = 16 * 32 * 32 / 1e6
"""Of a cell of the first stage, in millions."""
EDGES = st.tuples(*[st.integers(0, 4)] * 6)


def one(name: str) -> dict[str, int]:
    return {name: 1}


def test_a_chain_of_skips_is_the_input_alone() -> None:
    found = graph(CELLS.cell((SKIP, NONE, SKIP, NONE, NONE, SKIP)))
    assert found == Graph((one("input"),), ((0.0,) * 4,), ())
    assert found.total() == (0.0,) * 4


def test_parallel_paths_end_in_one_sum() -> None:
    """0-3 and 0-1-3 and 0-2-3; the two sums of two are one of three."""
    found = graph(CELLS.cell((CONV_3X3, CONV_1X1, NONE, AVG_POOL, SKIP, CONV_3X3)))
    kinds = ["input", "conv 3x3", "conv 1x1", "avg_pool 3x3", "conv 3x3", "add"]
    assert found.classes == tuple(map(one, kinds))
    assert sorted(found.edges) == [(0, 1), (0, 2), (0, 3), (1, 5), (2, 4), (3, 5), (4, 5)]
    assert found.sizes[1] == pytest.approx((9 * 16 * VALUES, VALUES, VALUES, 9 * 16**2 / 1e6))
    assert found.sizes[3] == pytest.approx((0, VALUES, VALUES, 0))


def test_a_sum_that_is_cut_off_below_zero_stays_a_sum_of_its_own() -> None:
    net = Builder((4, 8, 8))
    entry = net.conv("a", 4, act="relu6")
    first = net.add("first", entry, net.conv("b", 4), act="relu")
    net.add("second", first, net.conv("c", 4, source=entry))
    assert graph(net.build()).classes == tuple(map(one, ["input", "conv 1x1", "conv 1x1", "add", "conv 1x1", "add"]))


def test_a_value_that_is_added_to_itself_has_two_edges() -> None:
    found = graph(CELLS.cell((CONV_1X1, NONE, SKIP, NONE, SKIP, SKIP)))
    assert found.classes == (one("input"), one("conv 1x1"), one("add"))
    assert found.edges == ((0, 1), (1, 2), (1, 2))
    assert batch([found], ["add", "conv 1x1", "input"]).edges[0].tolist() == [[0, 0, 0], [1, 0, 0], [0, 2, 0]]


def test_a_cell_without_a_path_is_zeros_that_read_nothing() -> None:
    assert graph(CELLS.cell((NONE,) * 6)).classes == (one("input"), one("zero"))
    assert graph(CELLS.cell((NONE,) * 6)).edges == ()
    net = Builder((4, 8, 8))
    net.conv("read by the zeros alone", 4)
    net.zero("zeros")
    net.conv("conv", 4)
    found = graph(net.build())
    assert found.classes == (one("input"), one("zero"), one("conv 1x1"))
    assert found.edges == ((1, 2),)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((CONV_3X3, NONE, NONE, NONE, CONV_1X1, NONE), (NONE, CONV_3X3, NONE, NONE, NONE, CONV_1X1)),
        ((CONV_3X3, NONE, SKIP, NONE, NONE, CONV_1X1), (SKIP, NONE, CONV_3X3, NONE, NONE, CONV_1X1)),
        ((AVG_POOL, NONE, NONE, SKIP, SKIP, NONE), (NONE, AVG_POOL, NONE, SKIP, NONE, SKIP)),
        ((SKIP, NONE, NONE, NONE, CONV_3X3, NONE), (NONE, NONE, NONE, CONV_3X3, NONE, NONE)),
    ],
    ids=["through node 1 or 2", "a skip before or after", "beside a skip", "at once or later"],
)
def test_isomorphic_cells_have_equal_graphs(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    assert graph(CELLS.cell(first)) == graph(CELLS.cell(second))


def test_dead_operators_are_in_no_graph() -> None:
    raw = (CONV_3X3, CONV_1X1, NONE, CONV_3X3, NONE, CONV_3X3)
    assert graph(CELLS.cell(raw)) == graph(CELLS.cell((NONE, *raw[1:])))
    assert graph(CELLS.network(raw)) == graph(CELLS.network((NONE, *raw[1:])))


def test_a_network_of_simple_blocks_is_a_chain_of_them() -> None:
    for arch in sample(OFA, 20, np.random.default_rng(0)):
        net = OFA.lower(arch)
        found, blocks = graph(net), net.blocks()
        assert len(found) == 1 + len(blocks)
        assert found.edges == tuple((node, node + 1) for node in range(len(blocks)))
        for held, sizes, block in zip(found.classes[1:], found.sizes[1:], blocks.values(), strict=True):
            sums = totals(block, "written")
            counts = {name: value for name, value in sums.items() if name.endswith(": count")}
            assert {f"{name}: count": times for name, times in held.items()} == counts
            for size, value in zip(SIZES, sizes, strict=True):
                assert value == pytest.approx(sum(part for name, part in sums.items() if _of_an_operator(name, size)))


def _of_an_operator(name: str, size: str) -> bool:
    return name.endswith(f": {size}") and not name.startswith("h_")


def test_a_network_of_other_blocks_is_a_graph_of_its_operators() -> None:
    cell = (CONV_3X3, CONV_1X1, NONE, AVG_POOL, SKIP, CONV_3X3)
    found = graph(CELLS.network(cell))
    reductions = 2 * len(("conv_a", "conv_b", "pool", "shortcut", "add"))
    assert len(found) == 1 + 15 * 5 + reductions + len(("stem", "pool", "classifier"))
    assert found.classes[1] == one("conv 3x3")
    assert found.classes[-1] == one("linear")


@settings(max_examples=60, deadline=None)
@given(edges=EDGES, whole=st.booleans())
def test_each_source_comes_before_its_readers(edges: tuple[int, ...], whole: bool) -> None:
    found = graph(CELLS.network(edges) if whole else CELLS.cell(edges))
    assert len(found.classes) == len(found.sizes)
    assert all(0 <= source < reader < len(found) for source, reader in found.edges)
    readers = [reader for _, reader in found.edges]
    assert readers == sorted(readers)
    read = {source for source, _ in found.edges}
    assert read | {len(found) - 1} >= set(range(1, len(found)))  # only the last is read by none


def small() -> NetSpec:
    """input -> conv -> conv -> add, and input -> pool -> the same add, and a convolution of it."""
    net = Builder((4, 8, 8))
    net.block = "cell"
    net.conv("a", 4, kernel=3)
    long = net.conv("b", 4)
    net.pool("c", "avg_pool", 3, source=-1)
    net.add("add", long)
    net.conv("d", 4)
    return net.build()


CLASSES = ["add", "avg_pool 3x3", "conv 1x1", "conv 3x3", "input"]


def test_places_worked_by_hand() -> None:
    """In order: input, a, b, c, add, d; neither the input nor a sum counts as a step."""
    places = batch([graph(small())], CLASSES).features[0, :, -3:]
    assert places[:, 0].tolist() == [0, 0, 1, 0, 2, 2]
    assert places[:, 1].tolist() == [3, 2, 1, 1, 1, 0]
    assert places[:, 2].tolist() == [1, 1, 1, 0, 1, 1]


def test_a_batch_holds_graphs_of_different_sizes() -> None:
    graphs = [graph(small()), graph(CELLS.cell((SKIP, NONE, SKIP, NONE, NONE, SKIP)))]
    found = batch(graphs, CLASSES)
    assert len(found) == 2
    assert found.features.shape == (2, 6, len(CLASSES) + len(SIZES) + 3)
    assert found.edges.shape == (2, 6, 6)
    assert found.mask.tolist() == [[1] * 6, [1] + [0] * 5]
    assert not found.features[found.mask == 0].any()
    assert found.features[0, :6, :5].argmax(1).tolist() == [4, 3, 2, 1, 0, 2]
    np.testing.assert_allclose(found.features[0, 1, 5], math.log((9 * 16 * 64 / 1e6 + SMALL) / SMALL), rtol=1e-6)
    assert found.features[0, 0, 5:9].tolist() == pytest.approx([0] * 4, abs=1e-6)
    assert {(int(a), int(b)) for b, a in np.argwhere(found.edges[0])} == set(graphs[0].edges)
