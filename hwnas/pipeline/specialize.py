"""`specialize`, the closed loop: search, measure finalists, export the best, verify it on the device, correct, repeat.

A verdict is one measurement in a fresh process of the very file that is handed over. A model that missed the limit is
out, for good: verdicts are kept beside the latency table, and no model is verified again until it passes.
"""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwnas.core.arch import Arch, ArchBatch
from hwnas.core.errors import DeviceError, InfeasibleError
from hwnas.core.files import refuse_no_folder
from hwnas.core.progress import Progress, silent
from hwnas.core.quality import disturbance
from hwnas.devices.consumption import Energy, Memory, energy, refuse_no_meter, try_memory
from hwnas.devices.facts import identity
from hwnas.devices.profile import DeviceProfile, load_profile
from hwnas.evaluators.predictor import AccuracyPredictor
from hwnas.export.package import write_package
from hwnas.latency.in_use import LatencyInUse
from hwnas.ofa_supernet.folder import SupernetFolder
from hwnas.pipeline.candidates import Band, described, search
from hwnas.pipeline.handover import Candidate, Exported, Finalists, package_info
from hwnas.pipeline.latency import FINALISTS_JOURNAL, kept_model, measure_networks, profile_space, refuse_damaged
from hwnas.pipeline.opening import open_device
from hwnas.pipeline.reach import refuse_hopeless
from hwnas.pipeline.report import other_tables
from hwnas.pipeline.verdicts import Verdict, Verdicts

if TYPE_CHECKING:
    from hwnas.config import SearchSettings
    from hwnas.workspace import Workspace


logger = logging.getLogger(__name__)

MOST_MISSES = 4
"""Further misses lower the aim no more: it is a tenth of the limit lower, and the latency model must learn the rest."""
AIMS = 3
"""How often a round searches before it verifies, while no finalist is timed in the band: timing four takes 10 seconds,
comparing, exporting and verifying one of them half a minute to two (benchmarks/specialize_limits.py, `phases`)."""


@dataclass(frozen=True, eq=False)
class SpecializeReport:
    """A model that was measured to hold the limit, or simulated where the device is a simulator."""

    package: str
    device: DeviceProfile
    limit_ms: float
    binding: bool
    candidate: Candidate
    exported: Exported
    verdict: Verdict
    latency_model: str
    """What was searched with, as the report card calls it."""
    rounds: int
    seconds: dict[str, float]
    memory: Memory | None = None
    """None where the device cannot tell it."""
    energy: Energy | None = None
    """None where it was not asked for."""
    faster: Candidate | None = None
    """A subnet below the band that is predicted to be more accurate, by more than the predictor's own error."""

    def to_json(self) -> dict[str, Any]:
        """The document of `hwnas specialize --json`."""
        latency = {"median": self.verdict.median_ms, "p90": self.verdict.p90_ms}
        simulated = self.device.simulated
        used = {} if self.energy is None else self.energy.to_json()
        peak = None if self.memory is None else self.memory.peak_bytes
        accuracy = {"top1": self.exported.top1, "images": self.exported.images, "split": "test"}
        artifact = {
            "file": "model.onnx",
            "runtime": self.device.runtime,
            "precision": "float32",
            "latency_ms": latency,
            "verified_by": self.device.verified_by,
            "memory_bytes": peak,
            "top1": self.exported.top1,
        }
        measured = {
            "latency_ms": latency,
            "interval_95_ms": {name: list(ends) for name, ends in self.verdict.intervals.items()},
            "disturbed": disturbance(self.verdict.measurement),
            "memory_bytes": peak,
            **used,
        }
        return {
            "schema": 1,
            "holds": self.verdict.holds,
            "binding": self.binding,
            "device": self.device.name,
            "device_kind": self.device.device_kind,
            "verified_by": self.device.verified_by,
            "package": self.package,
            "arch": self.candidate.arch.to_json(),
            "constraints": [{"metric": "latency", "statistic": "p90", "limit": self.limit_ms, "unit": "ms"}],
            "predicted": {**self.candidate.to_json()["predicted"], "latency_model": self.latency_model},
            "measured": None if simulated else measured,
            "simulated": {"latency_ms": latency, **used} if simulated else None,
            "accuracy": accuracy,
            "agreement": {
                "same_class": self.exported.same_class,
                "greatest_difference": self.exported.greatest_difference,
                "images": self.exported.compared,
            },
            "artifacts": [artifact],
            "faster": None if self.faster is None else self.faster.to_json(),
            "rounds": self.rounds,
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
        }


