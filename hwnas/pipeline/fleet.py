"""Several devices profiled side by side, and units of one model checked against each other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from ipaddress import ip_address
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from hwnas.core.errors import HwnasError, InputError
from hwnas.core.progress import Progress, silent
from hwnas.devices.facts import identity
from hwnas.devices.profile import load_profile
from hwnas.luts import LatencyTable
from hwnas.pipeline.profile import ProfileReport, profile_device
from hwnas.pipeline.report import card_document

if TYPE_CHECKING:
    from hwnas.workspace import Workspace

AGREE = 0.05
"""Units of one model whose tables are further apart than this at the median are not interchangeable: chips of one make
differ by a few percent, a case without cooling or another power supply makes more."""

HERE = ("here",)
"""This machine."""
LEAVE_SECONDS = 2.0
"""For the other devices' threads to end after Ctrl-C; they look at every finished group."""


@dataclass(frozen=True)
class NotProfiled:
    """A device that could not be profiled, and why."""

    device: str
    why: str
    exit_code: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """An entry of `devices` like that of a profiled one, with `error`."""
        nothing: dict[str, Any] = {
            "tables": [],
            "rows": 0,
            "estimated": 0,
            "disturbed": {},
            "disturbed_networks": {},
            "drift": 0.0,
            "within": 0.0,
            "failed": [],
        }
        spent = {"seconds": self.seconds, "device_seconds": 0.0}
        return {
            "device": self.device,
            "device_kind": None,
            **nothing,
            **spent,
            **card_document(None, None, None),
            "error": self.why,
        }


@dataclass(frozen=True)
class Units:
    """Two devices that call themselves the same: the ratio of their times, row by row."""

    devices: tuple[str, str]
    rows: int
    median_ratio: float
    low: float
    high: float
    """Between these lie nine rows in ten."""

    @property
    def agree(self) -> bool:
        """A table of one serves the other."""
        return abs(self.median_ratio - 1) <= AGREE

    def to_json(self) -> dict[str, Any]:
        """One entry of `units` in the document of `hwnas profile --json`."""
        return {**asdict(self), "devices": list(self.devices), "agree": self.agree}


@dataclass(frozen=True, eq=False)
class FleetReport:
    """What profiling several devices gave, in the order they were asked for."""

    devices: tuple[ProfileReport | NotProfiled, ...]
    units: tuple[Units, ...]

    @property
    def exit_code(self) -> int:
        """The greatest of the devices'."""
        return max(report.exit_code for report in self.devices)

    def to_json(self) -> dict[str, Any]:
        """The document of `hwnas profile --json`."""
        return {
            "schema": 1,
            "devices": [report.to_json() for report in self.devices],
            "units": [units.to_json() for units in self.units],
        }


def profile_fleet(
    workspace: Workspace,
    devices: Sequence[str],
    seconds: float | None = None,
    strict: bool = False,
    progress: Progress = silent,
    supernet: str | None = None,
) -> FleetReport:
    """Profile devices side by side, a thread a machine, those of one machine in turn; one that fails leaves the others
    alone.

    After about `seconds` each makes do with what was measured; `strict` keeps nothing that was disturbed. `supernet`
    defaults to the settings'.

    Raises:
        InputError, DeviceError: there is but one device, and it cannot be profiled.
    """
    profile = partial(profile_device, workspace, supernet=supernet, seconds=seconds, strict=strict)
    if len(devices) == 1:
        return FleetReport((profile(device=devices[0], progress=progress),), ())
    run = _Run(profile, progress)
    machines: dict[tuple[str, ...], list[str]] = {}
    for name in devices:
        machines.setdefault(_machine(workspace, name), []).append(name)
    here = machines.pop(HERE, [])
    # Daemons, so that Ctrl-C ends the program at once: every finished measurement is in a journal already.
    threads = [threading.Thread(target=run.each, args=(names,), daemon=True) for names in machines.values()]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        run.each(here)  # when this machine has nothing else to do
    except BaseException:
        run.stopped.set()
        for thread in threads:
            thread.join(LEAVE_SECONDS)
        raise
    if run.bugs:
        raise run.bugs[0]
    reports = [run.reports[name] for name in devices]
    return FleetReport(tuple(reports), tuple(_units(reports)))


def _machine(workspace: Workspace, device: str) -> tuple[str, ...]:
    """The machine behind a device file, by the hosts on the way to it: devices of one would disturb each other."""
    try:
        profile = load_profile(workspace.device_file(device))
        if profile.ssh is None:
            return HERE
        from hwnas.devices.ssh_route import route  # paramiko takes half a second to import

        hosts = tuple(hop.host for hop in route(profile.ssh))
    except InputError:  # told of this device, when its turn comes
        return ("device", device)
    return HERE if len(hosts) == 1 and _is_loopback(hosts[0]) else hosts


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name
        return False


class _Run:
    """Profiles devices, each of which may be in a thread of its own."""

    def __init__(self, profile: Callable[..., ProfileReport], progress: Progress) -> None:
        self.profile = profile
        self.progress = progress
        self.reports: dict[str, ProfileReport | NotProfiled] = {}
        self.bugs: list[Exception] = []
        self.stopped = threading.Event()

    def each(self, devices: Sequence[str]) -> None:
        """Profile devices one after the other."""
        for device in devices:
            self.one(device)

    def one(self, device: str) -> None:
        """Profile a device; what goes wrong is kept, not raised."""
        started = time.monotonic()
        try:
            labelled = partial(self._labelled, device)
            self.reports[device] = self.profile(device=device, progress=labelled)
        except HwnasError as error:
            seconds = round(time.monotonic() - started, 3)
            self.reports[device] = NotProfiled(device, str(error), error.exit_code, seconds)
        except Exception as error:  # noqa: BLE001 - raised again where it is seen
            self.bugs.append(error)

    def _labelled(self, device: str, stage: str, done: int, total: int) -> None:
        if self.stopped.is_set():
            raise SystemExit  # ends this thread, and the measuring in it
        self.progress(f"{device}: {stage}", done, total)


def _units(reports: Sequence[ProfileReport | NotProfiled]) -> list[Units]:
    """Every two tables of devices that are the same but for their names."""
    tables = [(r.device, r.profiled.table) for r in reports if isinstance(r, ProfileReport)]
    return [
        compare(first, second)
        for first, second in combinations(tables, 2)
        if _model(first[1]) == _model(second[1]) and _both(first[1], second[1])
    ]


def _model(table: LatencyTable) -> dict[str, Any]:
    return {**identity(table.provenance.device), "device": None, "kind": None}


def _both(first: LatencyTable, second: LatencyTable) -> list[str]:
    measured = [{key for key, row in table.rows.items() if row.samples} for table in (first, second)]
    return sorted(measured[0] & measured[1])


def compare(first: tuple[str, LatencyTable], second: tuple[str, LatencyTable]) -> Units:
    """The second's times over the first's, on the rows that were measured on both."""
    both = _both(first[1], second[1])
    ratios = np.array([second[1].rows[key].median_ms / first[1].rows[key].median_ms for key in both])
    low, middle, high = (float(value) for value in np.percentile(ratios, (5, 50, 95)))
    return Units((first[0], second[0]), len(both), middle, low, high)
