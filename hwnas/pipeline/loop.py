"""The rounds of one specialization: search, measure finalists, export the best, verify it, correct, repeat.

A verdict is one measurement in a fresh process of the very file that was exported. A model that missed the limit is
out, for good: verdicts are kept beside the latency table, and no model is verified again until it passes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwnas.core.arch import Arch, ArchBatch
from hwnas.core.errors import InfeasibleError
from hwnas.core.progress import Progress
from hwnas.core.protocols import Predictor
from hwnas.devices.facts import identity
from hwnas.devices.profile import DeviceProfile
from hwnas.latency.in_use import LatencyInUse
from hwnas.pipeline.candidates import Band, Candidate, described, search
from hwnas.pipeline.finalists import Exported, Finalists
from hwnas.pipeline.latency import FINALISTS_JOURNAL, measure_networks
from hwnas.pipeline.opening import open_device
from hwnas.pipeline.specialized import SpecializeReport
from hwnas.pipeline.verdicts import Verdict, Verdicts

if TYPE_CHECKING:
    from hwnas.config import SearchSettings

MOST_MISSES = 4
"""Further misses lower the aim no more: it is a tenth of the limit lower, and the latency model must learn the rest."""
AIMS = 3
"""How often a round searches before it verifies, while no finalist is timed in the band: timing four takes 10 seconds,
comparing, exporting and verifying one of them half a minute to two (benchmarks/specialize_limits.py, `phases`)."""


class Clock:
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
class Loop:
    """The rounds of one specialization."""

    profile: DeviceProfile
    facts: dict[str, Any]
    finalists: Finalists
    folder: Path
    predictor: Predictor
    verdicts: Verdicts
    settings: SearchSettings
    limit_ms: float
    progress: Progress
    clock: Clock
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
                self._nearest(model.space.id),
                simulated=self.profile.simulated,
            )
        best = max(held, key=lambda report: (self._uses_limit(report), report.exported.score))
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

    def _nearest(self, space_id: str) -> dict[str, Any] | None:
        """The model whose verdict missed this limit by least."""
        known = self.verdicts.of_space(space_id)
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
        if self.predictor.rmse is None:
            return None
        missed = self.verdicts.missed(self.limit_ms)
        found = search(model, self.predictor, Band(self.limit_ms, 0.0), self.settings, missed, seed)
        gain = found[0].predicted_accuracy - chosen.predicted_accuracy if found else 0.0
        wasted = 1 - found[0].predicted_p90_ms / self.limit_ms if found else 0.0
        return found[0] if gain > self.predictor.rmse and wasted > self.settings.headroom else None

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
            self.profile,
            self.limit_ms,
            binding,
            model.space,
            candidate,
            exported,
            verdict,
            model.name,
            self.predictor,
            number,
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
