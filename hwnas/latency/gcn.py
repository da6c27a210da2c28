"""`GCN`: latency of any network from whole measured networks, by an ensemble of graph networks (after BRP-NAS).

BRP-NAS (Dudziak et al., NeurIPS 2020, section 3.1) runs a graph convolutional network over a cell. This one takes any
`NetSpec` (`hwnas.latency.graphs`), and is in two parts: what is linear in sums over operators is fitted by ridge
regression, for it needs few measurements and reaches far; the graph networks learn the ratio of the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hwnas.core.errors import InputError
from hwnas.core.metrics import Floats, Prediction
from hwnas.core.net import NetSpec
from hwnas.latency.domain import Domain
from hwnas.latency.gcn_network import Ensemble, Shape, Training, predict, train
from hwnas.latency.graphs import Graph, GraphBatch, batch, graph
from hwnas.latency.linear import Linear
from hwnas.latency.tail import Tail

LEAST = 20
"""Networks below which nothing is fitted: each member must leave some out."""
PARTS = (0.0, 0.5, 1.0)
"""How much of what the graph networks say is taken; where few networks were measured, nothing may be best."""
BLOCKED = 0.2
"""Of the least measured latency: what the linear part says below that is out of its depth."""


@dataclass
class GCN:
    """A predictor; `fit` it before use. Member e of the ensemble leaves out one network in `members`.

    What the members say of the networks that they left out bounds the error of new ones (cross-conformal prediction,
    Vovk 2015).
    """

    members: int = 5
    shape: Shape = Shape()
    training: Training = Training()
    linear: bool = True
    """Whether the ridge regression takes part."""
    seed: int = 0
    _state: _Fitted | None = field(default=None, init=False, repr=False)

    def fit(self, nets: Sequence[NetSpec], latency_ms: Sequence[float] | Floats, p90_ms: Floats | None = None) -> GCN:
        """Fit on N measured networks: medians, and p90s where they are known.

        Raises:
            InputError: fewer than 20 networks, unequal lengths, or a latency that is no positive number.
        """
        times = np.asarray(latency_ms, dtype=np.float64)
        if len(nets) < LEAST or len(times) != len(nets) or not np.all(np.isfinite(times) & (times > 0)):
            raise InputError(
                f"{len(nets)} networks and {len(times)} latencies: the GCN wants {LEAST} or more networks and a positive "
                "latency for each"
            )
        graphs = [graph(net) for net in nets]
        domain = Domain.of(graphs)
        batched = batch(graphs, domain.classes, domain.most_nodes)
        order = np.random.default_rng(self.seed).permutation(len(nets))
        held = [np.sort(order[member :: self.members]) for member in range(self.members)]
        kept = [np.setdiff1d(np.arange(len(nets)), rows) for rows in held]
        shortest = min(len(rows) for rows in kept)  # the members train side by side: as many rows each
        rows = np.stack([part[:shortest] for part in kept])
        bases = [self._base(nets, times, part) for part in rows]
        floor = BLOCKED * float(times.min())
        own = np.stack([np.maximum(base.left_out(), floor) for base in bases])
        logs = np.log(times[rows] / own)
        centre, scale = logs.mean(1, keepdims=True), np.maximum(logs.std(1, keepdims=True), 1e-6)
        targets = ((logs - centre) / scale).astype(np.float32)
        net = train(batched, targets, rows, self.shape, self.training, self.seed)
        fitted = _Fitted(domain, bases, net, centre, scale, floor)
        said = fitted.members(nets, batched)
        # Each network by the member that left it out.
        blind = np.zeros((len(PARTS), len(nets)))
        for number, part in enumerate(PARTS):
            for member, rows_out in enumerate(held):
                blind[number, rows_out] = fitted.combine(said, part)[member, rows_out]
        errors = np.abs(blind - np.log(times))
        fitted.part = PARTS[int(np.argmin(errors.mean(1)))]
        fitted.errors = np.sort(errors[PARTS.index(fitted.part)])
        median = np.exp(blind[PARTS.index(fitted.part)])
        fitted.tail = Tail.fit(median, times, np.asarray(times if p90_ms is None else p90_ms, dtype=np.float64))
        self._state = fitted
        return self

    def predict(self, nets: Sequence[NetSpec]) -> Floats:
        """N medians in ms.

        Raises:
            InputError: it is not fitted, or a network lies outside what it was fitted on; the message names it.
        """
        return self.estimate(nets).median

    def estimate(self, nets: Sequence[NetSpec], share: float = 0.9) -> Prediction:
        """N medians, p90s, and bounds that `share` of new networks' medians keep within, all in ms.

        Raises:
            InputError: as `predict`.
        """
        fitted = self._fitted()
        if not nets:
            none = np.zeros(0)
            return Prediction(none, none, none, none)
        graphs = [graph(net) for net in nets]
        fitted.domain.refuse_others(graphs)
        batched = batch(graphs, fitted.domain.classes, fitted.domain.most_nodes)
        logs = fitted.combine(fitted.members(nets, batched), fitted.part).mean(0)
        median = np.exp(logs)
        spread = np.exp(fitted.bound(share))
        return Prediction(median, fitted.tail(median), median / spread, median * spread)

    def _base(self, nets: Sequence[NetSpec], times: Floats, rows: np.ndarray) -> Linear:
        return Linear.fit([nets[row] for row in rows], times[rows], constant=not self.linear)

    def _fitted(self) -> _Fitted:
        if self._state is None:
            raise InputError("the GCN is not fitted: call fit(nets, latency_ms) first")
        return self._state


@dataclass
class _Fitted:
    """What `fit` found; logarithms of milliseconds inside."""

    domain: Domain
    bases: list[Linear]
    net: Ensemble
    centre: Floats
    scale: Floats
    floor: float
    part: float = 1.0
    errors: Floats = field(default_factory=lambda: np.zeros(0))
    tail: Tail = field(default_factory=Tail)

    def members(self, nets: Sequence[NetSpec], batched: GraphBatch) -> tuple[Floats, Floats]:
        """What the linear part and the graph networks of each member say: E x N each."""
        base = np.stack([np.log(np.maximum(base.predict(nets), self.floor)) for base in self.bases])
        return base, predict(self.net, batched)

    def combine(self, said: tuple[Floats, Floats], part: float) -> Floats:
        """E x N logarithms; the mean ratio to the linear part is always taken, of the rest `part`."""
        return np.asarray(said[0] + self.centre + part * self.scale * said[1], dtype=np.float64)

    def bound(self, share: float) -> float:
        """What `share` of new errors stay under, in logarithms."""
        rank = min(int(np.ceil(share * (len(self.errors) + 1))), len(self.errors))
        return float(self.errors[rank - 1])


__all__ = ["GCN", "Graph", "Shape", "Training"]
