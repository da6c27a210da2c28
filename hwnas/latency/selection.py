"""Model selection: which latency model is best for a device? All are fitted on the same networks, and judged by others.

The whole networks that were measured on a device are split in three (`SPLIT`): models are fitted on the first part, the
best is told by the second, and all are scored on the third.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from hwnas.core.additive import Additive, compile_additive
from hwnas.core.arch import Arch, ArchBatch
from hwnas.core.count import macs, params
from hwnas.core.errors import InputError
from hwnas.core.genetics import sample
from hwnas.core.metrics import Floats, Measurement
from hwnas.core.net import NetSpec
from hwnas.core.progress import Progress, silent
from hwnas.core.protocols import SearchSpace
from hwnas.latency import fitting
from hwnas.latency.closed_loop import Points
from hwnas.latency.domain import LEAST
from hwnas.latency.in_use import FittedLatency, Floored, LatencyInUse
from hwnas.latency.lut import INTERVAL, CorrectedTable, TableSum
from hwnas.latency.picture import draw
from hwnas.latency.report_card import Score, noise_floor, proportional, score
from hwnas.latency.simulated import SimulatedLatency
from hwnas.latency.transfer import Prior, Source
from hwnas.latency.transfer_space import Blocks
from hwnas.luts import LatencyTable

if TYPE_CHECKING:
    from hwnas.latency.in_use import ArchLatency

Part = Literal["fit", "validation", "test"]
SPLIT: tuple[Part, ...] = ("fit", "test", "validation", "fit", "test", "fit")
"""What becomes of one network in six; they come in the order of their size, so that each part spans the range. The
slowest is always fitted on, as the fastest is: what learns is not asked about what is larger than all that it knows."""
LEAST_VALIDATION = 5
"""Fewer networks choose no model: the corrected table is used, which a handful of networks suffices for."""
SHOTS = 10
"""Networks from which transfer knows the device."""
SOURCE_NETWORKS = 200
"""Random subnets whose table sums stand for a known device; it has about 70 weights."""
ENOUGH = len(SPLIT) * (LEAST_VALIDATION - 1) + SPLIT.index("validation") + 1
"""Networks of which so many are for choosing."""


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
        """N medians."""
        return np.array([one.median for one in self.measurements])

    @cached_property
    def p90_ms(self) -> Floats:
        """N 90th percentiles."""
        return np.array([one.p90 for one in self.measurements])

    @cached_property
    def nets(self) -> list[NetSpec]:
        """The networks themselves."""
        return [self.space.lower(arch) for arch in self.archs]

    @property
    def points(self) -> Points:
        """As the closed loop takes them."""
        return Points.of(self.archs, self.measurements, verdict=False)

    def take(self, rows: NDArray[np.bool_]) -> Networks:
        """Some of them."""
        kept = tuple(one for one, chosen in zip(self.measurements, rows, strict=True) if chosen)
        return Networks(self.space, self.archs.take(rows), kept)

    def part(self, name: Part) -> Networks:
        """Those of one part."""
        return self.take(np.array([part == name for part in split(len(self))], dtype=np.bool_))


def split(networks: int) -> list[Part]:
    """The part of each of so many networks, from the fastest to the slowest."""
    found = [SPLIT[row % len(SPLIT)] for row in range(networks)]
    return [*found[:-1], "fit"][:networks]


Fit = Callable[[Networks], "ArchLatency"]
"""Fits a model on networks."""


@dataclass(frozen=True, eq=False)
class Selection:
    """Every latency model that can be made of a device, by the name it has on the card, plain ones first."""

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
    ) -> Selection:
        """The models that so many measured networks allow.

        `facts` of a real CPU make a row of the roofline; tables of other devices (`known`) one of transfer.
        """
        fitted_on, table_sum = split(networks).count("fit"), TableSum(space, table).median
        found: dict[str, Fit] = {
            "macs": _proxy(space, macs),
            "params": _proxy(space, params),
            "lut": lambda _: table_sum,
            CorrectedTable.name: lambda fit: CorrectedTable.fit(space, table, fit.archs, fit.measurements).median,
        }
        simulated = _roofline(space, facts)
        if simulated is not None:
            found["roofline, simulated"] = lambda _: simulated.median
        if fitted_on >= LEAST:
            found["gcn"] = _gcn
        blocks = Blocks.of(space) if known and fitted_on >= SHOTS else None
        if blocks is not None:
            found[f"transfer, {SHOTS} networks"] = _transfer(space, blocks, known)
        return cls(space, table, found)

    def card(self, networks: Networks, progress: Progress = silent) -> ReportCard | None:
        """Every model on networks that it was not fitted on; None where too few were measured to be split."""
        if len(networks) <= len(SPLIT):
            return None
        fit, validation, test = (networks.part(name) for name in ("fit", "validation", "test"))
        floor = noise_floor([one.samples_ms for one in test.measurements])
        fitted: dict[str, ArchLatency] = {}
        predicted: dict[str, Floats] = {}
        scores: list[Score] = []
        wrong: dict[str, float] = {}
        for number, (name, learn) in enumerate(self.models.items()):
            progress("latency models", number, len(self.models))
            model = learn(fit)
            said = model(test.archs)
            if np.isfinite(said).sum() < 2:  # nothing to score: nearly all are unlike what it was fitted on
                continue
            fitted[name], predicted[name] = model, said
            scores.append(score(name, test.median_ms, said, floor))
            wrong[name] = float(np.mean(np.abs(model(validation.archs) / validation.median_ms - 1)))
        progress("latency models", len(self.models), len(self.models))
        best = min(wrong, key=lambda name: wrong[name]) if len(validation) >= LEAST_VALIDATION else None
        used = best or CorrectedTable.name
        if used == CorrectedTable.name:
            tail = self._corrected(fit).estimate(test.archs).p90
        else:
            tail = FittedLatency(self.space, used, fitted[used], fit.points, 0.0).estimate(test.archs).p90
        floor_p90 = noise_floor([one.samples_ms for one in test.measurements], percent=90)
        scores.append(score(f"{used}, p90", test.p90_ms, tail, floor_p90))
        return ReportCard(tuple(scores), best, used, len(fit), len(validation), test.median_ms, predicted)

    def fitted(self, name: str, networks: Networks) -> LatencyInUse:
        """A model of the card, fitted on all networks, for use."""
        if name == CorrectedTable.name:
            return self._corrected(networks)
        base = self.models[name](networks)
        interval = self._interval(name, networks) if isinstance(base, Additive | Floored) else base.interval
        return FittedLatency(self.space, name, base, networks.points, interval)

    def _corrected(self, networks: Networks) -> CorrectedTable:
        return CorrectedTable.fit(self.space, self.table, networks.archs, networks.measurements)

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

    `best` is None where too few networks were there to tell; then `used` is the corrected table. `predicted_ms` has
    what each said of the third part's networks, whose medians are `measured_ms`.
    """

    scores: tuple[Score, ...]
    best: str | None
    used: str
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


