"""Which latency model is best for a device? All are fitted on the same measured networks, and judged by others.

The whole networks that were measured on a device are dealt out three ways: models are fitted on the first part, the
best is told by the second, and all are scored on the third (`SIXTHS`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hwnas.core.additive import Additive, compile_additive
from hwnas.core.arch import Arch, ArchBatch
from hwnas.core.count import macs, params
from hwnas.core.errors import InputError
from hwnas.core.genetics import sample
from hwnas.core.metrics import Floats, Measurement
from hwnas.core.net import NetSpec
from hwnas.core.protocols import SearchSpace
from hwnas.latency import fitting
from hwnas.latency.closed_loop import Points
from hwnas.latency.domain import LEAST
from hwnas.latency.in_use import FittedLatency, LatencyInUse
from hwnas.latency.lut import INTERVAL, CorrectedTable, TableSum
from hwnas.latency.picture import draw
from hwnas.latency.report_card import Score, noise_floor, proportional, score
from hwnas.latency.simulated import SimulatedLatency
from hwnas.latency.transfer import Prior, Source
from hwnas.latency.transfer_space import TransferLatency
from hwnas.luts import LatencyTable

if TYPE_CHECKING:
    from hwnas.latency.in_use import ArchLatency

SIXTHS = ("fit", "test", "validate", "fit", "test", "fit")
"""What becomes of one network in six; they come in the order of their size, so that each part spans the range. The two
ends of the range are always fitted on: what learns is not asked about what is larger than all that it knows."""
FEW = 10
"""Networks from which transfer knows the device."""
SOURCE_NETWORKS = 200
"""Random subnets whose table sums stand for a known device; it has about 70 weights."""


@dataclass(frozen=True, eq=False)
class Networks:
    """N measured networks of a space."""

    space: SearchSpace
    archs: ArchBatch
    measurements: tuple[Measurement, ...]

    @classmethod
    def in_order(cls, space: SearchSpace, table: LatencyTable, found: Mapping[Arch, Measurement]) -> Networks:
        """In the order of their sums over the table, whatever order they were measured in."""
        archs = sorted(found, key=lambda arch: arch.genes)
        order = np.argsort(TableSum(space, table).median(ArchBatch.of(archs)), kind="stable")
        archs = [archs[row] for row in order.tolist()]
        return cls(space, ArchBatch.of(archs), tuple(found[arch] for arch in archs))

    def __len__(self) -> int:
        return len(self.measurements)

    @cached_property
    def median_ms(self) -> Floats:
        """N."""
        return np.array([one.median for one in self.measurements])

    @cached_property
    def p90_ms(self) -> Floats:
        """N."""
        return np.array([one.p90 for one in self.measurements])

    @cached_property
    def nets(self) -> list[NetSpec]:
        """The networks themselves."""
        return [self.space.lower(arch) for arch in self.archs]

    def take(self, rows: NDArray[np.bool_]) -> Networks:
        """Some of them."""
        kept = tuple(one for one, chosen in zip(self.measurements, rows, strict=True) if chosen)
        return Networks(self.space, self.archs.take(rows), kept)

    def part(self, name: str) -> Networks:
        """Those that `SIXTHS` deals out to a part."""
        return self.take(np.array([part == name for part in _parts(len(self))], dtype=np.bool_))


def _parts(networks: int) -> list[str]:
    """What becomes of each."""
    found = [SIXTHS[row % len(SIXTHS)] for row in range(networks)]
    return [*found[:-1], "fit"] if networks > len(SIXTHS) else found


Fit = Callable[[Networks], "ArchLatency"]
"""Fits a model on networks."""


@dataclass(frozen=True, eq=False)
class Contest:
    """What takes part: every model that can be made of a device, by the name it has on the card, plain ones first."""

    space: SearchSpace
    table: LatencyTable
    models: dict[str, Fit]

    @classmethod
    def of(
        cls,
        space: SearchSpace,
        table: LatencyTable,
        networks: int,
        facts: dict[str, Any] | None = None,
        known: Sequence[LatencyTable] = (),
    ) -> Contest:
        """The models that so many measured networks allow.

        `facts` of a real CPU make a row of the roofline; tables of other devices (`known`) one of transfer.
        """
        found: dict[str, Fit] = {
            "macs": partial(_proxy, space, lambda net: float(macs(net))),
            "params": partial(_proxy, space, lambda net: float(params(net))),
            "lut": lambda _: TableSum(space, table).median,
            CorrectedTable.name: lambda fit: CorrectedTable.fit(space, table, fit.archs, fit.measurements).median,
        }
        simulated = _roofline(space, facts)
        if simulated is not None:
            found["roofline, simulated"] = lambda _: simulated.median
        if sum(part == "fit" for part in _parts(networks)) >= LEAST:
            found["gcn"] = _gcn
        if known and TransferLatency.compiles(space):
            found[f"transfer, {FEW} networks"] = partial(_transfer, space, known)
        return cls(space, table, found)

    def card(self, networks: Networks) -> ReportCard | None:
        """Every model on networks that it was not fitted on; None where too few were measured to deal out."""
        fit, validate, test = (networks.part(name) for name in ("fit", "validate", "test"))
        if not len(validate) or not len(test):
            return None
        floor = noise_floor([one.samples_ms for one in test.measurements])
        said: dict[str, Floats] = {}
        wrong: dict[str, float] = {}
        for name, learn in self.models.items():
            model = learn(fit)
            said[name] = model(test.archs)
            if np.isfinite(said[name]).sum() < 2:
                del said[name]  # nothing to score: all are unlike what it was fitted on
                continue
            wrong[name] = float(np.mean(np.abs(model(validate.archs) / validate.median_ms - 1)))
        scores = [score(name, test.median_ms, guess, floor) for name, guess in said.items()]
        tail = CorrectedTable.fit(self.space, self.table, fit.archs, fit.measurements).estimate(test.archs).p90
        scores.append(score(f"{CorrectedTable.name}, p90", test.p90_ms, tail, floor))
        best = min(wrong, key=lambda name: wrong[name])
        return ReportCard(tuple(scores), best, len(fit), len(validate), test.median_ms, said)

    def fitted(self, name: str, networks: Networks) -> LatencyInUse:
        """A model of the card, fitted on all networks, for use."""
        if name == CorrectedTable.name:
            return CorrectedTable.fit(self.space, self.table, networks.archs, networks.measurements)
        base = self.models[name](networks)
        interval = self._interval(name, networks) if isinstance(base, Additive) else base.interval
        points = Points.of(networks.archs, networks.measurements, verdict=False)
        return FittedLatency(self.space, name, base, points, interval)

    def _interval(self, name: str, networks: Networks) -> float:
        """What nine in ten relative errors of held-out networks stay under."""
        errors = np.ones(len(networks))
        for held in fitting.folds(len(networks)):
            out = np.isin(np.arange(len(networks)), held)
            rest = networks.take(out)
            errors[out] = self.models[name](networks.take(~out))(rest.archs) / rest.median_ms - 1
        return fitting.bound(errors, INTERVAL)


@dataclass(frozen=True, eq=False)
class ReportCard:
    """Scores of every model on the third part, and which of them did best on the second.

    `predicted_ms` has what each said of the third part's networks, whose medians are `measured_ms`.
    """

    scores: tuple[Score, ...]
    best: str
    fitted_on: int
    validated_on: int
    measured_ms: Floats
    predicted_ms: dict[str, Floats]

    def to_json(self) -> list[dict[str, Any]]:
        """`report_card` of documents: one entry a model."""
        return [{**one.to_json(), "best_on_validation": one.model == self.best} for one in self.scores]

    def draw(self, path: Path, title: str) -> None:
        """A panel a model, predicted against measured, as a PNG."""
        draw(path, title, self.measured_ms, self.predicted_ms, {one.model: one.mape for one in self.scores})


def _proxy(space: SearchSpace, count: Callable[[NetSpec], float], fit: Networks) -> ArchLatency:
    factor = proportional(compile_additive(space, count)(fit.archs), fit.median_ms)
    return compile_additive(space, lambda net: factor * count(net))


def _gcn(fit: Networks) -> ArchLatency:
    from hwnas.latency.gcn import GCN
    from hwnas.latency.gcn_space import GcnLatency

    model = GCN().fit(fit.nets, fit.median_ms, fit.p90_ms)
    return GcnLatency(fit.space, model, outside="infinite")


def _transfer(space: SearchSpace, known: Sequence[LatencyTable], fit: Networks) -> ArchLatency:
    batch = sample(space, SOURCE_NETWORKS, np.random.default_rng(0))
    nets = [space.lower(arch) for arch in batch]
    prior = Prior.learn([Source(nets, TableSum(space, other).median(batch)) for other in known])
    few = prior.choose(fit.nets, FEW)
    model = prior.fit([fit.nets[row] for row in few], fit.median_ms[few])
    median = TransferLatency(space, model).median
    assert median is not None, "asked only where it compiles"
    return median


def _roofline(space: SearchSpace, facts: dict[str, Any] | None) -> SimulatedLatency | None:
    """The device's CPU by what was probed of it; None where it hides its clock, or there is nothing to probe."""
    from hwnas.latency.roofline import Roofline

    try:
        return None if facts is None else SimulatedLatency(space, Roofline.of({"facts": facts}))
    except InputError:
        return None
