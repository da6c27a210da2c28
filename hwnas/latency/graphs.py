"""Networks as graphs for the predictor: nodes with features, and edges; many of one size limit in a batch.

A network whose blocks are simple, as inverted residuals are, is a chain of them, and a block is a node. Any other, as a
cell alone, is a graph of its operators: an activation rides with what reads it, and sums of sums are one node.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwnas.core.metrics import Floats
from hwnas.core.net import COMPARISONS, INPUT, NetSpec, Op
from hwnas.latency.op_features import measures, needed, operator_class

SIZES = ("macs", "read", "written", "weights")
PLACE = ("before", "after", "longest")
"""Operators on the longest way from the input to a node, and from it to the output; whether a longest way of all goes
through it: that is what cannot run side by side with the rest."""
BRANCHES = 2
"""Of a simple block at most so many values are read twice: an inverted residual's shortcut and its squeeze's input."""
SMALL = 1e-4
"""Millions; sizes enter as log(SMALL + size), so that nothing and little are near each other."""


@dataclass(frozen=True)
class Graph:
    """One network: for each node how many operators of each class it holds, its sizes, and who reads whom."""

    classes: tuple[dict[str, int], ...]
    sizes: tuple[tuple[float, ...], ...]
    """In millions, by `SIZES`."""
    edges: tuple[tuple[int, int], ...]
    """(source, reader), each source before its readers; node 0 is the input, the last one the output."""

    def __len__(self) -> int:
        return len(self.classes)

    def total(self) -> tuple[float, ...]:
        """Sums over the nodes, by `SIZES`."""
        return tuple(map(sum, zip(*self.sizes, strict=True)))


def graph(net: NetSpec) -> Graph:
    """The graph of a network, without operators on which its output does not depend."""
    kept = needed(net)
    return _of_blocks(net, kept) if _simple(net, kept) else _of_operators(net, kept)


def block_graph(net: NetSpec) -> Graph | None:
    """The input and one node: how a block stands in the chain of a network.

    None where it is not simple, or where its output does not depend on its input, and so on no block before it.
    """
    kept = needed(net)
    simple = INPUT in _readers(net, kept) and _branches(net, kept) <= BRANCHES
    return _of_blocks(net, kept) if simple else None


def _simple(net: NetSpec, kept: Sequence[int]) -> bool:
    """Whether there are several blocks, and each is simple."""
    return len({net.ops[index].block for index in kept}) > 1 and _branches(net, kept) <= BRANCHES


def _branches(net: NetSpec, kept: Sequence[int]) -> int:
    """Values that are read twice or more: of the block that has most."""
    branches = dict.fromkeys((net.ops[index].block for index in kept), 0)
    for value, readers in _readers(net, kept).items():
        if len(readers) > 1:
            branches[net.ops[max(value, readers[0])].block] += 1
    return max(branches.values())


def _readers(net: NetSpec, kept: Sequence[int]) -> dict[int, list[int]]:
    """Operators that read each value, in order."""
    readers: dict[int, list[int]] = {}
    for index in kept:
        for source in _sources(net.ops[index]):
            readers.setdefault(source, []).append(index)
    return readers


def _sources(op: Op) -> tuple[int, ...]:
    """The values that an operator reads; zeros have the shape of one, which need not be kept for that."""
    return () if op.kind == "zero" else op.inputs


def _of_blocks(net: NetSpec, kept: Sequence[int]) -> Graph:
    names = list(dict.fromkeys(net.ops[index].block for index in kept))
    classes: list[dict[str, int]] = [{"input": 1}, *({} for _ in names)]
    sizes = [(0.0,) * len(SIZES)] * len(classes)
    for index in kept:
        node = 1 + names.index(net.ops[index].block)
        _count(classes[node], net, index)
        sizes[node] = tuple(a + b for a, b in zip(sizes[node], _sizes(net, index), strict=True))
    return Graph(tuple(classes), tuple(sizes), tuple((node, node + 1) for node in range(len(names))))


def _of_operators(net: NetSpec, kept: Sequence[int]) -> Graph:
    readers = _readers(net, kept)
    classes: list[dict[str, int]] = [{"input": 1}]
    sizes: list[tuple[float, ...]] = [(0.0,) * len(SIZES)]
    edges: list[tuple[int, int]] = []
    terms: dict[int, list[int]] = {INPUT: [0]}
    """Of each value, the nodes whose sum it is: one, but for sums that one other sum alone reads."""
    for index in kept:
        op = net.ops[index]
        sources = [node for source in _sources(op) for node in terms[source]]
        if op.kind == "act":
            terms[index] = terms[op.inputs[0]]
            continue
        alone = [net.ops[reader].kind for reader in readers.get(index, ())] == ["add"]
        if op.kind == "add" and op.act == "none" and alone:
            terms[index] = sources
            continue
        node = len(classes)
        classes.append({})
        _count(classes[node], net, index)
        sizes.append(_sizes(net, index))
        edges += [(source, node) for source in sources]
        terms[index] = [node]
    return Graph(tuple(classes), tuple(sizes), tuple(edges))


def _count(classes: dict[str, int], net: NetSpec, index: int) -> None:
    op = net.ops[index]
    names = [operator_class(op)] + ([op.act] if op.act not in ("none", *COMPARISONS) and op.kind != "act" else [])
    for name in names:
        classes[name] = classes.get(name, 0) + 1


def _sizes(net: NetSpec, index: int) -> tuple[float, ...]:
    found = measures(net, net.ops[index])
    return tuple(found[name] for name in SIZES)


@dataclass(frozen=True, eq=False)
class GraphBatch:
    """N graphs of up to M nodes: features N x M x F, edges counted N x M x M (reader, source), mask N x M."""

    features: NDArray[np.float32]
    edges: NDArray[np.float32]
    mask: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.mask)

    def take(self, rows: NDArray[np.intp]) -> GraphBatch:
        """The graphs at `rows`, in that order."""
        return GraphBatch(self.features[rows], self.edges[rows], self.mask[rows])


def batch(graphs: Sequence[Graph], classes: Sequence[str]) -> GraphBatch:
    """Graphs over known classes.

    Features: how many operators of each class, logarithms of the sizes, and the node's place, each about 1 in size.
    """
    most = max(len(one) for one in graphs)
    features = np.zeros((len(graphs), most, len(classes) + len(SIZES) + len(PLACE)), dtype=np.float32)
    edges = np.zeros((len(graphs), most, most), dtype=np.float32)
    mask = np.zeros((len(graphs), most), dtype=np.float32)
    for row, one in enumerate(graphs):
        count = len(one)
        mask[row, :count] = 1.0
        features[row, :count, : -len(PLACE)] = own_features(one, classes)
        features[row, :count, -len(PLACE) :] = _places(one)
        for source, reader in one.edges:
            edges[row, reader, source] += 1.0
    return GraphBatch(features, edges, mask)


def chains(own: NDArray[np.float32], steps: NDArray[np.bool_], nodes: NDArray[np.intp]) -> GraphBatch:
    """What `batch` gives for N chains of known nodes, without a loop over them.

    `nodes` is N x M: which node stands at each place, and -1 after the last one. `own` are the nodes' own features, a
    row each; `steps` tells whether a node counts as a step.
    """
    there = nodes >= 0
    weight = (steps[nodes] & there).astype(np.float32)
    upto = weight.cumsum(1)
    places = np.stack([upto - weight, upto[:, -1:] - upto, np.ones_like(upto)], axis=2)  # each lies on the only way
    features = np.concatenate([own[nodes], places], axis=2) * there[:, :, None]
    follows = np.eye(nodes.shape[1], k=-1, dtype=np.float32)
    return GraphBatch(features, follows * there[:, :, None], there.astype(np.float32))


def own_features(one: Graph, classes: Sequence[str]) -> NDArray[np.float32]:
    """Of each node, what does not depend on the others: M x (classes and sizes); an unknown class is left out."""
    number = {name: place for place, name in enumerate(classes)}
    counts = np.zeros((len(one), len(classes)))
    for node, held in enumerate(one.classes):
        for name in held.keys() & number:
            counts[node, number[name]] = held[name]
    sizes = np.log(np.array(one.sizes) + SMALL) - math.log(SMALL)
    return np.concatenate([counts, sizes], axis=1).astype(np.float32)


def steps(one: Graph) -> NDArray[np.bool_]:
    """Which nodes count as a step of a way: neither the input nor a sum does."""
    return np.array([not set(held) <= {"input", "add"} for held in one.classes])


def _places(one: Graph) -> Floats:
    before, after = np.zeros(len(one)), np.zeros(len(one))
    weight = steps(one).astype(np.float64)
    for source, reader in one.edges:  # in the order of readers
        before[reader] = max(before[reader], before[source] + weight[source])
    for source, reader in reversed(one.edges):
        after[source] = max(after[source], after[reader] + weight[reader])
    through = before + weight + after
    return np.stack([before, after, through >= through.max()], axis=1)
