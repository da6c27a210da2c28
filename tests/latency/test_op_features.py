"""Sums over operators: a network worked by hand, what counts as needed, and blocks that add up to the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas import spaces
from hwnas.core.count import macs
from hwnas.core.genetics import sample
from hwnas.core.net import NetSpec
from hwnas.latency.op_features import VIEWS, Sums, View, needed, operator_class, totals
from hwnas.spaces.builder import Builder
from hwnas.spaces.nasbench201 import NasBench201

OFA = spaces.load("ofa_mbv3/small/v1")
CELLS = NasBench201()
DEAD = (3, 2, 0, 3, 0, 3)
"""Edge 0-1 is a convolution that leads nowhere."""


def small() -> NetSpec:
    """4 x 8 x 8 -> conv -> depthwise -> squeeze-and-excitation -> plus what the depthwise read."""
    net = Builder((4, 8, 8))
    entry = net.conv("conv", 6, act="h_swish")
    net.conv("depthwise", 6, kernel=3, groups=6, act="relu")
    net.squeeze_excite("se", 2)
    net.add("add", entry)
    return net.build()


def test_a_network_worked_by_hand() -> None:
    million = {
        "conv 1x1": {"count": 1e6, "macs": 4 * 6 * 64, "read": 4 * 64, "written": 6 * 64, "weights": 4 * 6},
        "h_swish": {"count": 1e6, "written": 6 * 64},
        "depthwise 3x3": {"count": 1e6, "macs": 6 * 9 * 64, "read": 6 * 64, "written": 6 * 64, "weights": 6 * 9},
        "global_pool": {"count": 1e6, "macs": 0, "read": 6 * 64, "written": 6, "weights": 0},
        "conv 1x1 of a pixel": {"count": 2e6, "macs": 12 + 12, "read": 6 + 2, "written": 2 + 6, "weights": 24},
        "h_sigmoid": {"count": 1e6, "written": 6},
        "mul": {"count": 1e6, "macs": 0, "read": 6 * 64 + 6, "written": 6 * 64, "weights": 0},
        "add": {"count": 1e6, "macs": 0, "read": 2 * 6 * 64, "written": 6 * 64, "weights": 0},
    }
    expected = {f"{kind}: {name}": value / 1e6 for kind, held in million.items() for name, value in held.items()}
    for view in VIEWS:
        assert totals(small(), view) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"kernel": 1}, "conv 1x1"),
        ({"kernel": 3, "stride": 2}, "conv 3x3 / 2"),
        ({"kernel": 5, "groups": 4}, "grouped 5x5"),
        ({"kernel": 5, "groups": 8}, "depthwise 5x5"),
        ({"kernel": 7, "groups": 8, "stride": 2}, "depthwise 7x7 / 2"),
        ({"filters": 16, "groups": 8}, "grouped 1x1"),  # two filters a channel
    ],
)
def test_classes_of_convolutions(fields: dict[str, int], name: str) -> None:
    net = Builder((8, 4, 4))
    net.conv("conv", **{"filters": 8, **fields})  # type: ignore[arg-type]
    assert operator_class(net.build().ops[0]) == name


def test_classes_of_other_operators() -> None:
    net = Builder((8, 4, 4))
    net.pool("mean", "avg_pool", 3)
    net.pool("greatest", "max_pool", 2, 2)
    net.global_pool("pool")
    net.linear("classifier", 10)
    names = ["avg_pool 3x3", "max_pool 2x2 / 2", "global_pool", "linear"]
    assert [operator_class(op) for op in net.build().ops] == names


def test_a_channel_of_one_is_no_depthwise() -> None:
    net = Builder((1, 4, 4))
    net.conv("conv", 1, kernel=3)
    assert operator_class(net.build().ops[0]) == "conv 3x3"


def test_needed_is_what_the_output_depends_on() -> None:
    net = Builder((4, 8, 8))
    net.conv("read by the zeros alone", 4)
    kept = net.conv("kept", 4, source=-1)
    net.conv("dead", 4, source=kept)
    zeros = net.zero("zeros", 0)
    net.add("add", kept, zeros)
    assert needed(net.build()) == [1, 3, 4]


def test_the_views_of_a_cell_with_a_dead_edge() -> None:
    written = CELLS.network(DEAD)
    canonical = CELLS.network(tuple(int(gene) for gene in CELLS.canonical(np.array([DEAD], dtype=np.int16))[0]))
    assert totals(written, "read") == totals(canonical, "read") == totals(canonical, "written")
    lost = {name: value - totals(written, "read")[name] for name, value in totals(written, "written").items()}
    changed = {name: value for name, value in lost.items() if abs(value) > 1e-12}
    cells = [(width, size) for width, size in ((16, 32), (32, 16), (64, 8)) for _ in range(5)]
    values = sum(width * size**2 for width, size in cells) / 1e6
    assert changed == pytest.approx(
        {
            "conv 3x3: count": 15,
            "conv 3x3: macs": sum(9 * width**2 * size**2 for width, size in cells) / 1e6,
            "conv 3x3: read": values,
            "conv 3x3: written": values,
            "conv 3x3: weights": sum(9 * width**2 for width, _ in cells) / 1e6,
            "act: count": 15,
            "act: read": values,
            "act: written": values,
        }
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_blocks_add_up_to_the_whole(seed: int) -> None:
    net = OFA.lower(sample(OFA, 1, np.random.default_rng(seed))[0])
    whole = Sums.of([net], "written")
    parts = Sums.of(list(net.blocks().values()), "written").onto(whole.names).sum(0)
    np.testing.assert_allclose(parts, whole.values[0], rtol=1e-12)
    multiplied = sum(value for name, value in zip(whole.names, parts, strict=True) if name.endswith(": macs"))
    assert multiplied == pytest.approx(macs(net) / 1e6)


@pytest.mark.parametrize("view", VIEWS)
def test_the_matrix_has_the_totals_in_the_order_of_the_names(view: View) -> None:
    nets = [small(), CELLS.network(DEAD)]
    sums = Sums.of(nets, view)
    assert list(sums.names) == sorted({name for net in nets for name in totals(net, view)})
    for net, row, held in zip(nets, sums.values, sums.present, strict=True):
        own = totals(net, view)
        assert row.tolist() == [own.get(name, 0.0) for name in sums.names]
        assert held.tolist() == [name in own for name in sums.names]
    assert sums.onto(sums.names[:3]).tolist() == sums.values[:, :3].tolist()
    assert sums.onto(["never seen", sums.names[1]]).tolist() == [[0.0, value] for value in sums.values[:, 1].tolist()]
    assert Sums.of([], view).onto(sums.names).shape == (0, len(sums.names))


def test_some_of_the_networks_are_as_if_they_were_all() -> None:
    nets = [small(), CELLS.network(DEAD), CELLS.cell(DEAD)]
    some, alone = Sums.of(nets).take(np.array([2, 0])), Sums.of([nets[2], nets[0]])
    assert some.names == alone.names
    assert some.values.tolist() == alone.values.tolist()
    assert some.present.tolist() == alone.present.tolist()
