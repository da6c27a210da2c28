"""A workspace: a folder with ``hwnas.toml``. The only module that spells the names of its folders."""

from __future__ import annotations

import os
import shutil
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hwnas.core.errors import InputError
from hwnas.core.files import sync_folder
from hwnas.core.progress import Progress, silent
from hwnas.core.units import parse_latency_ms, parse_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hwnas.config import Settings
    from hwnas.pipeline.check import CheckReport
    from hwnas.pipeline.fleet import FleetReport
    from hwnas.pipeline.import_arch import ImportedArch
    from hwnas.pipeline.import_lut import ImportReport
    from hwnas.pipeline.import_supernet import ImportedSupernet
    from hwnas.pipeline.profile import ProfileReport
    from hwnas.pipeline.report import DeviceReport
    from hwnas.pipeline.specialized import SpecializeReport

SETTINGS = "hwnas.toml"
DEVICES = "devices"
TABLES = "luts"
SUPERNETS = "ofa_supernet"
EXPORTS = "export"

TEMPLATE = (
    SETTINGS,
    DEVICES,
    f"{TABLES}/README.md",
    f"{SUPERNETS}/README.md",
    f"{SUPERNETS}/fashion-mnist",
    f"{EXPORTS}/README.md",
)
"""What `hwnas init` copies; pyproject.toml puts the same list into the wheel."""

_STAGING = ".hwnas-init"
LEFT_OUT = ("checkpoint.safetensors", "events", "lab-*.toml", "*.tmp", "__pycache__")
"""Names that no template carries: what only an unfinished training needs, devices of the laboratory, and what killed
writers leave; pyproject.toml leaves them out of the wheel and .gitignore out of the repository."""


