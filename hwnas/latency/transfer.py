"""Few-shot transfer: a new device's latency from ten or so of its measurements, and what other devices showed.

Every device is a weighted sum over operators. `Prior.learn` fits the weights of the known devices; their mean and
covariance are the prior of a new device's (an empirical Bayes linear model: Bishop, PRML, 2006, section 3.5).
Runtimes differ in which operators they run at all, those that the output depends on or all that are written, so there
is a model for each view, one for both together, and several noise levels; the few measurements weigh them by their
evidence (Bayesian model averaging: Hoeting et al., Statistical Science 1999).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from hwnas.core.errors import InputError
from hwnas.core.metrics import Floats, Prediction
from hwnas.core.net import NetSpec
from hwnas.latency import fitting
from hwnas.latency.op_features import VIEWS, Sums, View
from hwnas.latency.tail import Tail

HYPOTHESES: tuple[tuple[View, ...], ...] = (("written",), ("read",), ("written", "read"))
NOISES = (0.02, 0.05, 0.1, 0.2)
"""Standard deviations of a measurement, and of what a weighted sum leaves out, over the device's mean latency."""
EXPECTED_NOISE = 0.15
OWN = 0.05
"""Standard deviation of what each weight of a new device has for itself, over the mean latency, for features of 0 to 1.
This and `EXPECTED_NOISE` were chosen on HELP's four validation devices (benchmarks/transfer.py)."""
STRENGTH = 0.1
"""Of the ridge by which a known device's weights are fitted, for features of 0 to 1 and latencies of mean 1."""
SAMPLE = 1000
"""Networks over which the uncertainty is averaged when the next one is chosen."""
NORMAL_90 = 1.645
"""Half-width of 90% of a normal distribution, in standard deviations."""
LEAST_SOURCE = 20
FLOOR = 0.2
"""Of the least measured latency: a weighted sum that says less is raised to it, since it is no time."""


@dataclass(frozen=True, eq=False)
class Source:
    """A known device: N networks and their medians in ms; of a table, sums over its rows serve."""

    nets: Sequence[NetSpec]
    latency_ms: Floats


_Views = dict[View, Sums]
"""Sums over operators of N networks, as each view has them: made once, for every hypothesis."""


@dataclass(frozen=True, eq=False)
class _Columns:
    """Features of 0 to 1 over the sources' networks, for one hypothesis; the first is a constant."""

    views: tuple[View, ...]
    names: tuple[tuple[str, ...], ...]
    least: Floats
    extent: Floats
    kept: NDArray[np.intp]

    @classmethod
    def of(cls, views: tuple[View, ...], sums: _Views) -> _Columns:
        names = tuple(sums[view].names for view in views)
        raw = _raw(sums, views, names)
        least, extent = raw.min(0), np.ptp(raw, axis=0)
        moving = np.flatnonzero(extent > 1e-9 * np.abs(raw).max(0))
        scaled = (raw[:, moving] - least[moving]) / extent[moving]
        _, first = np.unique(np.round(scaled, 9), axis=1, return_index=True)  # equal columns would count twice
        return cls(views, names, least, extent, moving[np.sort(first)])

    def __call__(self, sums: _Views) -> Floats:
        """N x F."""
        raw = _raw(sums, self.views, self.names)
        scaled = (raw[:, self.kept] - self.least[self.kept]) / self.extent[self.kept]
        return np.concatenate([np.ones((len(raw), 1)), scaled], axis=1)


def _sums(nets: Sequence[NetSpec]) -> _Views:
    return {view: Sums.of(nets, view) for view in VIEWS}


def _raw(sums: _Views, views: tuple[View, ...], names: tuple[tuple[str, ...], ...]) -> Floats:
    return np.concatenate([sums[view].onto(own) for view, own in zip(views, names, strict=True)], axis=1)


@dataclass(frozen=True, eq=False)
class _Belief:
    """Weights of one hypothesis, over the device's mean latency: mean F, covariance F x F."""

    columns: _Columns
    mean: Floats
    covariance: Floats


