"""`LatencyTable`: the measured or imported blocks of one space on one device, as CSV with its provenance beside it."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from hwnas.core.errors import InputError
from hwnas.core.files import write_atomic
from hwnas.core.metrics import Measurement
from hwnas.core.net import NetSpec
from hwnas.core.quality import disturbance

COLUMNS = ("key", "median_ms", "p90_ms", "spread", "samples", "disturbed", "within", "p90_within")
LATER_COLUMNS = {"disturbed": "", "within": "0.0", "p90_within": "0.0"}
"""Columns that the first tables did not have, and what stands for them there."""


@dataclass(frozen=True)
class Row:
    """One block; `spread` is the inter-quartile range over the median, `samples` their number.

    It is 0 where a row is estimated, and where it was imported from a file that does not say.

    Nine of ten repetitions fall within median_ms * (1 +- within), and p90_ms * (1 +- p90_within); where too few rows
    were repeated to tell, nine of ten visits of the row's own, and 0 where there were few of these as well.
    """

    median_ms: float
    p90_ms: float
    spread: float
    samples: int
    disturbed: str = ""
    """By what, where the measurement was (`hwnas.core.quality`)."""
    within: float = 0.0
    p90_within: float = 0.0

    @classmethod
    def of(cls, measurement: Measurement, factor: float = 1.0, within: tuple[float, float] = (0.0, 0.0)) -> Row:
        """The summary of all samples of a block, times a factor that takes out the machine's drift."""
        median, p90 = factor * measurement.median, factor * measurement.p90
        samples = len(measurement.samples_ms)
        return cls(median, p90, measurement.spread, samples, disturbance(measurement), *within)


class ImportedFile(BaseModel):
    """One published file, and how many keys it has."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    sha256: str
    keys: int


class Imported(BaseModel):
    """Where a table comes from that was not measured here; the device is what the user said."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    format: str
    """A name of `hwnas.luts.published.FORMATS`."""
    expand: str = ""
    """What `expand` was read as: "channels inside" or "ratio"."""
    files: tuple[ImportedFile, ...]
    statistics: str
    """How medians and p90s follow from what was published."""
    left_out: int = 0
    """Published keys that no row needs."""
    resolutions: tuple[int, ...] = ()
    """Image sizes at which every network of the space is covered."""

    @property
    def names(self) -> str:
        """The files' names, with commas."""
        return ", ".join(file.name for file in self.files)


class Provenance(BaseModel):
    """Where a table comes from; `device` holds the probed facts: CPU, cores, runtime and version, threads, rules."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    schema_version: Literal[1] = 1
    space: str
    device: dict[str, Any]
    precision: str = "float32"
    date: str
    rows: int
    samples: int
    median_spread: float
    disturbed: dict[str, int] = {}
    """How many rows were disturbed, by what (`hwnas.core.quality`)."""
    anchor: str = ""
    """The block that was measured with every group; `anchor_ms` is its median, to which rows are taken, and
    `anchor_drift` the range of its medians over the groups, from the 5th to the 95th percentile, over that."""
    anchor_ms: float = 0.0
    anchor_drift: float = 0.0
    within: float = 0.0
    """That of every row's median; 0 where too few rows were repeated to tell."""
    estimated: int = 0
    """Rows that were not measured, for lack of time, but follow from those that were; they have no samples."""
    seconds: float
    device_seconds: float
    failed: dict[str, str] = {}
    imported: Imported | None = None
    """Set where the rows are another project's, and nothing was measured here."""
    csv_sha256: str = ""

    @classmethod
    def read(cls, path: Path) -> Provenance:
        """Read what `LatencyTable.write` wrote beside a table.

        Raises:
            InputError: there is none, or it is damaged.
        """
        try:
            return cls.model_validate_json(_bytes(path))
        except ValidationError as error:
            raise InputError(f"{path} is damaged: {profile_again(path)}") from error

    @property
    def how(self) -> str:
        """Where the rows come from, in a word: measured, simulated or imported."""
        if self.imported is not None:
            return "imported"
        return "simulated" if self.device.get("kind") == "simulator" else "measured"

    def remedy(self, file: Path | None = None) -> str:
        """What brings the table back; `file` is where it is, if that is known."""
        if self.imported is not None:
            return "run `hwnas import lut` again"
        return (
            f"run `hwnas profile --device {self.device.get('device', 'NAME')}` again"
            if file is None
            else profile_again(file)
        )


