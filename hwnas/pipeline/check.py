"""`check`: is every file of a workspace whole? Offline, and nothing is changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwnas.core.errors import InputError

if TYPE_CHECKING:
    from hwnas.workspace import Workspace

HASHES = "hashes.json"
"""In a supernet's folder: file name -> sha256."""


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
    """Check settings, devices, tables, supernets and packages; what is wrong is reported, not raised."""
    return CheckReport(tuple(_items(workspace)))


def _items(workspace: Workspace) -> Iterator[Item]:
    yield _item("settings", workspace.settings_file, partial(_settings, workspace))
    for name in workspace.device_names():
        file = workspace.device_file(name)
        yield _item("device", file, partial(_device, file))
    for folder in workspace.table_folders():
        for file in sorted(folder.glob("*.csv")):
            yield _item("table", file, partial(_table, file))
    for name in workspace.supernet_names():
        folder = workspace.supernet_folder(name)
        yield _item("supernet", folder, partial(_supernet, folder))
    for folder in workspace.packages():
        yield _item("package", folder, partial(_package, folder))


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

    profile = load_profile(file)
    if profile.name != file.stem:
        raise InputError(f"{file} describes {profile.name!r}: give file and device one name")
    return f"{profile.kind}, {profile.threads} thread{'s' * (profile.threads != 1)}"


def _table(file: Path) -> str:
    from hwnas.luts.table import LatencyTable

    table = LatencyTable.read(file)
    if len(table) != table.provenance.rows:
        raise InputError(f"{file} has {len(table)} rows, its provenance {table.provenance.rows}: run 'hwnas profile'")
    return f"{len(table)} rows in ms, measured {table.provenance.date}"


def _supernet(folder: Path) -> str:
    """Every file that `hashes.json` lists is there and unchanged."""
    listing = folder / HASHES
    try:
        hashes = json.loads(listing.read_text())
        pairs = [(str(name), str(digest)) for name, digest in hashes.items()]
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(
            f"{listing} cannot be read as file name -> sha256: train or copy the supernet again"
        ) from error
    for name, digest in pairs:
        path = folder / name
        if not path.is_file():
            raise InputError(f"{path} is missing: train or copy the supernet again")
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise InputError(f"{path} is not what {HASHES} says: train or copy the supernet again")
    return f"{len(pairs)} files, hashes agree"


def _package(folder: Path) -> str:
    from hwnas.export.package import check_hashes, read_manifest

    check_hashes(folder)
    return f"{len(read_manifest(folder)['files'])} files, hashes agree"