@dataclass(frozen=True, eq=False)
class Prior:
    """What known devices tell of an unknown one."""

    beliefs: tuple[_Belief, ...]

    @classmethod
    def learn(cls, sources: Sequence[Source]) -> Prior:
        """From one known device or more.

        Raises:
            InputError: there is none, one has fewer than 20 networks, or a latency that is no positive number.
        """
        if not sources:
            raise InputError("a transfer needs a known device: profile one, and give its table or measurements")
        for source in sources:
            if len(source.nets) < LEAST_SOURCE or not fitting.all_positive(
                np.asarray(source.latency_ms), len(source.nets)
            ):
                raise InputError(f"each known device needs {LEAST_SOURCE} networks and a positive latency for each")
        every = {net.key(): net for source in sources for net in source.nets}
        beliefs, sums = [], _sums(list(every.values()))
        for views in HYPOTHESES:
            columns = _Columns.of(views, sums)
            rows = dict(zip(every, columns(sums), strict=True))
            weights = np.array([_weights(source, rows) for source in sources])
            apart = weights - weights.mean(0)
            own = OWN**2 * np.eye(weights.shape[1])
            beliefs.append(_Belief(columns, weights.mean(0), apart.T @ apart / len(weights) + own))
        return cls(tuple(beliefs))

    def choose(self, candidates: Sequence[NetSpec], count: int) -> list[int]:
        """Indices of the `count` networks whose measurements tell most, the most telling first.

        Each next one leaves all of them the least variance on average (an A-optimal design, greedily), summed over the
        hypotheses.
        """
        count = min(count, len(candidates))
        spread = np.linspace(0, len(candidates) - 1, min(SAMPLE, len(candidates))).astype(np.intp)
        sums = _sums(candidates)
        states = [(belief.columns(sums), belief.covariance) for belief in self.beliefs]
        chosen: list[int] = []
        for _ in range(count):
            gain = sum((_gain(rows, covariance, spread) for rows, covariance in states), np.zeros(len(candidates)))
            gain[chosen] = -1.0
            best = int(np.argmax(gain))
            chosen.append(best)
            states = [(rows, _after(covariance, rows[best])) for rows, covariance in states]
        return chosen

    def fit(
        self, nets: Sequence[NetSpec], latency_ms: Sequence[float] | Floats, p90_ms: Floats | None = None
    ) -> Transfer:
        """The new device, from a few of its networks: medians in ms, and p90s where they are known.

        Raises:
            InputError: there is none, or a median or p90 is no positive number.
        """
        times = np.asarray(latency_ms, dtype=np.float64)
        p90s = times if p90_ms is None else np.asarray(p90_ms, dtype=np.float64)
        if not len(nets) or not all(fitting.all_positive(values, len(nets)) for values in (times, p90s)):
            raise InputError("a transfer needs a few networks and a positive latency for each, and as many p90s if any")
        sums = _sums(nets)
        models = [model for belief in self.beliefs for model in _posteriors(belief, belief.columns(sums), times)]
        evidence = np.array([model.log_evidence for model in models])
        shares = np.exp(evidence - evidence.max())
        transfer = Transfer(tuple(models), shares / shares.sum(), FLOOR * float(times.min()))
        return replace(transfer, tail=Tail.fit(transfer.predict(nets), times, p90s))


@dataclass(frozen=True, eq=False)
class _Posterior:
    """A hypothesis after the measurements, in ms."""

    columns: _Columns
    mean: Floats
    covariance: Floats
    noise_ms: float
    log_evidence: float


