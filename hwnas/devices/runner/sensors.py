"""What Linux shows of a machine's heat, clock, load and power, below `root` (the root but for tests)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Callable, List, NamedTuple

ROOT = Path("/")
INPUT_RAILS = ("VDD_IN", "POM_5V_IN")
"""Rails that feed a whole Jetson module (NVIDIA's names for the channels of its INA3221 monitors); its other channels
are parts of these. Where there is neither, the channels are rails beside each other, and are added."""

METER = re.compile(r"ina\d|ltc294[57]$|isl28022$")
"""Names of the kernel's drivers for power monitors that sit on boards (Documentation/hwmon)."""


class Load(NamedTuple):
    """Seconds of all cores since the machine was started: busy with anything, and taken away by other guests."""

    busy: float
    stolen: float


class EnergyCounter(NamedTuple):
    """`read` gives what the counter says; joules are differences for a `cumulative` one, else watts of the moment.

    A cumulative counter begins again from zero after `wraps_at` joules.
    """

    name: str
    cumulative: bool
    read: Callable[[], float]
    wraps_at: float = 0.0

    def joules(self, before: float, after: float) -> float:
        """The energy between two readings of a cumulative counter, which wrapped once at most."""
        return after - before if after >= before else max(0.0, after - before + self.wraps_at)


def temperature_c(root: Path = ROOT) -> float | None:
    """The hottest thermal zone, in degrees Celsius; a broken zone says what no chip survives, or ice."""
    zones = [_number(path) for path in root.glob("sys/class/thermal/thermal_zone*/temp")]
    plausible = [zone / 1000 for zone in zones if zone is not None and 0 < zone < 150_000]
    return max(plausible, default=None)


def clock_mhz(cores: List[int], root: Path = ROOT) -> float | None:
    """The clock of the fastest of these cores, for a model runs on it: the governor's word, or else the CPU's own."""
    known = [_number(root / f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq") for core in cores]
    khz = [clock for clock in known if clock]
    if khz:
        return max(khz) / 1000
    try:
        text = (root / "proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return None
    shown = [float(value) for value in re.findall(r"^cpu MHz\s*: ([\d.]+)$", text, re.MULTILINE)]
    wanted = [shown[core] for core in cores if core < len(shown)]
    return max(wanted, default=None)


def max_clock_mhz(cores: List[int], root: Path = ROOT) -> float | None:
    """The highest clock that any of these cores may take, where the governor knows it."""
    known = [_number(root / f"sys/devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq") for core in cores]
    return max((clock / 1000 for clock in known if clock), default=None)


def load(root: Path = ROOT) -> Load | None:
    """Of all cores together; None where the system hides it, as Android does."""
    try:
        with (root / "proc/stat").open() as file:
            fields = [int(field) for field in file.readline().split()[1:]]
    except (OSError, ValueError):
        return None
    if len(fields) < 4:
        return None
    idle = sum(fields[3:5])  # waiting for a disk is idleness here
    stolen = fields[7] if len(fields) > 7 else 0
    ticks = os.sysconf("SC_CLK_TCK")
    return Load((sum(fields[:8]) - idle - stolen) / ticks, stolen / ticks)


def energy_counters(root: Path = ROOT) -> List[EnergyCounter]:
    """The counters that together tell what the machine, or its processor, draws; the best kind that there is.

    A board's own meter comes before a processor's estimate of itself. Other chips (graphics cards, disks) do not count.
    """
    return _rails(root) or _meters(root) or _rapl(root) or _sockets(root)


def _rapl(root: Path) -> List[EnergyCounter]:
    """Intel's and AMD's packages (the kernel's powercap interface); a package holds its cores and its graphics."""
    counters = []
    for folder in sorted(root.glob("sys/class/powercap/intel-rapl:*")):
        name = _text(folder / "name")
        if name is None or not name.startswith("package"):
            continue
        path, most = folder / "energy_uj", _number(folder / "max_energy_range_uj")
        if _number(path) is not None:
            counters.append(EnergyCounter(f"RAPL {name}", True, _scaled(path, 1e-6), (most or 0) * 1e-6))
    return counters


def _meters(root: Path) -> List[EnergyCounter]:
    """Power monitors on a board: what they have counted, or else the watts of the moment."""
    chips = [chip for chip in sorted(root.glob("sys/class/hwmon/hwmon*")) if METER.match(_text(chip / "name") or "")]
    for file, cumulative in (("energy1_input", True), ("power1_input", False)):
        paths = [chip / file for chip in chips if _readable(chip / file)]
        if paths:
            return [EnergyCounter(f"hwmon {_chip(path)}", cumulative, _scaled(path, 1e-6)) for path in paths]
    return []


def _sockets(root: Path) -> List[EnergyCounter]:
    """What the kernel's amd_energy driver shows of whole sockets, beside each of their cores."""
    labels = sorted(root.glob("sys/class/hwmon/hwmon*/energy*_label"))
    found = []
    for label in labels:
        path, name = label.with_name(label.name.replace("_label", "_input")), _text(label) or ""
        if _chip(label) == "amd_energy" and name.startswith("Esocket") and _readable(path):
            found.append(EnergyCounter(f"amd_energy {name}", True, _scaled(path, 1e-6)))
    return found


def _rails(root: Path) -> List[EnergyCounter]:
    """INA3221 monitors: volts times amperes of each channel, or the watts that older NVIDIA kernels show."""
    found = []
    for chip in sorted(root.glob("sys/class/hwmon/hwmon*")):
        if _text(chip / "name") != "ina3221":
            continue
        for channel in (1, 2, 3):
            volts, amperes = chip / f"in{channel}_input", chip / f"curr{channel}_input"
            label = _text(chip / f"in{channel}_label")
            if label and label != "NC" and _readable(volts) and _readable(amperes):
                found.append(EnergyCounter(label, False, _product(volts, amperes)))
    for device in sorted(root.glob("sys/bus/i2c/drivers/ina3221x/*/iio:device*")):
        for channel in (0, 1, 2):
            label, path = _text(device / f"rail_name_{channel}"), device / f"in_power{channel}_input"
            if label and _readable(path):
                found.append(EnergyCounter(label, False, _scaled(path, 1e-3)))
    whole = [counter for counter in found if counter.name in INPUT_RAILS]
    return whole[:1] or found


def _scaled(path: Path, unit: float) -> Callable[[], float]:
    return lambda: (_number(path) or 0) * unit


def _product(volts: Path, amperes: Path) -> Callable[[], float]:
    return lambda: (_number(volts) or 0) * (_number(amperes) or 0) * 1e-6  # mV x mA


def _chip(path: Path) -> str:
    return _text(path.parent / "name") or path.parent.name


def _readable(path: Path) -> bool:
    return _number(path) is not None


def _number(path: Path) -> int | None:
    text = _text(path)
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None


def _text(path: Path) -> str | None:
    try:
        with path.open() as file:
            return file.readline().strip()
    except (OSError, UnicodeDecodeError):
        return None