def specialize(
    workspace: Workspace,
    *,
    latency_ms: float,
    device: str,
    seed: int,
    with_energy: bool = False,
    progress: Progress = silent,
) -> SpecializeReport:
    """Hand over the most accurate model that was measured to keep its p90 on `device` within `latency_ms`.

    Raises:
        InfeasibleError: nothing in the space is fast enough, or nothing that was verified held; says what is reachable.
        InputError: the device, the supernet or a file of theirs is wrong, or it has no meter of the energy asked for.
        DeviceError: the device cannot be measured.
    """
    clock = _Clock()
    settings = workspace.settings
    profile = load_profile(workspace.device_file(device))
    supernet = SupernetFolder(workspace.supernet_folder(settings.supernet))
    folder = workspace.table_folder(device, settings.supernet)
    predictor = AccuracyPredictor.load(supernet.space, supernet.predictor_path)
    supernet.refuse_damaged()
    refuse_no_folder(workspace.export_folder)
    if with_energy:
        with open_device(profile) as opened:
            refuse_no_meter(opened)
    with clock.time("profile"):
        model, facts = _latency_model(workspace, profile, supernet, folder, latency_ms, progress)
    verdicts = Verdicts(folder, identity(facts))
    with tempfile.TemporaryDirectory(prefix="hwnas-") as scratch:
        finalists = Finalists(supernet, Path(scratch))
        loop = _Loop(
            profile, facts, finalists, folder, predictor, verdicts, settings.search, latency_ms, progress, clock
        )
        report = loop.run(model, seed)
        with clock.time("memory"):
            report = _consumption(report, with_energy)
        with clock.time("package"):
            name = f"{settings.supernet}-{device}-{latency_ms:g}ms"
            info = package_info(name, supernet, profile, report, facts)
            package = write_package(workspace.export_folder, info, report.exported.path)
    return replace(report, package=str(package), seconds=clock.seconds)


def _latency_model(
    workspace: Workspace,
    profile: DeviceProfile,
    supernet: SupernetFolder,
    folder: Path,
    limit_ms: float,
    progress: Progress,
) -> tuple[LatencyInUse, dict[str, Any]]:
    """The kept model of this device, or a new one, and the device's facts; a hopeless limit is refused at once."""
    space, settings = supernet.space, workspace.settings
    refuse_damaged(folder)
    with open_device(profile) as device:
        facts = device.facts()
        model = kept_model(folder, space, facts)
        refuse_hopeless(device.with_rules(profile.networks), space, model, limit_ms)
    if model is None:
        known = other_tables(workspace, space, settings.supernet, profile.name)
        profiled = profile_space(profile, space, folder, settings.measure.subnets, progress, known)
        model = profiled.model
    if model is None:
        block, why = next(iter(profiled.table.provenance.failed.items()))
        raise DeviceError(f"a block of the space does not run on {profile.name}, {block}: {why}")
    return model, facts


def _consumption(report: SpecializeReport, with_energy: bool) -> SpecializeReport:
    """The report with what else the chosen file takes."""
    try:
        with open_device(report.device) as device:
            model = report.exported.as_device_model()
            used = energy(device, model) if with_energy else None
            return replace(report, memory=try_memory(device, model), energy=used)
    except DeviceError as error:
        if with_energy:
            raise
        logger.warning("the memory of the model was not measured: %s", error)
        return report  # it holds, whatever has become of the device since


