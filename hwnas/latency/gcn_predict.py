"""What trained graph networks say, in bulk: the same values as `Ensemble.forward`, several times as fast.

Graphs of a size go together, so that hardly a node that is not there is computed; and in a chain of blocks a node's
neighbours are the rows before and after its own, so that no adjacency is multiplied.

Shapes: E members, N graphs, M nodes, F features, H hidden units, R rows: the nodes of many graphs one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hwnas.core.metrics import Floats
from hwnas.latency.gcn_network import Ensemble, normalised
from hwnas.latency.graphs import GraphBatch

ROWS = 4096
"""Nodes that are predicted at a time at most: with fewer, calls take longer than what they compute. 2,048 are a
twentieth slower on an AMD EPYC."""
VALUES = 2**20
"""Hidden values that are held at a time, so that they stay in the cache: 4,096 nodes of 600 units are a fifth slower
there."""


@torch.inference_mode()
def predict(net: Ensemble, graphs: GraphBatch) -> Floats:
    """E x N values."""
    most, at_once = graphs.mask.shape[1], max(1, min(ROWS, VALUES // net.shape.hidden))
    sizes = most - np.argmax(graphs.mask[:, ::-1] > 0, axis=1)  # beyond its last node a graph has nothing
    order, start = np.argsort(sizes, kind="stable"), 0
    found = np.empty((len(net.weights[0]), len(graphs)))
    while start < len(order):
        rows = order[start : start + max(1, at_once // int(sizes[order[start]]))]
        start += len(rows)
        cut = int(sizes[rows[-1]])
        part = GraphBatch(graphs.features[rows, :cut], graphs.edges[rows, :cut, :cut], graphs.mask[rows, :cut])
        nodes = _Nodes.of(part, directed=net.shape.directed)
        for member in range(len(found)):
            found[member, rows] = _values(net, member, nodes).numpy()
    return found


@dataclass(frozen=True, eq=False)
class _Nodes:
    """The nodes of N graphs in R rows, as many a graph; in front of each chain lies a row of nothing."""

    count: int
    features: Tensor
    """R x F."""
    live: Tensor
    """R x 1: 1 where there is a node."""
    whole: bool
    """Whether every row is one."""
    edges: Tensor | None
    """N x M x M, normalised where directions do not count; None for chains."""
    scale: Tensor | None
    """(R + 2) x 1: of chains in which directions do not count, what normalises; no more than a row's neighbours do."""

    @classmethod
    def of(cls, graphs: GraphBatch, *, directed: bool) -> _Nodes:
        features, edges, mask = (torch.from_numpy(part) for part in (graphs.features, graphs.edges, graphs.mask))
        if not _are_chains(edges, mask):
            around = edges if directed else normalised(edges, mask)
            whole = bool(mask.all())
            return cls(len(graphs), features.flatten(0, 1), mask.reshape(-1, 1), whole, around, None)
        live = F.pad(mask, (1, 0)).reshape(-1, 1)
        scale = None
        if not directed:
            framed = F.pad(live, (0, 0, 1, 1))
            scale = framed.clone()
            scale[1:-1] *= (framed[:-2] + framed[1:-1] + framed[2:]).clamp(min=1).rsqrt()
        return cls(len(graphs), F.pad(features, (0, 0, 1, 0)).flatten(0, 1), live, False, None, scale)

    def around(self, hidden: Tensor) -> tuple[Tensor, ...]:
        """What each node reads, R x H each: itself, what it reads, what reads it; or the mean of all.

        From (R + 2) x H, the rows between a row of nothing at each end.
        """
        own = hidden[1:-1]
        if self.edges is not None:
            grid = own.view(self.count, -1, own.shape[1])
            told = torch.bmm(self.edges, grid).view(own.shape)
            return own, told, torch.bmm(self.edges.transpose(1, 2), grid).view(own.shape)
        return own, hidden[:-2], hidden[2:]

    def mixed(self, hidden: Tensor) -> Tensor:
        """The normalised sum over a node and its neighbours, R x H; from (R + 2) x H as `around`."""
        if self.edges is not None:
            own = hidden[1:-1]
            return torch.bmm(self.edges, own.view(self.count, -1, own.shape[1])).view(own.shape)
        assert self.scale is not None
        scaled = hidden * self.scale
        return (scaled[:-2] + scaled[1:-1]).add_(scaled[2:]).mul_(self.scale[1:-1])


def _are_chains(edges: Tensor, mask: Tensor) -> bool:
    """Whether each node but the first reads the one before it and nothing else."""
    follows = torch.ones(edges.shape[1], edges.shape[1]).tril(-1).triu(-1)
    return bool((mask[:, 1:] <= mask[:, :-1]).all()) and torch.equal(edges, follows * mask[:, :, None])


def _values(net: Ensemble, member: int, nodes: _Nodes) -> Tensor:
    """N values of one member."""
    size = net.shape.hidden
    hidden = torch.zeros(len(nodes.features) + 2, size)
    own = hidden[1:-1]
    torch.addmm(net.biases[0][member], nodes.features, net.weights[0][member], out=own)
    own *= nodes.live
    for layer in range(net.shape.layers):
        weight, value = net.weights[1 + layer][member], net.biases[1 + layer][member]
        read = nodes.around(hidden) if net.shape.directed else (nodes.mixed(hidden),)
        for part, rows in zip(read, weight.split(size), strict=True):
            value = torch.addmm(value, part, rows)
        value = F.layer_norm(value, (size,), net.gains[layer][member, 0], net.shifts[layer][member, 0])
        own += value.relu_()
        if not nodes.whole:
            own *= nodes.live
    grid = own.view(nodes.count, -1, size)
    pooled = torch.cat([grid.sum(1) / net.typical_nodes, grid.amax(1).clamp_(min=0)], dim=1)
    value = torch.addmm(net.biases[-2][member], pooled, net.weights[-2][member]).relu_()
    return torch.addmm(net.biases[-1][member], value, net.weights[-1][member])[:, 0]
