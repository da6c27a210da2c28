"""`GcnLatency`: a fitted graph predictor over a search space, compiled from its slots.

What stands in a slot is one of a few hundred or thousand distinct blocks. Each gives its node's features and its sums
over operators once; the graphs of many architectures are then gathered, without looking at any of them by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hwnas.core.additive import Additive, BlockIndex
from hwnas.core.arch import Arch, ArchBatch
from hwnas.core.errors import InputError
from hwnas.core.genetics import sample
from hwnas.core.metrics import LATENCY, Floats, Metric, Prediction
from hwnas.core.net import NetSpec
from hwnas.core.protocols import SearchSpace
from hwnas.latency import fitting
from hwnas.latency.domain import Domain
from hwnas.latency.gcn import GCN
from hwnas.latency.graphs import SIZES, GraphBatch, block_graph, chains, graph, own_features, steps
from hwnas.latency.graphs import batch as batched
from hwnas.latency.linear import Linear
from hwnas.latency.op_features import Sums

CHUNK = 2048
"""Architectures that are composed at a time, so that their graphs take some ten megabytes."""
CHECKED = 16
"""Random architectures that are composed and lowered, before composing is trusted."""
SAMPLE = 300
"""Random architectures from which the ends of the range are looked for."""
CLIMBS = 50
"""Steps of the climb to an end at most; the 46 genes of a once-for-all space rarely take as many."""


@dataclass(frozen=True, eq=False)
class Composed:
    """Graphs of N architectures, their N x F sums, and which of them lie within what the predictor was fitted on."""

    graphs: GraphBatch
    sums: Floats
    inside: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Chains:
    """A space whose networks are chains of simple blocks: D distinct blocks, and the input as one more."""

    index: BlockIndex
    domain: Domain
    own: NDArray[np.float32]
    """(D + 1) x features of a node."""
    steps: NDArray[np.bool_]
    sums: Floats
    """D x (F sums of the linear part, sizes, 1 where a class of operator is unknown)."""

    @classmethod
    def of(cls, space: SearchSpace, domain: Domain, names: tuple[str, ...]) -> Chains | None:
        """None where composing would not give the networks' own graphs.

        It does where each distinct block is simple (`graphs.block_graph`), and where no architecture has fewer than
        two, since a network's slots are its blocks in order (the contract of `SearchSpace`). That each starts from the
        newest value of the one before is seen on some architectures, which are lowered and compared.
        """
        few = sample(space, CHECKED, np.random.default_rng(0))
        nets = [space.lower(arch) for arch in few]
        if any(len(graph(net)) != 1 + len(net.blocks()) for net in nets):
            return None  # before every block is built
        index = BlockIndex(space)
        nodes = [block_graph(net) for net in index.nets]
        held = [node for node in nodes if node is not None and len(node) == 2]
        if len(held) < len(nodes) or index.additive(np.ones(len(nodes))).range()[0] < 2:
            return None
        unknown = [not set(node.classes[1]) <= set(domain.classes) for node in held]
        own = [own_features(node, domain.classes) for node in held]
        sums = [Sums.of(index.nets).onto(names), np.array([node.sizes[1] for node in held]), np.array([unknown]).T]
        compiled = cls(
            index,
            domain,
            np.stack([*(rows[1] for rows in own), own[0][0]]),
            np.array([*(steps(node)[1] for node in held), False]),
            np.concatenate(sums, axis=1),
        )
        return compiled if compiled._composes(few, nets) else None

    def compose(self, architectures: ArchBatch) -> Composed:
        """N architectures at once."""
        numbers = self.index.numbers(architectures)
        there = numbers >= 0
        counts = there.sum(1)
        nodes = np.full((len(numbers), 1 + int(counts.max())), -1)
        nodes[:, 0] = len(self.own) - 1
        rows, _ = np.nonzero(there)
        nodes[rows, np.cumsum(there, axis=1)[there]] = numbers[there]
        totals = self.index.totals(numbers, self.sums)  # of sizes the graphs' own, to the last bit
        sums, sizes, unknown = np.split(totals, [-1 - len(SIZES), -1], axis=1)
        inside = self.domain.near(1 + counts, sizes) & (unknown[:, 0] == 0)
        return Composed(chains(self.own, self.steps, nodes), sums, inside)

    def _composes(self, few: ArchBatch, nets: list[NetSpec]) -> bool:
        """Whether architectures composed have the graphs of their networks."""
        graphs, composed = [graph(net) for net in nets], self.compose(few).graphs
        lowered = batched(graphs, self.domain.classes)
        return all(
            np.array_equal(one, other)
            for one, other in zip(vars(composed).values(), vars(lowered).values(), strict=True)
        )

    def linear(self, part: Linear) -> Additive:
        """The linear part as a cost of blocks; how far a sum counts at most is not in it."""
        weights = part.weights / part.scale
        return self.index.additive(self.sums[:, : len(weights)] @ weights, part.constant - float(part.centre @ weights))


class GcnLatency:
    """Medians, p90s and bounds of a fitted `GCN` for the architectures of a space.

    What lies outside of what the predictor was fitted on is an error that names the architecture's place in the batch;
    with `outside` "infinite" it takes for ever instead, so that searches under a limit never propose it.

    A space whose networks are no chains of simple blocks is lowered, architecture by architecture; the answers are the
    same.

    Raises:
        InputError: the predictor is not fitted.
    """

    metric: Metric = LATENCY

    def __init__(self, space: SearchSpace, gcn: GCN, *, outside: Literal["refuse", "infinite"] = "refuse") -> None:
        self.space, self.gcn, self.outside, self._fitted = space, gcn, outside, gcn.fitted
        self.chains = Chains.of(space, self._fitted.domain, self._fitted.whole.names)
        """None where architectures are lowered."""
        self._compose = self._lowered if self.chains is None else self.chains.compose

    def __call__(self, batch: ArchBatch) -> Floats:
        """N medians in ms."""
        return self.estimate(batch).median

    @property
    def interval(self) -> float:
        """Relative error that nine in ten networks' medians keep within."""
        return float(np.exp(fitting.bound(self._fitted.errors)) - 1)

    def estimate(self, batch: ArchBatch) -> Prediction:
        """N predictions in ms.

        Raises:
            InputError: an architecture lies outside, unless such ones take for ever.
        """
        return self._estimate(batch, refuse=self.outside == "refuse")

    def least(self) -> Arch:
        """The architecture of the least median that was found; `range` says how."""
        return self._ends[0]

    def range(self) -> tuple[float, float]:
        """Least and greatest median in ms that were found, of what lies within; the true ends may lie beyond.

        A graph network is no sum, so its ends are not known. They are looked for: from the exact ends of its linear
        part and a fixed sample of random architectures, whichever is best, by the best change of one gene until none
        is better.

        Raises:
            InputError: none of those lies within what the predictor was fitted on.
        """
        least, greatest = self(ArchBatch.of(list(self._ends))).tolist()
        return least, greatest

    @cached_property
    def _ends(self) -> tuple[Arch, Arch]:
        starts = sample(self.space, SAMPLE, np.random.default_rng(0))
        if self.chains is not None and self._fitted.whole.names:
            linear = self.chains.linear(self._fitted.whole)
            ends = ArchBatch.of([linear.least(), linear.greatest()])
            starts = ArchBatch(self.space.id, np.concatenate([starts.genes, ends.genes]))
        return self._climbed(starts, 1.0), self._climbed(starts, -1.0)

    def _climbed(self, batch: ArchBatch, sign: float) -> Arch:
        """The least of `sign` times the median, from the best of a batch."""
        found, best = batch[0], np.inf
        for _ in range(CLIMBS):
            median = self._estimate(batch, refuse=False).median
            values = np.where(np.isinf(median), np.inf, sign * median)
            if values.min() >= best:
                break
            found, best = batch[int(np.argmin(values))], float(values.min())
            batch = self._neighbours(found)
        if np.isinf(best):
            raise InputError(
                f"no network of {self.space.id} was found near those that the predictor was fitted on: measure some of "
                "its networks and fit it on them as well"
            )
        return found

    def _neighbours(self, arch: Arch) -> ArchBatch:
        """Every change of one gene."""
        rows = [
            [*arch.genes[:gene], option, *arch.genes[gene + 1 :]]
            for gene, choice in enumerate(self.space.choices)
            for option in range(len(choice))
            if option != arch.genes[gene]
        ]
        return ArchBatch(self.space.id, np.unique(self.space.canonical(np.array(rows, dtype=np.int16)), axis=0))

    def _estimate(self, batch: ArchBatch, refuse: bool) -> Prediction:
        """N predictions; what lies outside is refused, or takes for ever."""
        found = Prediction(*(np.full(len(batch), np.inf) for _ in range(4)))
        for start in range(0, len(batch), CHUNK):
            part = batch.take(np.arange(start, min(start + CHUNK, len(batch))))
            composed = self._compose(part)
            rows = np.flatnonzero(composed.inside)
            if refuse and len(rows) < len(part):
                row = int(np.argmin(composed.inside))
                self._fitted.domain.refuse(start + row, graph(self.space.lower(part[row])))
            if len(rows):
                graphs = composed.graphs if len(rows) == len(part) else composed.graphs.take(rows)
                own = self._fitted.estimate(graphs, composed.sums[rows])
                for values, some in zip(vars(found).values(), vars(own).values(), strict=True):
                    values[start + rows] = some
        return found

    def _lowered(self, batch: ArchBatch) -> Composed:
        """As `Chains.compose`, where there are none; each distinct architecture is lowered once."""
        distinct, inverse = np.unique(self.space.canonical(batch.genes), axis=0, return_inverse=True)
        nets = [self.space.lower(arch) for arch in ArchBatch(batch.space_id, distinct)]
        graphs, domain = [graph(net) for net in nets], self._fitted.domain
        inside = np.array([not domain.outside(one) for one in graphs])
        sums = Sums.of(nets).onto(self._fitted.whole.names)
        return Composed(batched(graphs, domain.classes).take(inverse), sums[inverse], inside[inverse])
