"""Campaigns: many models measured through a journal, so that a kill at any moment costs at most one group."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hwnas.core.errors import InputError
from hwnas.core.files import append_line, read_lines
from hwnas.core.metrics import Measurement
from hwnas.core.protocols import Device, DeviceModel, Form
from hwnas.core.quality import REMEDIES, disturbance
from hwnas.devices.device import ModelsFailedError
from hwnas.devices.facts import identity

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with (models done, models in all)."""

LEAST_GROUP = 4
"""Smaller groups carry no anchor: they would hardly measure anything else."""
LEAST_PROCESSES = 4
PROCESS_GROUPS = 20
"""So many processes at least measure, where there are as many groups, and each so many groups at most. Where a process
puts its memory moves some blocks by several percent, which only other processes show: in repetitions of blocks, and in
what a model that is fitted to networks leaves over."""
ANCHOR = "anchor"
"""Name, in journals, of the model that is measured with every group, where one is given."""

Builder = Callable[[], Form]
"""Builds a model as the device takes it; called only for what is not measured yet."""
Models = Iterable[tuple[str, Builder]]


@dataclass
class Campaign:
    """What a campaign has: measurements by name, reasons of failure by name, seconds the device was busy in all.

    `fresh` names what this very call measured; the rest was in the journal. `repeats` are second measurements of some
    models, in other groups: they show what a repetition is worth.
    """

    measurements: dict[str, Measurement] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    device_seconds: float = 0.0
    fresh: set[str] = field(default_factory=set)
    repeats: list[tuple[str, Measurement]] = field(default_factory=list)


