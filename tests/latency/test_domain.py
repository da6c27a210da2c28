"""What a predictor vouches for: classes, nodes and sizes near those that it has seen."""

from __future__ import annotations

import pytest

from hwnas.core.errors import InputError
from hwnas.latency.domain import Domain
from hwnas.latency.graphs import Graph


def chain(*classes: str, macs: float) -> Graph:
    """Operators one after the other, and who does the work, in millions, is of no account."""
    names, little = ("input", *classes), (0.0, 0.1, 0.1, 0.0)
    sizes = ((macs, *little[1:]), *[little] * len(classes))
    return Graph(tuple({name: 1} for name in names), sizes, tuple((node, node + 1) for node in range(len(classes))))


SEEN = Domain.of([chain("conv 3x3", "add", macs=4.0), chain("conv 1x1", "add", macs=10.0)])


def test_it_is_of_all_that_was_seen() -> None:
    assert SEEN.classes == ("add", "conv 1x1", "conv 3x3", "input")
    assert SEEN.most_nodes == 3
    assert (SEEN.least[0], SEEN.greatest[0]) == (4.0, 10.0)


@pytest.mark.parametrize("macs", [2.7, 4.0, 14.9])
def test_half_as_much_again_is_near(macs: float) -> None:
    SEEN.refuse_others([chain("conv 3x3", "conv 1x1", macs=macs)])
    SEEN.refuse_others([])


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (chain("conv 3x3", "add", macs=2.6), "macs: 2.6 million, where they have 4 to 10 million"),
        (chain("conv 3x3", "add", macs=15.1), "macs: 15.1 million, where they have 4 to 10 million"),
        (chain("conv 5x5", "add", macs=5.0), "it has a conv 5x5, which none of those had"),
        (chain("add", "add", "add", "add", macs=5.0), "its graph has 5 nodes, theirs have 3 at most"),
    ],
    ids=["small", "large", "class", "nodes"],
)
def test_what_lies_outside_is_named(other: Graph, why: str) -> None:
    with pytest.raises(InputError) as caught:
        SEEN.refuse_others([chain("conv 3x3", "add", macs=5.0), other])
    assert str(caught.value).startswith("network 1 lies outside what the predictor was fitted on: " + why)
    assert "\n" not in str(caught.value)
