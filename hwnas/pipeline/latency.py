"""The latency model of a device for a space: kept in the workspace, measured where there is none that fits."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwnas.core.arch import Arch, ArchBatch
from hwnas.core.errors import DeviceError, InputError
from hwnas.core.files import read_lines
from hwnas.core.genetics import sample, unique
from hwnas.core.metrics import Measurement, Timed, with_shared_tail
from hwnas.core.progress import Progress
from hwnas.core.protocols import SearchSpace
from hwnas.core.quality import REMEDIES, disturbance
from hwnas.devices.campaign import campaign
from hwnas.devices.facts import identity
from hwnas.devices.profile import DeviceProfile
from hwnas.latency.in_use import LatencyInUse, load_latency
from hwnas.latency.lut import CorrectedTable, TableSum
from hwnas.latency.model_file import remove_weights
from hwnas.latency.selection import Networks, ReportCard, Selection
from hwnas.luts import LatencyTable, build_table
from hwnas.luts.build import TABLE
from hwnas.pipeline.names import network_name, parse_network_name
from hwnas.pipeline.opening import AnyDevice, form_for, open_device

MODEL = "latency_model.json"
NETWORKS_JOURNAL = "networks.jsonl"
"""Whole networks, measured to fit and choose latency models; by the name of their genes."""
FINALISTS_JOURNAL = "finalists.jsonl"
"""Networks that searches proposed, measured longer."""
FITTING = threading.Lock()
"""Devices that are measured side by side are fitted and drawn one after the other: torch has one number of threads."""
LEAST_NETWORKS = 8
"""Measured however short the time: twice the weights that correct a table."""
BLOCKS_SHARE = 0.7
"""Of the time, where it is limited; the rest is for whole networks, which take as long one by one as sixteen blocks."""
POOL = 2000
"""Random subnets from which the measured ones are taken, evenly over the table's range."""


@dataclass(frozen=True, eq=False)
class Profiled:
    """A device's latency model, and how it was come by; there is none where a block does not run on the device."""

    model: LatencyInUse | None
    table: LatencyTable
    card: ReportCard | None
    device_seconds: float
    seconds: float
    disturbed_networks: dict[str, int] = field(default_factory=dict)
    """How many whole networks were disturbed, by what (`hwnas.core.quality`)."""


def kept_model(folder: Path, space: SearchSpace, facts: dict[str, object]) -> LatencyInUse | None:
    """The model in a table's folder, if there is one and it is of the device as it is now.

    Raises:
        InputError: a file is there but damaged.
    """
    if not (folder / MODEL).exists() or not (folder / TABLE).exists():
        return None
    table = LatencyTable.read(folder / TABLE)
    if identity(table.provenance.device) != identity(facts):
        return None
    return load_latency(space, table, folder / MODEL)


@dataclass(frozen=True, eq=False)
class TimedNetworks:
    """N whole networks, their measurements, and which were taken just now; the others were in the journal."""

    archs: ArchBatch
    measurements: list[Measurement]
    fresh: NDArray[np.bool_]
    device_seconds: float

    def timings(self) -> list[Timed]:
        """N medians and p90s; those taken just now, side by side, by their shared tail."""
        shared = iter(with_shared_tail([m for m, new in zip(self.measurements, self.fresh, strict=True) if new]))
        return [next(shared) if new else m for m, new in zip(self.measurements, self.fresh, strict=True)]


def measure_networks(
    device: AnyDevice,
    space: SearchSpace,
    archs: ArchBatch,
    journal: Path,
    progress: Progress,
    enough: Callable[[int], bool] | None = None,
) -> TimedNetworks:
    """Time whole networks by the device's rules, or as many as are `enough`; none in `journal` is measured twice.

    Raises:
        DeviceError: a network does not run on the device.
    """
    nets = {network_name(arch): space.lower(arch) for arch in archs}
    models = [(name, partial(form_for(device), net)) for name, net in nets.items()]
    result = campaign(device, models, journal, partial(progress, "networks"), enough)
    for name, why in result.failed.items():
        if name in nets:
            raise DeviceError(f"{name} does not run on {device.name}: {why}")
    done = np.array([name in result.measurements for name in nets], dtype=np.bool_)
    names = [name for name in nets if name in result.measurements]
    fresh = np.array([name in result.fresh for name in names], dtype=np.bool_)
    measurements = [result.measurements[name] for name in names]
    return TimedNetworks(archs.take(done), measurements, fresh, result.device_seconds)