def _proxy(space: SearchSpace, count: Callable[[NetSpec], int]) -> Fit:
    """A count, times one factor."""
    proxy = compile_additive(space, lambda net: float(count(net)))
    return lambda fit: proxy.scaled(proportional(proxy(fit.archs), fit.median_ms))


def _gcn(fit: Networks) -> ArchLatency:
    from hwnas.latency.gcn import GCN
    from hwnas.latency.gcn_network import Shape
    from hwnas.latency.gcn_space import GcnLatency

    # Small, for a search asks about some 30,000 networks: one and a half seconds, where the default takes five.
    model = GCN(shape=Shape.fast()).fit(fit.nets, fit.median_ms, fit.p90_ms)
    return GcnLatency(fit.space, model, outside="infinite")


def _transfer(space: SearchSpace, blocks: Blocks, known: Sequence[LatencyTable]) -> Fit:
    """What other devices showed, and the networks that tell most of this one."""
    batch = sample(space, SOURCE_NETWORKS, np.random.default_rng(0))
    nets = [space.lower(arch) for arch in batch]
    prior = Prior.learn([Source(nets, TableSum(space, table).median(batch)) for table in known])

    def fit_few(fit: Networks) -> ArchLatency:
        few = prior.choose(fit.nets, SHOTS)
        transfer = prior.fit([fit.nets[row] for row in few], fit.median_ms[few])
        return Floored(blocks.additive(transfer), transfer.floor_ms)

    return fit_few


def _roofline(space: SearchSpace, facts: dict[str, Any] | None) -> SimulatedLatency | None:
    """The device's CPU by what was probed of it; None where it hides its clock, or there is nothing to probe."""
    from hwnas.latency.roofline import Roofline

    try:
        return None if facts is None else SimulatedLatency(space, Roofline.of({"facts": facts}))
    except InputError:
        return None