class Workspace:
    """A folder that holds settings, devices, tables, supernets and exports.

    Raises:
        InputError: the folder is no workspace, or its settings are wrong.
    """

    def __init__(self, path: str | Path = ".") -> None:
        self.path = Path(path)
        if not (self.path / SETTINGS).is_file():
            raise InputError(f"{self.path.resolve()} has no {SETTINGS}: make a workspace there with 'hwnas init DIR'")

    @cached_property
    def settings(self) -> Settings:
        """What ``hwnas.toml`` says, read once."""
        from hwnas import config

        return config.load(self.settings_file)

    @property
    def settings_file(self) -> Path:
        """The TOML file of the settings."""
        return self.path / SETTINGS

    @property
    def devices_folder(self) -> Path:
        """One TOML file a device."""
        return self.path / DEVICES

    @property
    def tables_folder(self) -> Path:
        """Measured tables, a folder a device and supernet."""
        return self.path / TABLES

    @property
    def supernets_folder(self) -> Path:
        """One folder a supernet, trained or imported."""
        return self.path / SUPERNETS

    @property
    def export_folder(self) -> Path:
        """One folder a verified package."""
        return self.path / EXPORTS

    def device_names(self) -> list[str]:
        """The devices that have a file, in alphabetical order."""
        return sorted(file.stem for file in self.devices_folder.glob("*.toml"))

    def supernet_names(self) -> list[str]:
        """The trained and the imported supernets, in alphabetical order."""
        return _subfolders(self.supernets_folder)

    def table_folders(self) -> list[Path]:
        """Every folder of measured tables that is there."""
        return [
            self.tables_folder / device / net
            for device in _subfolders(self.tables_folder)
            for net in _subfolders(self.tables_folder / device)
        ]

    def packages(self) -> list[Path]:
        """Every exported package that is there."""
        return [self.export_folder / name for name in _subfolders(self.export_folder)]

    def device_file(self, name: str) -> Path:
        """The TOML file of a device.

        Raises:
            InputError: there is none.
        """
        return self.devices_folder / f"{_known(name, self.device_names(), self.devices_folder, 'device')}.toml"

    def supernet_folder(self, name: str) -> Path:
        """The folder of a supernet.

        Raises:
            InputError: there is none.
        """
        return self.supernets_folder / _known(name, self.supernet_names(), self.supernets_folder, "supernet")

    def table_folder(self, device: str, supernet: str) -> Path:
        """Where the tables of a device for a supernet's space are, or will be."""
        return self.tables_folder / device / supernet

    def imported_folder(self, device: str, space: str) -> Path:
        """Where a table that was imported for a device is, or will be: named after the space, as no supernet is."""
        return self.tables_folder / device / space.replace("/", "-")

    def profile(
        self,
        device: str | None = None,
        *,
        supernet: str | None = None,
        budget: str | None = None,
        strict: bool = False,
        progress: Progress = silent,
    ) -> ProfileReport:
        """Measure the block table of a supernet's space on a device (defaults: the settings').

        After a `budget` (such as ``20min``) the rest of the table is estimated from what was measured; `strict` keeps
        nothing that was disturbed.
        """
        from hwnas.pipeline.profile import profile_device

        name, seconds = device or self.settings.device, None if budget is None else parse_seconds(budget)
        return profile_device(self, device=name, supernet=supernet, seconds=seconds, strict=strict, progress=progress)

    def profile_fleet(
        self,
        devices: Sequence[str],
        *,
        supernet: str | None = None,
        budget: str | None = None,
        strict: bool = False,
        progress: Progress = silent,
    ) -> FleetReport:
        """Profile several devices side by side, each within the budget; one that fails leaves the others alone."""
        from hwnas.pipeline.fleet import profile_fleet

        seconds = None if budget is None else parse_seconds(budget)
        return profile_fleet(self, devices, seconds, strict, progress, supernet)

    def specialize(
        self,
        latency: str,
        device: str | None = None,
        *,
        supernet: str | None = None,
        arch_only: bool = False,
        data: str | Path | None = None,
        seed: int | None = None,
        energy: bool = False,
        progress: Progress = silent,
    ) -> SpecializeReport:
        """Search, export and measure until a model's p90 on the device is at most `latency` (such as ``2ms``).

        `supernet` defaults to the settings'. With `arch_only` the best architecture by its predicted accuracy is
        measured with random weights: neither weights nor images are needed, and there is no package. `data` is the
        folder of images for an imported supernet (docs/published-supernets.md). With `energy`, what a run of it takes
        is read from the device's own meters as well.

        Raises:
            InfeasibleError: no subnet is fast enough; says what is reachable.
        """
        latency_ms = parse_latency_ms(latency)  # before the imports, so that a wrong unit is told at once
        from hwnas.pipeline.specialize import specialize

        return specialize(
            self,
            latency_ms=latency_ms,
            device=device or self.settings.device,
            seed=self.settings.search.seed if seed is None else seed,
            supernet=supernet,
            arch_only=arch_only,
            data=None if data is None else Path(data),
            with_energy=energy,
            progress=progress,
        )

    def import_lut(
        self,
        files: str | Path | Sequence[str | Path],
        device: str,
        *,
        format: str | None = None,
        space: str | None = None,
        resolution: int | None = None,
    ) -> ImportReport:
        """Import latency tables that other projects published for a device, as one table; nothing is measured.

        `format` (``ofa``, ``proxyless``, ``nsganetv2`` or ``fbnet``) and `space` are told from the files where they can
        be; `resolution` keeps the blocks of one image size, and FBNet needs it.
        """
        from hwnas.pipeline.import_lut import import_lut

        paths = [Path(file) for file in ([files] if isinstance(files, str | Path) else files)]
        return import_lut(self, paths, device=device, format=format, space=space, resolution=resolution)

    def import_arch(
        self, file: str | Path, *, supernet: str | None = None, resolution: int | None = None
    ) -> ImportedArch:
        """Find the network of a published ``net.config`` in a supernet's space, or else in the released spaces.

        `resolution` of the images defaults to that of a ``run.config`` beside the file, else to 224.
        """
        from hwnas.pipeline.import_arch import import_arch
        from hwnas.pipeline.supernets import open_supernet

        space = None if supernet is None else open_supernet(self, supernet).space
        return import_arch(Path(file), resolution=resolution, space=space)

    def import_predictor(
        self, file: str | Path, *, supernet: str | None = None, resolution: int | None = None
    ) -> ImportedSupernet:
        """Import a published accuracy predictor into the folder of its supernet, which it may make.

        `supernet` defaults to the first released one that the predictor is for, `resolution` of a new one to 224.
        """
        from hwnas.pipeline.import_supernet import import_predictor

        return import_predictor(self, Path(file), supernet=supernet, resolution=resolution)

    def import_supernet(
        self, file: str | Path, *, name: str | None = None, resolution: int | None = None
    ) -> ImportedSupernet:
        """Import the weights of a published supernet, from its checkpoint, into the folder `name`, which it may make.

        `name` defaults to that of the released supernet, `resolution` of a new one to 224.
        """
        from hwnas.pipeline.import_supernet import import_supernet

        return import_supernet(self, Path(file), name=name, resolution=resolution)

    def report(
        self, device: str | None = None, *, supernet: str | None = None, progress: Progress = silent
    ) -> DeviceReport:
        """Score every latency model on what was measured of a device; nothing is measured."""
        from hwnas.pipeline.report import device_report

        return device_report(self, device=device or self.settings.device, supernet=supernet, progress=progress)

    def check(self) -> CheckReport:
        """Check every file of the workspace, offline.

        Settings, devices, tables, latency models, journals of measurements, supernets and packages.
        """
        from hwnas.pipeline.check import check

        return check(self)

    @classmethod
    def init(cls, path: str | Path) -> Workspace:
        """Make a workspace from the template; `path` is new or an empty folder.

        ``hwnas.toml`` comes last, so that an interrupted copy is no workspace, and the same call goes on with it.

        Raises:
            InputError: the folder holds something, or cannot be written.
        """
        target, root = Path(path), template_root()
        staging = target / _STAGING
        if target.exists() and not target.is_dir():
            raise InputError(f"{target} is a file: name a new folder")
        if target.is_dir() and any(target.iterdir()) and not staging.exists():
            raise InputError(f"{target} is not empty: name a new or an empty folder")
        try:
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir(parents=True)
            for name in TEMPLATE:
                _copy(root / name, staging / name)
            for name in sorted({name.split("/")[0] for name in TEMPLATE}, key=lambda name: name == SETTINGS):
                _move(staging / name, target / name)
            staging.rmdir()
            sync_folder(target)
        except OSError as error:
            raise InputError(
                f"cannot write {error.filename or target}: {error.strerror}; name a folder that can be written"
            ) from error
        return cls(target)


