"""The report card of a device: every latency model beside the plain baselines, on networks that none was fitted on.

The whole networks that were measured on the device are dealt out three ways: models are fitted on the first part, the
best is told by the second, and all are scored on the third (`SIXTHS`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hwnas.core.additive import compile_additive
from hwnas.core.arch import ArchBatch
from hwnas.core.count import macs, params
from hwnas.core.errors import InputError
from hwnas.core.genetics import sample
from hwnas.core.metrics import Floats, Measurement
from hwnas.core.net import NetSpec
from hwnas.core.protocols import SearchSpace
from hwnas.devices.profile import load_profile
from hwnas.latency.gcn import GCN, LEAST
from hwnas.latency.lut import CorrectedTable, TableSum
from hwnas.latency.picture import draw
from hwnas.latency.report_card import Score, noise_floor, proportional, score
from hwnas.latency.simulated import SimulatedLatency
from hwnas.latency.transfer import Prior, Source
from hwnas.luts import LatencyTable
from hwnas.luts.build import TABLE
from hwnas.ofa_supernet.folder import SupernetFolder
from hwnas.pipeline.latency import NETWORKS_JOURNAL, kept_networks

if TYPE_CHECKING:
    from hwnas.workspace import Workspace

SIXTHS = ("fit", "test", "validate", "fit", "test", "fit")
"""What becomes of one network in six; they come in the order of their size, so that each part spans the range."""
PICTURE = "report_card.png"
"""In a table's folder."""
FEW = 10
"""Networks from which transfer knows the device."""
SOURCE_NETWORKS = 200
"""Random subnets whose table sums stand for a known device; it has about 70 weights."""


@dataclass(frozen=True, eq=False)
class Networks:
    """Measured networks: architectures, lowered, and their measurements."""

    archs: ArchBatch
    nets: tuple[NetSpec, ...]
    median_ms: Floats
    p90_ms: Floats
    measurements: tuple[Measurement, ...]

    @classmethod
    def of(cls, space: SearchSpace, archs: ArchBatch, measurements: Sequence[Measurement]) -> Networks:
        median, p90 = (np.array([getattr(one, name) for one in measurements]) for name in ("median", "p90"))
        return cls(archs, tuple(space.lower(arch) for arch in archs), median, p90, tuple(measurements))

    def part(self, name: str) -> Networks:
        """Those that `SIXTHS` deals out to a part."""
        rows = np.array([SIXTHS[row % len(SIXTHS)] == name for row in range(len(self.nets))], dtype=np.bool_)
        nets = tuple(net for net, chosen in zip(self.nets, rows, strict=True) if chosen)
        measurements = tuple(one for one, chosen in zip(self.measurements, rows, strict=True) if chosen)
        return Networks(self.archs.take(rows), nets, self.median_ms[rows], self.p90_ms[rows], measurements)


Predict = Callable[[Networks], Floats]
Fit = Callable[[Networks], Predict]


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


@dataclass(frozen=True, eq=False)
class DeviceReport:
    """The card of a device as its kept measurements have it, and where its picture is; None where they are too few."""

    device: str
    device_kind: Literal["real", "simulator"]
    networks: int
    card: ReportCard | None
    picture: str | None

    def to_json(self) -> dict[str, Any]:
        """The document of `hwnas report --json`."""
        card = self.card
        return {
            "schema": 1,
            "device": self.device,
            "device_kind": self.device_kind,
            "networks": self.networks,
            "fitted_on": 0 if card is None else card.fitted_on,
            "validated_on": 0 if card is None else card.validated_on,
            "best_on_validation": None if card is None else card.best,
            "report_card": [] if card is None else card.to_json(),
            "picture": self.picture,
        }


def device_report(workspace: Workspace, *, device: str) -> DeviceReport:
    """Fit and score every latency model on what was measured of a device; the device is not asked for anything.

    Raises:
        InputError: it was not profiled yet, or a file is damaged.
    """
    supernet = workspace.settings.supernet
    profile = load_profile(workspace.device_file(device))
    space = SupernetFolder(workspace.supernet_folder(supernet)).space
    folder = workspace.table_folder(device, supernet)
    table = LatencyTable.read(folder / TABLE)
    found = kept_networks(space, folder / NETWORKS_JOURNAL)
    if table.provenance.failed or not found:
        return DeviceReport(device, profile.device_kind, len(found), None, None)
    archs = list(found)
    order = np.argsort(TableSum(space, table).median(ArchBatch.of(archs)), kind="stable").tolist()
    networks = Networks.of(space, ArchBatch.of([archs[row] for row in order]), [found[archs[row]] for row in order])
    facts = None if profile.simulated else table.provenance.device
    card = report_card(space, table, networks, facts, _others(workspace, space, supernet, device))
    if card is None:
        return DeviceReport(device, profile.device_kind, len(found), None, None)
    how = "simulated" if profile.simulated else "measured"
    title = f"{device}, {supernet}: {len(card.measured_ms)} networks that no model was fitted on, {how}"
    card.draw(folder / PICTURE, title)
    return DeviceReport(device, profile.device_kind, len(found), card, str(folder / PICTURE))