def profile_space(
    profile: DeviceProfile,
    space: SearchSpace,
    folder: Path,
    subnets: int,
    progress: Progress,
    known: Sequence[LatencyTable] = (),
    seconds: float | None = None,
    strict: bool = False,
) -> Profiled:
    """Measure the block table of `space` and `subnets` whole networks, fit the latency models, write all to `folder`.

    The model that did best on networks set apart for choosing is kept; `known` are tables of other devices. Killed and
    called again, it goes on where it was. After about `seconds` it makes do with what it has. `strict` keeps no
    measurement that was disturbed.
    """
    started = time.monotonic()

    def enough(measured: int) -> bool:
        return measured >= LEAST_NETWORKS and time.monotonic() - started >= (seconds or 0.0)

    with open_device(profile, strict=strict) as device:
        _forget_another_device(folder, device.facts())
        report = partial(progress, "blocks")
        for_blocks = None if seconds is None else BLOCKS_SHARE * seconds
        table = build_table(space, device, form_for(device), folder, report, campaign=campaign, seconds=for_blocks)
        if table.provenance.failed:
            busy = table.provenance.device_seconds
            return Profiled(None, table, None, busy, round(time.monotonic() - started, 3))
        archs = spread_out(space, TableSum(space, table), subnets)
        if seconds is not None:  # whatever there is time for should span the range
            archs = archs.take(np.array([0, 1, *(2 + place for place in _bisecting(len(archs) - 2))]))
        rules, journal = device.with_rules(profile.networks), folder / NETWORKS_JOURNAL
        timed = measure_networks(rules, space, archs, journal, progress, None if seconds is None else enough)
    facts = table.provenance.device
    networks = Networks.in_order(space, table, kept_networks(space, journal, facts, strict))
    with FITTING:
        selection = Selection.of(space, table, len(networks), None if profile.simulated else facts, known)
        card = selection.card(networks, progress)
        model = selection.fitted(CorrectedTable.name if card is None else card.used, networks)
        model.save(folder / MODEL)
    busy = round(table.provenance.device_seconds + timed.device_seconds, 3)
    disturbed = dict(Counter(why for one in timed.measurements if (why := disturbance(one))))
    return Profiled(model, table, card, busy, round(time.monotonic() - started, 3), disturbed)


def kept_networks(
    space: SearchSpace, journal: Path, facts: dict[str, object], strict: bool = False
) -> dict[Arch, Measurement]:
    """The whole networks of a journal; none where it is of another device than `facts` are of.

    Those of other spaces are left out; where `strict`, those that were disturbed too. What was measured again counts as
    it was measured last.
    """
    lines = [line for line in read_lines(journal) if isinstance(line, dict)]
    if not lines or lines[0].get("identity") != identity(facts):
        return {}
    options = [len(choice) for choice in space.choices]
    found: dict[Arch, Measurement] = {}
    for line in lines:
        arch = parse_network_name(str(line.get("name")))
        measurement = Measurement.from_record(line) if line.get("kind") == "measured" else None
        if measurement is None or arch is None or arch.space_id != space.id or len(arch.genes) != len(options):
            continue
        if any(gene >= count for gene, count in zip(arch.genes, options, strict=True)):
            continue
        if not (strict and disturbance(measurement) in REMEDIES):
            found[arch] = measurement
    return found


def _forget_another_device(folder: Path, facts: dict[str, object]) -> None:
    """Remove a model of another device before a table of this one comes: no kill leaves the two side by side."""
    path = folder / MODEL
    if not path.exists():
        return
    try:
        same = identity(LatencyTable.read(folder / TABLE).provenance.device) == identity(facts)
    except InputError:
        same = False
    try:
        if not same:
            path.unlink()
            remove_weights(path)
    except OSError as error:
        raise InputError(f"cannot remove {path}: {error.strerror}; make its folder writable") from error


def spread_out(space: SearchSpace, table_sum: TableSum, count: int) -> ArchBatch:
    """Distinct subnets, evenly spread over the ranks of random ones by table sum, the ends of the range first."""
    rng = np.random.default_rng(0)
    pool = unique(sample(space, POOL, rng))
    order = np.argsort(table_sum.median(pool))
    ranks = order[np.linspace(0, len(order) - 1, count - 2).astype(np.intp)]
    ends = ArchBatch.of([table_sum.median.least(), table_sum.median.greatest()])
    return unique(ArchBatch(space.id, np.concatenate([ends.genes, pool.take(ranks).genes])))


def _bisecting(count: int) -> list[int]:
    """0 to count - 1, so ordered that however many are taken lie evenly: by mirrored bits (van der Corput, 1935)."""
    bits = count.bit_length()
    return sorted(range(count), key=lambda place: int(f"{place:0{bits}b}"[::-1], 2))


def refuse_damaged(folder: Path) -> None:
    """Raise InputError where a table is there but truncated; a missing one is made from the journal."""
    if (folder / TABLE).exists():
        LatencyTable.read(folder / TABLE)
