"""`import lut`: tables that other projects published, beside the measured ones and never over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwnas import spaces
from hwnas.core.errors import InputError
from hwnas.latency.lut import TableSum
from hwnas.luts.build import JOURNAL, TABLE
from hwnas.luts.published import import_table
from hwnas.luts.table import Imported, LatencyTable, Provenance

if TYPE_CHECKING:
    from hwnas.workspace import Workspace


@dataclass(frozen=True, eq=False)
class ImportReport:
    """What was imported, and where to."""

    table: LatencyTable
    path: Path

    @property
    def imported(self) -> Imported:
        """Where the rows come from."""
        found = self.table.provenance.imported
        assert found is not None
        return found

    def reachable_ms(self) -> tuple[float, float] | None:
        """Least and greatest sum of a network of the space whose rows are all there; None where it has no space."""
        space = self.table.provenance.space
        return TableSum(spaces.load(space), self.table).reachable() if space in spaces.known() else None

    def to_json(self) -> dict[str, Any]:
        """The document of `hwnas import lut --json`."""
        imported, reachable = self.imported, self.reachable_ms()
        return {
            "schema": 1,
            "device": self.table.device,
            "table": str(self.path),
            "space": self.table.provenance.space,
            "format": imported.format,
            "files": [file.model_dump() for file in imported.files],
            "rows": len(self.table),
            "left_out": imported.left_out,
            "resolutions": list(imported.resolutions),
            "latency_ms": None if reachable is None else list(reachable),
            "statistics": imported.statistics,
        }


def import_lut(
    workspace: Workspace,
    files: Sequence[Path],
    *,
    device: str,
    format: str | None = None,
    space: str | None = None,
    resolution: int | None = None,
) -> ImportReport:
    """Import published files as one table of a device; a table that this would not change stays as it is.

    Raises:
        InputError: a file cannot be used, or the import would take away what was measured or imported before.
    """
    table = import_table(files, device, format=format, space=space, resolution=resolution)
    path = workspace.imported_folder(device, table.provenance.space) / TABLE
    kept = _kept(path)
    if kept is not None:
        _refuse_loss(kept, table, path)
    if kept is None or kept.rows != table.rows or kept.provenance.imported != table.provenance.imported:
        table.write(path)
    return ImportReport(LatencyTable.read(path), path)


def _kept(path: Path) -> LatencyTable | None:
    """The table that was imported before; None where there is none, or a damaged one, which is written anew.

    Raises:
        InputError: what is there was measured, or does not say where it comes from.
    """
    elsewhere = f"name the import another --device, or move {path.parent} away"
    if (path.parent / JOURNAL).exists():
        raise InputError(f"{path.parent} holds measurements, which an import never touches: {elsewhere}")
    if not path.exists() and not path.with_suffix(".json").exists():
        return None
    try:
        provenance = Provenance.read(path.with_suffix(".json"))
    except InputError as error:
        raise InputError(f"{path} does not say where it comes from: {elsewhere}") from error
    if provenance.imported is None:
        raise InputError(f"{path} was measured, and an import never touches what was: {elsewhere}")
    try:
        return LatencyTable.read(path)
    except InputError:
        return None


def _refuse_loss(kept: LatencyTable, table: LatencyTable, path: Path) -> None:
    lost = len(kept.rows.keys() - table.rows.keys())
    if lost and kept.provenance.imported is not None:
        raise InputError(
            f"{path} has {lost} rows that this import lacks, from {kept.provenance.imported.names}: "
            f"name these files as well, or remove {path.parent}"
        )