def _others(workspace: Workspace, space: SearchSpace, supernet: str, device: str) -> list[LatencyTable]:
    """Whole measured tables of the workspace's other devices for the same space; what is simulated tells nothing."""
    found = []
    for folder in workspace.table_folders():
        if folder.name == supernet and folder.parent.name != device and (folder / TABLE).exists():
            table = LatencyTable.read(folder / TABLE)
            origin = table.provenance
            if origin.space == space.id and origin.how == "measured" and not origin.failed:
                found.append(table)
    return found


def report_card(
    space: SearchSpace,
    table: LatencyTable,
    networks: Networks,
    facts: dict[str, Any] | None = None,
    known: Sequence[LatencyTable] = (),
) -> ReportCard | None:
    """The card of a device; None where too few networks were measured to deal out.

    `facts` of a real CPU make a row of the roofline; tables of other devices (`known`) one of transfer.
    """
    fit, validate, test = (networks.part(name) for name in ("fit", "validate", "test"))
    if not len(validate.nets) or not len(test.nets):
        return None
    floor = noise_floor([one.samples_ms for one in test.measurements])
    said: dict[str, Floats] = {}
    wrong: dict[str, float] = {}
    for name, learn in models(space, table, facts, known, len(fit.nets)).items():
        predict = learn(fit)
        said[name] = predict(test)
        wrong[name] = float(np.mean(np.abs(predict(validate) / validate.median_ms - 1)))
    scores = [score(name, test.median_ms, guess, floor) for name, guess in said.items()]
    tail = CorrectedTable.fit(space, table, fit.archs, fit.measurements).estimate(test.archs).p90
    scores.append(score("lut corrected, p90", test.p90_ms, tail, floor))
    best = min(wrong, key=lambda name: wrong[name])
    return ReportCard(tuple(scores), best, len(fit.nets), len(validate.nets), test.median_ms, said)


def models(
    space: SearchSpace, table: LatencyTable, facts: dict[str, Any] | None, known: Sequence[LatencyTable], count: int
) -> dict[str, Fit]:
    """Every model that can be made from `count` networks and what else is there, by the name it has on the card."""
    found: dict[str, Fit] = {
        "macs": partial(_proxy, space, lambda net: float(macs(net))),
        "params": partial(_proxy, space, lambda net: float(params(net))),
        "lut": lambda _: lambda others: TableSum(space, table).median(others.archs),
        "lut corrected": partial(_corrected, space, table),
    }
    simulated = _roofline(space, facts)
    if simulated is not None:
        found["roofline, simulated"] = lambda _: lambda others: simulated.median(others.archs)
    if count >= LEAST:
        found["gcn"] = _gcn
    if known:
        found[f"transfer, {FEW} networks"] = partial(_transfer, space, known)
    return found


def _proxy(space: SearchSpace, count: Callable[[NetSpec], float], fit: Networks) -> Predict:
    proxy = compile_additive(space, count)
    factor = proportional(proxy(fit.archs), fit.median_ms)
    return lambda others: factor * proxy(others.archs)


def _corrected(space: SearchSpace, table: LatencyTable, fit: Networks) -> Predict:
    model = CorrectedTable.fit(space, table, fit.archs, fit.measurements)
    return lambda others: model.median(others.archs)


def _gcn(fit: Networks) -> Predict:
    model = GCN().fit(fit.nets, fit.median_ms)
    return lambda others: model.predict(others.nets)


def _transfer(space: SearchSpace, known: Sequence[LatencyTable], fit: Networks) -> Predict:
    batch = sample(space, SOURCE_NETWORKS, np.random.default_rng(0))
    nets = [space.lower(arch) for arch in batch]
    prior = Prior.learn([Source(nets, TableSum(space, other).median(batch)) for other in known])
    few = prior.choose(fit.nets, FEW)
    model = prior.fit([fit.nets[row] for row in few], fit.median_ms[few])
    return lambda others: model.predict(others.nets)


def _roofline(space: SearchSpace, facts: dict[str, Any] | None) -> SimulatedLatency | None:
    """The device's CPU by what was probed of it; None where it hides its clock, or there is nothing to probe."""
    from hwnas.latency.roofline import Roofline

    try:
        return None if facts is None else SimulatedLatency(space, Roofline.of({"facts": facts}))
    except InputError:
        return None