@dataclass(frozen=True, eq=False)
class Transfer:
    """A device known from a few measurements; made by `Prior.fit`."""

    models: tuple[_Posterior, ...]
    shares: Floats
    """How much each model counts; their sum is 1."""
    floor_ms: float
    tail: Tail = field(default_factory=Tail)

    def predict(self, nets: Sequence[NetSpec]) -> Floats:
        """N medians in ms."""
        return self.estimate(nets).median

    def estimate(self, nets: Sequence[NetSpec]) -> Prediction:
        """N medians, p90s and bounds of nine in ten medians, in ms."""
        return self.estimate_sums(_sums(nets))

    def weights(self) -> tuple[float, dict[View, dict[str, float]]]:
        """What it is linear in, before the floor: a constant in ms, and milliseconds a unit of each sum of each view.

        The means over all models; a sum that tells nothing beside others is left out.
        """
        constant, slopes = 0.0, {view: dict[str, float]() for view in VIEWS}
        for share, model in zip(self.shares, self.models, strict=True):
            columns = model.columns
            sums = [(view, name) for view, names in zip(columns.views, columns.names, strict=True) for name in names]
            own = share * model.mean[1:] / columns.extent[columns.kept]
            constant += float(share * model.mean[0] - own @ columns.least[columns.kept])
            for place, slope in zip(columns.kept, own, strict=True):
                view, name = sums[place]
                slopes[view][name] = slopes[view].get(name, 0.0) + float(slope)
        return constant, slopes

    def estimate_sums(self, sums: dict[View, Sums]) -> Prediction:
        """`estimate`, where the networks' sums in both views are there already."""
        count = len(sums["read"].values)
        means, variances = np.zeros((len(self.models), count)), np.zeros((len(self.models), count))
        rows: dict[tuple[View, ...], Floats] = {}
        for place, model in enumerate(self.models):
            if model.columns.views not in rows:
                rows[model.columns.views] = model.columns(sums)
            own = rows[model.columns.views]
            means[place] = own @ model.mean
            variances[place] = np.einsum("ij,ij->i", own @ model.covariance, own) + model.noise_ms**2
        mean = self.shares @ means
        spread = NORMAL_90 * np.sqrt(np.maximum(self.shares @ (variances + means**2) - mean**2, 0.0))
        median = np.maximum(mean, self.floor_ms)
        lower, upper = np.clip(mean - spread, 0.0, median), np.maximum(mean + spread, median)
        return Prediction(median, self.tail(median), lower, upper)


def _weights(source: Source, rows: dict[str, Floats]) -> Floats:
    """Of a known device, over its mean latency."""
    own = np.array([rows[net.key()] for net in source.nets])
    target = np.asarray(source.latency_ms) / np.mean(source.latency_ms)
    found = np.linalg.solve(own.T @ own + STRENGTH * np.eye(own.shape[1]), own.T @ target)
    return np.asarray(found, dtype=np.float64)


def _posteriors(belief: _Belief, rows: Floats, times: Floats) -> list[_Posterior]:
    """One for each noise level, from N x F features and N latencies."""
    expected = rows @ belief.mean
    unit = float(times.mean() / expected.mean())
    rest = times / unit - expected
    models = []
    for noise in NOISES:
        told = belief.covariance @ rows.T
        factor = cho_factor(rows @ told + noise**2 * np.eye(len(times)))
        evidence = -0.5 * float(rest @ cho_solve(factor, rest)) - float(np.log(np.diag(factor[0])).sum())
        mean = unit * (belief.mean + told @ cho_solve(factor, rest))
        covariance = unit**2 * (belief.covariance - told @ cho_solve(factor, told.T))
        models.append(_Posterior(belief.columns, mean, covariance, unit * noise, evidence))
    return models


def _gain(rows: Floats, covariance: Floats, spread: NDArray[np.intp]) -> Floats:
    """By what share each of N networks would lower the mean variance over those at `spread`."""
    told = rows @ covariance
    variance = np.einsum("ij,ij->i", told, rows)
    lowered = ((told @ rows[spread].T) ** 2).mean(1) / (variance + EXPECTED_NOISE**2)
    return np.asarray(lowered / variance[spread].mean(), dtype=np.float64)


def _after(covariance: Floats, row: Floats) -> Floats:
    """The covariance of the weights after a measurement."""
    told = covariance @ row
    return np.asarray(covariance - np.outer(told, told) / (row @ told + EXPECTED_NOISE**2), dtype=np.float64)