@dataclass(frozen=True, eq=False)
class LatencyTable:
    """Rows by `NetSpec.key()`, and where they come from."""

    rows: Mapping[str, Row]
    provenance: Provenance

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    @property
    def device(self) -> str:
        """Name of the device that was measured."""
        return str(self.provenance.device.get("device", "the device"))

    def row(self, net: NetSpec) -> Row:
        """The row of a block.

        Raises:
            InputError: the block was not measured, or was not among what was imported; the message names it.
        """
        key = net.key()
        if key in self.rows:
            return self.rows[key]
        imported = self.provenance.imported
        if imported is not None:
            sizes = ", ".join(map(str, imported.resolutions))
            covers = f" (it covers images of {sizes} pixels)" if sizes else ""
            raise InputError(
                f"the imported latency table of {self.device} has no row {key!r}{covers}: "
                f"import a file that has it beside {imported.names}"
            )
        why = self.provenance.failed.get(key)
        reason = f" (it failed there: {why})" if why else ""
        raise InputError(f"the latency table of {self.device} has no row {key!r}{reason}: {self.provenance.remedy()}")

    def sha256(self) -> str:
        """Hash of the rows as written."""
        return hashlib.sha256(self._csv()).hexdigest()

    def write(self, path: Path) -> None:
        """Write `path` (CSV) and its provenance (same name, .json).

        Killed at any moment, this leaves a whole table or none, never a CSV with another one's provenance: where the
        rows change, the older CSV goes first and the new one comes last.
        """
        content = self._csv()
        provenance = self.provenance.model_copy(update={"csv_sha256": hashlib.sha256(content).hexdigest()})
        with contextlib.suppress(OSError):  # where it cannot go, nothing can be written either, which is told below
            if path.read_bytes() != content:
                path.unlink()
        write_atomic(path.with_suffix(".json"), provenance.model_dump_json(indent=2) + "\n")
        write_atomic(path, content)

    @classmethod
    def read(cls, path: Path) -> LatencyTable:
        """Read what `write` wrote.

        Raises:
            InputError: there is no table, or it is truncated, changed or lacks its provenance.
        """
        content = _bytes(path)
        provenance = Provenance.read(path.with_suffix(".json"))
        if hashlib.sha256(content).hexdigest() != provenance.csv_sha256:
            raise InputError(f"{path} is truncated or was changed: {provenance.remedy(path)}")
        try:
            # Read as text: Python's float() gives every value back exactly, in all versions of pandas.
            frame = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
            for column, value in LATER_COLUMNS.items():
                if column not in frame:
                    frame[column] = value
            values = zip(*(frame[column].tolist() for column in COLUMNS), strict=True)
            rows = {
                str(key): Row(
                    float(median), float(p90), float(spread), int(samples), str(disturbed), float(a), float(b)
                )
                for key, median, p90, spread, samples, disturbed, a, b in values
            }
        except (KeyError, ValueError) as error:
            raise InputError(f"{path} is no latency table: {provenance.remedy(path)}") from error
        return cls(rows, provenance)

    def _csv(self) -> bytes:
        records = [(key, *astuple(row)) for key, row in self.rows.items()]
        frame = pd.DataFrame.from_records(records, columns=list(COLUMNS))
        return frame.to_csv(index=False, lineterminator="\n").encode()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"no latency table {path}: {profile(path)}") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; make it readable") from error


def profile(file: Path) -> str:
    """What makes a file of a table's folder, which lies in the device's: luts/DEVICE/SUPERNET."""
    folder = file.absolute().parent
    return f"run `hwnas profile --device {folder.parent.name} --supernet {folder.name}`"


def profile_again(file: Path) -> str:
    """What makes it anew."""
    return f"{profile(file)} again"
