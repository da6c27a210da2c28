"""`check`: is every file of a workspace whole? Offline, and nothing is changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwnas.core.errors import InputError
from hwnas.core.files import read_lines, sha256

if TYPE_CHECKING:
    from hwnas.workspace import Workspace


@dataclass(frozen=True)
class Item:
    """One checked thing; `detail` says what is wrong with it, or what it is."""

    kind: str
    path: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class CheckReport:
    """Everything that was checked."""

    items: tuple[Item, ...]

    @property
    def holds(self) -> bool:
        """Nothing is broken."""
        return all(item.ok for item in self.items)

    def to_json(self) -> dict[str, Any]:
        """The document of `hwnas check --json`."""
        return {"schema": 1, "holds": self.holds, "items": [asdict(item) for item in self.items]}


def check(workspace: Workspace) -> CheckReport:
    """Check every file of a workspace; what is wrong is reported, not raised."""
    return CheckReport(tuple(_items(workspace)))


def _items(workspace: Workspace) -> Iterator[Item]:
    yield _item("settings", workspace.settings_file, partial(_settings, workspace))
    for name in workspace.device_names():
        file = workspace.device_file(name)
        yield _item("device", file, partial(_device, file))
    for folder in workspace.table_folders():
        yield from _measured(workspace, folder)
    for name in workspace.supernet_names():
        folder = workspace.supernet_folder(name)
        yield _item("supernet", folder, partial(_supernet, folder))
    for folder in workspace.packages():
        yield _item("package", folder, partial(_package, folder))


def _measured(workspace: Workspace, folder: Path) -> Iterator[Item]:
    """What `luts/DEVICE/SUPERNET/` holds: table, journals, latency model."""
    from hwnas.pipeline.latency import MODEL

    for file in sorted(folder.glob("*.csv")):
        yield _item("table", file, partial(_table, file))
    for file in sorted(folder.glob("*.jsonl")):
        yield _item("journal", file, partial(_journal, file))
    model = folder / MODEL
    if model.exists():
        yield _item("model", model, partial(_model, workspace, model))


def _item(kind: str, path: Path, look: Callable[[], str]) -> Item:
    try:
        return Item(kind, str(path), True, look())
    except InputError as error:
        return Item(kind, str(path), False, str(error))


def _settings(workspace: Workspace) -> str:
    settings = workspace.settings
    workspace.device_file(settings.device)
    workspace.supernet_folder(settings.supernet)
    return f"device {settings.device}, supernet {settings.supernet}"


def _device(file: Path) -> str:
    from hwnas.devices.profile import load_profile
    from hwnas.pipeline.opening import build_simulator

    profile = load_profile(file)
    if profile.simulator is not None:
        build_simulator(profile.name, profile.simulator)
        return f"{profile.kind}, {profile.simulator.model}"
    return f"{profile.kind}, {profile.threads} thread{'s' * (profile.threads != 1)}"


def _table(file: Path) -> str:
    from hwnas.luts.table import LatencyTable

    table = LatencyTable.read(file)
    if len(table) != table.provenance.rows:
        remedy = table.provenance.remedy(file)
        raise InputError(f"{file} has {len(table)} rows, its provenance {table.provenance.rows}: {remedy}")
    return f"{len(table)} rows in ms, {table.provenance.how} {table.provenance.date}"


def _journal(file: Path) -> str:
    """Lines of JSON; where there is but one, a killed writer may have torn it."""
    whole = len(read_lines(file))
    try:
        lines = [line for line in file.read_text().splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is no text: restore it, or remove it to start it anew") from error
    torn = len(lines) - whole
    if not whole and torn and not (torn == 1 and lines[0].startswith("{")):
        raise InputError(f"{file} has no line of JSON: restore it, or remove it to start it anew")
    return f"{whole} lines" + (f", {torn} torn" if torn else "")


def _model(workspace: Workspace, file: Path) -> str:
    """A latency model of the space of the supernet that its folder is named after, over the table beside it."""
    from hwnas.latency.in_use import load_latency
    from hwnas.luts.build import TABLE
    from hwnas.luts.table import LatencyTable
    from hwnas.pipeline.supernets import stored

    table = file.with_name(TABLE)
    if not table.exists():  # a killed `hwnas profile` was about to write it
        return "not in use: there is no table yet"
    name = file.parent.name
    if name not in workspace.supernet_names():
        raise InputError(f"{file} is of a supernet {name!r} that is not there: restore it, or remove {file.parent}")
    space = stored(workspace.supernet_folder(name)).space
    rows = LatencyTable.read(table)
    model = load_latency(space, rows, file)
    least, most = model.reachable("p90")
    networks = "simulated networks" if rows.provenance.how == "simulated" else "networks"
    return f"{model.name}: p90s from {least:.3g} to {most:.3g} ms, fitted on {len(model.points.median)} {networks}"


def _supernet(folder: Path) -> str:
    """Every file that `hashes.json` lists is there and unchanged, and what the folder needs is listed."""
    from hwnas.ofa_supernet.folder import HASHES
    from hwnas.pipeline.supernets import stored

    listing, found = folder / HASHES, stored(folder)
    try:
        hashes = json.loads(listing.read_text())
        pairs = [(str(name), str(digest)) for name, digest in hashes.items()]
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{listing} cannot be read as file name -> sha256: {found.remedy}") from error
    missing = found.required - set(hashes)
    if missing:
        raise InputError(f"{listing} does not list {', '.join(sorted(missing))}: {found.remedy}")
    for name, digest in pairs:
        path = folder / name
        if not path.is_file():
            raise InputError(f"{path} is missing: {found.remedy}")
        if sha256(path) != digest:
            raise InputError(f"{path} is not what {HASHES} says: {found.remedy}")
    return f"{len(pairs)} files, hashes agree{found.told}"


def _package(folder: Path) -> str:
    from hwnas.export.package import check_hashes, read_manifest

    check_hashes(folder)
    return f"{len(read_manifest(folder)['files'])} files, hashes agree"