def template_root() -> Path:
    """The template inside an installed wheel; the repository's root where hwnas is installed editable.

    Raises:
        InputError: a part of it is missing.
    """
    package = Path(__file__).parent
    root = package / "_template"
    if not root.is_dir():
        root = package.parent
    missing = [name for name in TEMPLATE if not (root / name).exists()]
    if missing:
        raise InputError(f"this installation of hwnas lacks {missing[0]} of the workspace template: install it again")
    return root


def _subfolders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _known(name: str, names: list[str], folder: Path, kind: str) -> str:
    if name not in names:
        raise InputError(f"no {kind} is called {name!r} in {folder}: choose one of {', '.join(names) or '(none yet)'}")
    return name


def _copy(source: Path, target: Path) -> None:
    """Names and contents, no modes: a template in a read-only site-packages must not make read-only workspaces."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not source.is_dir():
        _copy_file(source, target)
        return
    target.mkdir()
    for entry in sorted(source.iterdir()):
        if not any(entry.match(pattern) for pattern in LEFT_OUT):
            _copy(entry, target / entry.name)


def _copy_file(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("wb") as write:
        shutil.copyfileobj(read, write)
        write.flush()
        os.fsync(write.fileno())


def _move(source: Path, target: Path) -> None:
    if target.is_dir():  # left by an interrupted init
        shutil.rmtree(target)
    source.rename(target)
