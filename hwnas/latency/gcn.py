"""`GCN`: latency of any network from whole measured networks, by an ensemble of graph networks (after BRP-NAS).

BRP-NAS (Dudziak et al., NeurIPS 2020, section 3.1) runs a graph convolutional network over a cell. This one takes any
`NetSpec` (`hwnas.latency.graphs`), and is in two parts: what is linear in sums over operators is fitted by ridge
regression, for it needs few measurements and reaches far; the graph networks learn the ratio of the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwnas.core.errors import InputError
from hwnas.core.metrics import Floats, Prediction
from hwnas.core.net import NetSpec
from hwnas.latency import fitting
from hwnas.latency.domain import LEAST, Domain
from hwnas.latency.gcn_network import Shape, Training, train
from hwnas.latency.gcn_predict import predict
from hwnas.latency.gcn_state import Fitted
from hwnas.latency.graphs import GraphBatch, batch, graph
from hwnas.latency.linear import Linear
from hwnas.latency.op_features import Sums
from hwnas.latency.tail import Tail

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
        self._state: Fitted | None = None

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
        fitted, bases = self._trained(sums, times, batched, domain, held)
        self._state = _judged(fitted, bases, times, p90s, batched, held)
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
        fitted = self.fitted
        if not len(nets):
            none = np.zeros(0)
            return Prediction(none, none, none, none)
        graphs = [graph(net) for net in nets]
        fitted.domain.refuse_others(graphs)
        return fitted.estimate(batch(graphs, fitted.domain.classes), Sums.of(nets).onto(fitted.whole.names), share)

    @property
    def fitted(self) -> Fitted:
        """What `fit` found.

        Raises:
            InputError: it is not fitted.
        """
        if self._state is None:
            raise InputError("the GCN is not fitted: call fit(nets, latency_ms) first")
        return self._state

    def save(self, path: str | Path) -> None:
        """Write what predicting needs as one safetensors file, whole or not at all.

        Raises:
            InputError: it is not fitted, or the file cannot be written.
        """
        settings = {"members": self.members, "linear": self.linear, "seed": self.seed}
        self.fitted.save(Path(path), {**settings, "training": asdict(self.training)})

    @classmethod
    def load(cls, path: str | Path) -> GCN:
        """Read what `save` wrote; it predicts the same to the last bit.

        Raises:
            InputError: the file is missing, cannot be read, is damaged or of another version.
        """
        state, settings = Fitted.load(Path(path))
        try:
            training = Training(**settings.pop("training"))
            gcn = cls(shape=state.ensemble.shape, training=training, **settings)
        except (AttributeError, KeyError, TypeError) as error:
            raise InputError(f"{path} is damaged, or no graph predictor: fit one and `save` it again") from error
        gcn._state = state
        return gcn

    def _trained(
        self,
        sums: Sums,
        times: Floats,
        batched: GraphBatch,
        domain: Domain,
        held: Sequence[NDArray[np.intp]],
    ) -> tuple[Fitted, Floats]:
        """Every member, trained without the networks held out of it; and what its linear part says of all, E x N."""
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
        said = np.stack([np.maximum(base.predict_sums(sums.onto(base.names)), floor) for base in bases])
        return Fitted(domain, whole, ensemble, centre, scale, floor), said


def _judged(
    fitted: Fitted,
    bases: Floats,
    times: Floats,
    p90s: Floats,
    batched: GraphBatch,
    held: Sequence[NDArray[np.intp]],
) -> Fitted:
    """With the best part, the errors and the tail by what each member says of the networks it left out."""
    said = predict(fitted.ensemble, batched)
    member = np.zeros(len(times), dtype=np.intp)
    for number, rows in enumerate(held):
        member[rows] = number
    every = np.arange(len(times))
    blind = np.stack([(np.log(bases) + fitted.ratio(said, part))[member, every] for part in PARTS])
    errors = np.abs(blind - np.log(times))
    best = int(np.argmin(errors.mean(1)))
    tail = Tail.fit(np.exp(blind[best]), times, p90s)
    return replace(fitted, part=PARTS[best], errors=errors[best], tail=tail)