def campaign(
    device: Device,
    models: Models,
    journal: Path,
    progress: Progress | None = None,
    enough: Callable[[int], bool] | None = None,
    anchor: Builder | None = None,
) -> Campaign:
    """Measure `models`, keeping each finished one in `journal` (JSON lines, fsynced) and measuring none twice.

    A journal of another device or of other rules is set aside, never mixed. Models are taken in a random (fixed)
    order, so that a drift of the machine becomes noise over the table and not a slope along it; where `enough` is
    given, in theirs, until it is true of the number of models that are measured. A strict device measures what was
    disturbed anew. Four groups or more are spread over several processes.

    Where `anchor` builds a model, that one is measured with every group, in the same rounds, and its median stands with
    each measurement of the group: what the machine's speed was. From the second process on, each group also repeats
    one model that another process measured.

    Raises:
        InputError: another process writes this journal.
        DeviceError: the device cannot be reached.
    """
    builders = dict(models)
    with _locked(journal):
        state = _resume(journal, device.facts(), device.strict, anchor)
        todo = [name for name in builders if name not in state.measurements]
        if enough is None:
            np.random.default_rng(0).shuffle(todo)
        _report(progress, len(builders) - len(todo), len(builders))
        companions = None if anchor is None or device.group < LEAST_GROUP else _Companions(anchor, builders)
        size = device.group - 2 if companions else device.group
        groups = math.ceil(len(todo) / size)
        per_process = min(PROCESS_GROUPS, max(1, groups // LEAST_PROCESSES))
        several = companions is not None or groups >= LEAST_PROCESSES
        for start in range(0, len(todo), size):
            if enough is not None and enough(sum(name in state.measurements for name in builders)):
                break
            names = todo[start : start + size]
            group = [DeviceModel.of(name, builders[name]()) for name in names]
            fresh = start // size % per_process == 0
            if fresh and start and several:
                device.renew()
            if companions:
                if fresh:
                    companions.choose_from(state.measurements)
                group += companions.models()
            _measure(device, group, journal, state)
            _report(progress, len(builders) - len(todo) + start + len(names), len(builders))
        wanted = {name: state.measurements[name] for name in builders if name in state.measurements}
        repeats = [(name, measurement) for name, measurement in state.repeats if name in wanted]
    for name, why in state.failed.items():
        logger.warning("%s does not run on %s: %s", name, device.name, why)
    return Campaign(wanted, state.failed, state.device_seconds, state.fresh, repeats)


class _Companions:
    """What is measured with every group: a model that other processes have measured before, once more; the anchor."""

    def __init__(self, anchor: Builder, builders: Mapping[str, Builder]) -> None:
        self._anchor = DeviceModel.of(ANCHOR, anchor())
        self._builders = builders
        self._before: list[str] = []
        self._rng = np.random.default_rng(0)

    def choose_from(self, measured: Collection[str]) -> None:
        """What other processes have measured."""
        self._before = [name for name in self._builders if name in measured]

    def models(self) -> list[DeviceModel]:
        """For the next group."""
        again = self._rng.permutation(self._before)[:1].tolist()
        return [*(DeviceModel.of(name, self._builders[name]()) for name in again), self._anchor]


def _measure(device: Device, models: Sequence[DeviceModel], journal: Path, state: Campaign) -> None:
    """Measure one group and keep its results, those included that were there before it was broken off."""
    before = device.device_seconds
    results: dict[str, Measurement] = {}
    try:
        for name, measurement in device.measure(models):
            results[name] = measurement
    except ModelsFailedError as error:
        for name, why in error.failed.items():
            if name == ANCHOR or name in state.measurements:  # the rows that were to be measured are whole
                logger.warning("%s did not run beside a group on this device: %s", name, why)
                continue
            state.failed[name] = why
            append_line(journal, {"kind": "failed", "name": name, "why": why})
    finally:
        _keep(results, device.device_seconds - before, journal, state)


def _keep(results: dict[str, Measurement], seconds: float, journal: Path, state: Campaign) -> None:
    """A group's results, each with the anchor's median if that ran beside it; its seconds stand with the first."""
    anchor = results.pop(ANCHOR, None)
    if anchor is not None:
        append_line(journal, {"kind": "anchor", **anchor.record()})
    for name, found in results.items():
        measurement = found
        if anchor is not None and ANCHOR in found.beside:  # not, where a runner died and each was measured alone
            measurement = replace(found, anchor_ms=anchor.median)
        repeated = name in state.measurements
        line = {"kind": "repeated" if repeated else "measured", "name": name, "device_seconds": round(seconds, 6)}
        append_line(journal, {**line, **measurement.record()})
        state.device_seconds += seconds
        seconds = 0.0
        if repeated:
            state.repeats.append((name, measurement))
        else:
            state.measurements[name] = measurement
            state.fresh.add(name)


def _resume(journal: Path, facts: dict[str, Any], strict: bool, anchor: Builder | None) -> Campaign:
    """What `journal` holds for this device; a fresh journal where it holds another's. Failures are tried again."""
    header = {"kind": "header", "schema": 1, "identity": identity(facts), "rules": facts.get("rules")}
    header["anchor"] = None if anchor is None else _digest(anchor())
    lines = read_lines(journal)
    state = Campaign()
    if lines and not _same(lines[0], header):
        aside = _aside(journal)
        journal.rename(aside)
        logger.warning("%s is of another device, other rules or another anchor: set aside as %s", journal, aside.name)
        lines = []
    if not lines:
        append_line(journal, {**header, "facts": facts})
    for line in lines[1:]:
        measurement = _measurement(line)
        if measurement is None:
            continue
        state.device_seconds += float(line.get("device_seconds", 0.0))
        if strict and disturbance(measurement) in REMEDIES:
            continue
        if line["kind"] == "repeated":
            state.repeats.append((line["name"], measurement))
        else:
            state.measurements[line["name"]] = measurement
    return state


def _digest(form: Form) -> str:
    return hashlib.sha256(form if isinstance(form, bytes) else form.key().encode()).hexdigest()


def _same(line: Any, header: dict[str, Any]) -> bool:
    return isinstance(line, dict) and {key: line.get(key) for key in header} == header


def _measurement(line: Any) -> Measurement | None:
    """The measurement in a journal line, or None where there is none that can be used."""
    kinds = ("measured", "repeated")
    if not isinstance(line, dict) or line.get("kind") not in kinds or not isinstance(line.get("name"), str):
        return None
    return Measurement.from_record(line)


def _aside(journal: Path) -> Path:
    number = 1
    while (path := journal.with_name(f"{journal.stem}.old{number}{journal.suffix}")).exists():
        number += 1
    return path


def _report(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)


@contextmanager
def _locked(journal: Path) -> Iterator[None]:
    """One writer a journal; the lock dies with its process, however that ends."""
    lock = journal.with_name(f".{journal.name}.lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("w")
    except OSError as error:
        raise InputError(f"cannot write {journal.parent}: {error.strerror}; make it writable") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"another hwnas is measuring into {journal}: wait for it or stop it") from error
        yield