class _Clock:
    """Seconds spent by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def time(self, phase: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + time.monotonic() - started


@dataclass
class _Loop:
    """The rounds of one specialization."""

    profile: DeviceProfile
    facts: dict[str, Any]
    finalists: Finalists
    folder: Path
    predictor: AccuracyPredictor
    verdicts: Verdicts
    settings: SearchSettings
    limit_ms: float
    progress: Progress
    clock: _Clock
    verified: set[Arch] = field(default_factory=set)
    dropped: set[Arch] = field(default_factory=set)
    """Timed outside the band. Neither these nor what was verified in this run is proposed again."""

    def run(self, model: LatencyInUse, seed: int) -> SpecializeReport:
        """Rounds until a verified model uses the limit well; else the best one that held.

        Raises:
            InfeasibleError: none held.
        """
        model = self._recall(model)
        binding = self.limit_ms < model.reachable("p90")[1]
        held: list[SpecializeReport] = []
        number = 0
        for number in range(1, self.settings.max_rounds + 1):
            self.progress("round", number - 1, self.settings.max_rounds)
            model, report = self._round(model, binding, seed + number - 1, number)
            if report is not None and report.verdict.holds:
                held.append(report)
                if self._uses_limit(report):
                    break
        self.progress("round", self.settings.max_rounds, self.settings.max_rounds)
        if not held:
            held = self._held_before(model, binding, number)
        if not held:
            least, most = model.reachable("p90")
            raise InfeasibleError(
                f"no model was verified within {self.limit_ms:g} ms in {number} rounds; "
                f"p90s from {least:.3g} to {most:.3g} ms are reachable on {self.profile.name}",
                {"latency_ms": (least, most)},
                self._nearest(),
                simulated=self.profile.simulated,
            )
        best = max(held, key=lambda report: (self._uses_limit(report), report.exported.choice_top1))
        with self.clock.time("test"):
            exported = self.finalists.tested(best.exported, self.progress)
        return replace(best, exported=exported, faster=self._faster(model, best.candidate, seed))

    def _held_before(self, model: LatencyInUse, binding: bool, number: int) -> list[SpecializeReport]:
        """The last resort: models that were verified within this limit in earlier runs, the best of them verified anew.

        They are far below the limit, or a round would have found them; better that than nothing.
        """
        known = [arch for arch in self.verdicts.held(self.limit_ms) if arch.space_id == model.space.id]
        known = sorted(set(known) - self.verified, key=lambda arch: arch.genes)
        if not known:
            return []
        described_all = described(model, known, self.predictor.evaluate(ArchBatch.of(known)).tolist())
        candidates = [one for one in described_all if math.isfinite(one.predicted_p90_ms)]  # of others it says nothing
        best = sorted(candidates, key=lambda candidate: -candidate.predicted_accuracy)[: self.settings.finalists]
        report = self._verified(model, best, binding, number)[1]
        return [report] if report is not None else []

    def _nearest(self) -> dict[str, Any] | None:
        """The model whose verdict missed this limit by least."""
        known = self.verdicts.of_space(self.predictor.encoder.space.id)
        missed = [verdict for verdict in known if verdict.p90_ms > self.limit_ms]
        if not missed:
            return None
        fastest = min(missed, key=lambda verdict: verdict.p90_ms)
        latency = {"median": fastest.median_ms, "p90": fastest.p90_ms}
        return {"arch": fastest.arch.to_json(), "latency_ms": latency}

    def _uses_limit(self, report: SpecializeReport) -> bool:
        """No more of the limit stays unused than the settings allow, or the limit does not bind."""
        return not report.binding or report.verdict.p90_ms >= (1 - self.settings.headroom) * self.limit_ms

    def _faster(self, model: LatencyInUse, chosen: Candidate, seed: int) -> Candidate | None:
        """What a person should know who pays for time that buys nothing."""
        missed = self.verdicts.missed(self.limit_ms)
        found = search(model, self.predictor, Band(self.limit_ms, 0.0), self.settings, missed, seed)
        gain = found[0].predicted_accuracy - chosen.predicted_accuracy if found else 0.0
        wasted = 1 - found[0].predicted_p90_ms / self.limit_ms if found else 0.0
        return found[0] if gain > self.predictor.report.rmse and wasted > self.settings.headroom else None

    def _recall(self, model: LatencyInUse) -> LatencyInUse:
        """Tell the model every earlier verdict on this device."""
        known = self.verdicts.of_space(model.space.id)
        if not known:
            return model
        batch = ArchBatch.of([verdict.arch for verdict in known])
        return model.update(batch, [verdict.measurement for verdict in known], limit_ms=self.limit_ms)

    def _round(
        self, model: LatencyInUse, binding: bool, seed: int, number: int
    ) -> tuple[LatencyInUse, SpecializeReport | None]:
        """Search until a finalist is timed in the band, and verify the best of those; or else the best below the band.

        No two searches of a run have the same seed.
        """
        misses = self.verdicts.missed_at(self.limit_ms)
        band = Band.of(self.limit_ms, self.settings.headroom, binding, min(misses, MOST_MISSES))
        below: list[Candidate] = []
        for aim in range(AIMS):
            model, fitting, lower = self._aimed(model, band, seed + aim * self.settings.max_rounds)
            below += lower
            if fitting:
                return self._verified(model, fitting, binding, number)
        # Better a model that wastes some of the limit than none; the rounds that follow may find one that does not.
        held = self.verified & self.verdicts.held(self.limit_ms)
        return self._verified(model, [] if held else below[-self.settings.finalists :], binding, number)

    def _aimed(
        self, model: LatencyInUse, band: Band, seed: int
    ) -> tuple[LatencyInUse, list[Candidate], list[Candidate]]:
        """One search and the timing of its finalists: the model that learnt from it, those in the band, those below."""
        with self.clock.time("search"):
            excluded = self.verdicts.missed(self.limit_ms) | self.verified | self.dropped
            found = search(model, self.predictor, band, self.settings, excluded, seed)
        if not found:
            return model, [], []
        with self.clock.time("measure"), open_device(self.profile, self.profile.finalists) as device:
            archs = ArchBatch.of([candidate.arch for candidate in found])
            journal = self.folder / FINALISTS_JOURNAL
            measured = measure_networks(device, model.space, archs, journal, self.progress)
        timed = measured.timings()
        if measured.fresh.any():  # the journal answers of an earlier run, when the machine may have been another
            fresh = [timing for timing, new in zip(timed, measured.fresh, strict=True) if new]
            model = model.update(archs.take(measured.fresh), fresh, limit_ms=self.limit_ms)
        fitting = [c for c, m in zip(found, timed, strict=True) if band.admits(m.p90)]
        below = [c for c, m in zip(found, timed, strict=True) if c not in fitting and m.p90 <= band.top_ms]
        self.dropped |= {c.arch for c in found} - {c.arch for c in fitting}
        return model, fitting, below

    def _verified(
        self, model: LatencyInUse, fitting: list[Candidate], binding: bool, number: int
    ) -> tuple[LatencyInUse, SpecializeReport | None]:
        """The verdict on the most accurate of the finalists; the model learns from it. No report where it missed."""
        if not fitting:
            return model, None
        with self.clock.time("accuracy"):
            candidate, exported = self.finalists.best(fitting, self.progress)
        with self.clock.time("verify"):
            verdict = self._verify(candidate.arch, exported)
        model = model.update(ArchBatch.of([candidate.arch]), [verdict.measurement], limit_ms=self.limit_ms)
        if not verdict.holds:
            return model, None
        report = SpecializeReport(
            "",
            self.profile,
            self.limit_ms,
            binding,
            candidate,
            exported,
            verdict,
            model.name,
            number,
            self.clock.seconds,
        )
        return model, report

    def _verify(self, arch: Arch, exported: Exported) -> Verdict:
        """The verdict on the very file, in a fresh process; kept at once, whatever it is."""
        self.progress("verify", 0, 1)
        with open_device(self.profile, self.profile.verify) as device:
            (_, measurement), *_ = device.measure([exported.as_device_model()])
        verdict = Verdict.of(arch, self.limit_ms, measurement, identity(self.facts))
        self.verdicts.keep(verdict)
        self.verified.add(arch)
        self.progress("verify", 1, 1)
        return verdict
