"""The graph networks behind `hwnas.latency.gcn`: an ensemble trained side by side, as one batch of matrices.

Shapes: E members, N graphs, M nodes, F features, H hidden units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from hwnas.latency.graphs import GraphBatch


@dataclass(frozen=True)
class Shape:
    """Layers of H units. `directed` keeps what a node reads apart from what reads it; the published network mixes both.

    BRP-NAS (Dudziak et al., NeurIPS 2020, section 3.1 and appendix) has 4 layers of 600, not directed.
    """

    layers: int = 4
    hidden: int = 64
    directed: bool = True

    @classmethod
    def fast(cls) -> Shape:
        """Three times as fast as the default, and as accurate as BRP-NAS's shape; the default is a little more so.

        On a core of an AMD EPYC an ensemble of five scores some 50,000 cells of 8 nodes a second, the default 16,000
        (benchmarks/estimator_speed.py; benchmarks/gcn_cells.py --shape).
        """
        return cls(layers=3, hidden=32)


@dataclass(frozen=True)
class Training:
    """How the members are trained: AdamW, one cycle of the learning rate (Smith and Topin 2017), L1 loss as BRP-NAS."""

    epochs: int = 100
    batch: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    warm_up: float = 0.1
    """Share of the steps in which the learning rate rises."""


class Ensemble(nn.Module):
    """E graph networks of one shape; `forward` gives E x N values."""

    def __init__(self, members: int, features: int, shape: Shape, typical_nodes: float, seed: int) -> None:
        super().__init__()
        self.shape, self.typical_nodes = shape, typical_nodes
        generator = torch.Generator().manual_seed(seed)
        hidden, reads = shape.hidden, 3 if shape.directed else 1

        def linear(inputs: int, outputs: int) -> tuple[nn.Parameter, nn.Parameter]:
            bound = 1 / math.sqrt(inputs)  # torch's own for nn.Linear
            weight = (2 * torch.rand(members, inputs, outputs, generator=generator) - 1) * bound
            bias = (2 * torch.rand(members, 1, outputs, generator=generator) - 1) * bound
            return nn.Parameter(weight), nn.Parameter(bias)

        pairs = [linear(features, hidden), *(linear(reads * hidden, hidden) for _ in range(shape.layers))]
        pairs += [linear(2 * hidden, hidden), linear(hidden, 1)]
        self.weights = nn.ParameterList([weight for weight, _ in pairs])
        self.biases = nn.ParameterList([bias for _, bias in pairs])
        self.gains = nn.ParameterList([torch.ones(members, 1, hidden) for _ in range(shape.layers)])
        self.shifts = nn.ParameterList([torch.zeros(members, 1, hidden) for _ in range(shape.layers)])

    def forward(self, features: Tensor, edges: Tensor, mask: Tensor) -> Tensor:
        """E x N values of N graphs a member: features E x N x M x F, edges E x N x M x M, mask E x N x M."""
        members, count, nodes, _ = features.shape
        around = normalised(edges, mask) if not self.shape.directed else edges
        hidden = self._linear(0, features.reshape(members, count * nodes, -1))
        live = mask.reshape(members, count * nodes, 1)
        for layer in range(self.shape.layers):
            grid = hidden.reshape(members, count, nodes, -1)
            told = (around @ grid).reshape(members, count * nodes, -1)
            if self.shape.directed:
                asked = (around.transpose(2, 3) @ grid).reshape(members, count * nodes, -1)
                told = torch.cat([hidden, told, asked], dim=2)
            value = F.layer_norm(self._linear(1 + layer, told), (self.shape.hidden,))
            value = F.relu(torch.addcmul(self.shifts[layer], value, self.gains[layer]))
            hidden = (hidden + value) * live
        grid = hidden.reshape(members, count, nodes, -1)
        # Not below 0, where nodes that are not there lie: how many of those a batch has must not matter.
        pooled = torch.cat([grid.sum(2) / self.typical_nodes, grid.amax(2).clamp(min=0)], dim=2)
        return self._linear(-1, F.relu(self._linear(-2, pooled)))[:, :, 0]

    def _linear(self, number: int, value: Tensor) -> Tensor:
        return torch.baddbmm(self.biases[number], value, self.weights[number])


def normalised(edges: Tensor, mask: Tensor) -> Tensor:
    """The symmetric adjacency with loops, normalised by degrees (Kipf and Welling, ICLR 2017, equation 2).

    From ... x M x M edges and a ... x M mask.
    """
    both = edges + edges.transpose(-1, -2) + torch.diag_embed(mask)
    scale = both.sum(-1).clamp(min=1).rsqrt()
    return both * scale[..., :, None] * scale[..., None, :]


def train(
    graphs: GraphBatch, targets: NDArray[np.float32], rows: NDArray[np.intp], shape: Shape, how: Training, seed: int
) -> Ensemble:
    """Train E members, member e on the graphs `rows[e]` (E x R) towards `targets[e]` (E x R, of the order of 1).

    On one thread: the matrices are small, and where another program has a core, threads that wait for each other at
    every one of them take twenty times as long (seen: 40 networks in 39 seconds instead of 2).
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _train(graphs, targets, rows, shape, how, seed)
    finally:
        torch.set_num_threads(threads)


def _train(
    graphs: GraphBatch, targets: NDArray[np.float32], rows: NDArray[np.intp], shape: Shape, how: Training, seed: int
) -> Ensemble:
    members, count = rows.shape
    features, edges, mask = (torch.from_numpy(part) for part in (graphs.features, graphs.edges, graphs.mask))
    wanted, rng = torch.from_numpy(targets), np.random.default_rng(seed)
    net = Ensemble(members, features.shape[2], shape, float(graphs.mask.sum(1).mean()), seed)
    steps = how.epochs * math.ceil(count / how.batch)
    optimiser = torch.optim.AdamW(net.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay)
    rise = min(max(how.warm_up, 1.01 / steps), 0.99)  # a rise of exactly one step is divided by zero
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, how.learning_rate, total_steps=steps, pct_start=rise)
    for _ in range(how.epochs):
        orders = torch.from_numpy(np.stack([rng.permutation(count) for _ in range(members)]))
        for start in range(0, count, how.batch):
            chosen = orders[:, start : start + how.batch]
            picked = torch.from_numpy(np.take_along_axis(rows, chosen.numpy(), axis=1))
            found = net(features[picked], edges[picked], mask[picked])
            # Each member has a loss of its own; their sum leaves each one's gradient as if it were alone.
            loss = (found - wanted.gather(1, chosen)).abs().mean(1).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return net.eval()
