"""`GCN`: latency of any network from whole measured networks, by an ensemble of graph networks (after BRP-NAS).

BRP-NAS (Dudziak et al., NeurIPS 2020, section 3.1) runs a graph convolutional network over a cell. This one takes any
`NetSpec` (`hwnas.latency.graphs`), and is in two parts: what is linear in sums over operators is fitted by ridge
regression, for it needs few measurements and reaches far; the graph networks learn the ratio of the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hwnas.core.errors import InputError
from hwnas.core.metrics import Floats, Prediction
from hwnas.core.net import NetSpec
from hwnas.latency import fitting
from hwnas.latency.domain import Domain
from hwnas.latency.gcn_network import Ensemble, Shape, Training, predict, train
from hwnas.latency.graphs import GraphBatch, batch, graph
from hwnas.latency.linear import Linear
from hwnas.latency.op_features import Sums
from hwnas.latency.tail import Tail

LEAST = 20
"""Networks below which nothing is fitted: each member must leave some out."""
PARTS = (0.0, 0.5, 1.0)
"""How much of what the graph networks say is taken; where few networks were measured, nothing may be best."""
FLOOR = 0.2
"""Of the least measured latency: what the linear part says below that is raised to it, since it is no time."""


class GCN:
    """A predictor; `fit` it before use. Member e of the ensemble leaves out one network in `members`.

    What the members say of the networks that they left out bounds the error of new ones (cross-conformal prediction,
    Vovk, Annals of Mathematics and Artificial Intelligence 2015). Without `linear` the graph networks stand alone.
    """

    def __init__(
        self,
        *,
        members: int = 5,
        shape: Shape | None = None,
        training: Training | None = None,
        linear: bool = True,
        seed: int = 0,
    ) -> None:
        if members < 2:
            raise InputError(f"an ensemble of {members}: each member leaves some networks out, so give 2 or more")
        self.members, self.linear, self.seed = members, linear, seed
        self.shape, self.training = shape or Shape(), training or Training()
        self._state: _Fitted | None = None

    def fit(self, nets: Sequence[NetSpec], latency_ms: Sequence[float] | Floats, p90_ms: Floats | None = None) -> GCN:
        """Fit on N measured networks: medians, and p90s where they are known.

        Raises:
            InputError: fewer than 20 networks, unequal lengths, or a median or p90 that is no positive number.
        """
        times = np.asarray(latency_ms, dtype=np.float64)
        p90s = times if p90_ms is None else np.asarray(p90_ms, dtype=np.float64)
        if len(nets) < LEAST or not all(fitting.all_positive(values, len(nets)) for values in (times, p90s)):
            raise InputError(
                f"{len(nets)} networks, {len(times)} latencies and {len(p90s)} p90s: the GCN wants {LEAST} networks or "
                "more, and a positive number for each"
            )
        graphs = [graph(net) for net in nets]
        domain = Domain.of(graphs)
        batched = batch(graphs, domain.classes)
        order = np.random.default_rng(self.seed).permutation(len(nets))
        held = [np.sort(order[member :: self.members]) for member in range(self.members)]
        sums = Sums.of(nets)
        fitted = self._trained(sums, times, batched, domain, held)
        self._state = fitted.judged(sums, times, p90s, batched, held)
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
        if self._state is None:
            raise InputError("the GCN is not fitted: call fit(nets, latency_ms) first")
        if not len(nets):
            none = np.zeros(0)
            return Prediction(none, none, none, none)
        fitted = self._state
        graphs = [graph(net) for net in nets]
        fitted.domain.refuse_others(graphs)
        batched = batch(graphs, fitted.domain.classes)
        base = np.log(np.maximum(fitted.whole.predict(nets), fitted.floor))
        median = np.exp(base + fitted.ratio(predict(fitted.ensemble, batched), fitted.part).mean(0))
        spread = np.exp(fitting.bound(fitted.errors, share))
        return Prediction(median, fitted.tail(median), median / spread, median * spread)

    def _trained(
        self,
        sums: Sums,
        times: Floats,
        batched: GraphBatch,
        domain: Domain,
        held: Sequence[NDArray[np.intp]],
    ) -> _Fitted:
        """Every member, trained without the networks held out of it."""
        kept = [np.setdiff1d(np.arange(len(times)), rows) for rows in held]
        rows = np.stack([part[: min(map(len, kept))] for part in kept])  # as many each: they train side by side
        bases = [Linear.fit_sums(sums.take(part), times[part], constant=not self.linear) for part in rows]
        floor = FLOOR * float(times.min())
        # The ratio to what the linear part says of a network when it is left out: on its own it is too good.
        ratios = np.log(times[rows] / np.maximum([base.blind for base in bases], floor))
        centre, scale = ratios.mean(1, keepdims=True), np.maximum(ratios.std(1, keepdims=True), 1e-6)
        targets = ((ratios - centre) / scale).astype(np.float32)
        ensemble = train(batched, targets, rows, self.shape, self.training, self.seed)
        whole = Linear.fit_sums(sums, times, constant=not self.linear)
        return _Fitted(domain, whole, tuple(bases), ensemble, centre, scale, floor)


@dataclass(frozen=True, eq=False)
class _Fitted:
    """What `fit` found; logarithms of milliseconds inside."""

    domain: Domain
    whole: Linear
    """The linear part fitted on all networks, for new ones; `bases` are those of the members."""
    bases: tuple[Linear, ...]
    ensemble: Ensemble
    centre: Floats
    scale: Floats
    floor: float
    part: float = 1.0
    errors: Floats = field(default_factory=lambda: np.zeros(0))
    tail: Tail = field(default_factory=Tail)

    def ratio(self, said: Floats, part: float) -> Floats:
        """Logarithms of the ratio to the linear part, from what the graph networks say; E x N in and out.

        The mean ratio is always taken, of the rest `part`.
        """
        return np.asarray(self.centre + part * self.scale * said, dtype=np.float64)

    def judged(
        self,
        sums: Sums,
        times: Floats,
        p90s: Floats,
        batched: GraphBatch,
        held: Sequence[NDArray[np.intp]],
    ) -> _Fitted:
        """With the best part, the errors and the tail by what each member says of the networks it left out."""
        said = predict(self.ensemble, batched)
        bases = np.stack(
            [np.log(np.maximum(base.predict_sums(sums.onto(base.names)), self.floor)) for base in self.bases]
        )
        member = np.zeros(len(times), dtype=np.intp)
        for number, rows in enumerate(held):
            member[rows] = number
        every = np.arange(len(times))
        blind = np.stack([(bases + self.ratio(said, part))[member, every] for part in PARTS])
        errors = np.abs(blind - np.log(times))
        best = int(np.argmin(errors.mean(1)))
        tail = Tail.fit(np.exp(blind[best]), times, p90s)
        return replace(self, part=PARTS[best], errors=errors[best], tail=tail)
