"""`import_table`: published files to a latency table of ours."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from hwnas.core.errors import InputError
from hwnas.luts.published import fbnet, proxyless
from hwnas.luts.published.files import PublishedFile, read
from hwnas.luts.published.formats import Format, named, told
from hwnas.luts.published.match import match
from hwnas.luts.published.once_for_all import DIALECTS
from hwnas.luts.published.timing import TAIL, Timing, pooled
from hwnas.luts.table import Imported, ImportedFile, LatencyTable, Provenance
from hwnas.spaces.ofa_mbv3 import LAYOUTS

_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""As in device files, for it names a folder."""


@dataclass(frozen=True, eq=False)
class _Blocks:
    """What was found: times by our blocks' keys, of which space, and from which published keys."""

    space: str
    timings: Mapping[str, Timing]
    used: Iterable[str]
    resolutions: tuple[int, ...] = ()


def import_table(
    files: Sequence[Path],
    device: str,
    *,
    format: str | None = None,
    space: str | None = None,
    resolution: int | None = None,
) -> LatencyTable:
    """Make a table of files that one project published for one device; a key that more than one has is pooled.

    `format` (a name of `FORMATS`) and `space` (an id) are told from the files where they are not given. With
    `resolution` only the blocks of networks at this image size are kept; a table of FBNet needs it.

    Raises:
        InputError: a file is missing, damaged, or of a format that cannot be told; or no network is whole.
    """
    if not _DEVICE.fullmatch(device):
        raise InputError(f"{device!r} is no name of a device: use letters, digits, '.', '_' and '-'")
    read_files = [read(path) for path in files]
    source = ", ".join(file.name for file in read_files)
    published = _pooled(pair for file in read_files for pair in file.timings.items())
    found = named(format, published, source) if format else told(published, source)
    if found.name in DIALECTS:
        blocks = _of_a_space(found, published, space, resolution, source)
    elif space is not None:
        raise InputError(f"{source} is a table of {found.name}, whose blocks are of no space here: leave out --space")
    else:
        blocks = _own_blocks(found, published, resolution)
    return _table(device, found, read_files, published, blocks)


def _pooled(times: Iterable[tuple[str, Timing]]) -> dict[str, Timing]:
    found: dict[str, list[Timing]] = defaultdict(list)
    for key, timing in times:
        found[key].append(timing)
    return {key: pooled(timings) for key, timings in found.items()}


def _of_a_space(
    found: Format, published: Mapping[str, Timing], asked: str | None, resolution: int | None, source: str
) -> _Blocks:
    """The blocks of the space asked for, or of the only one that has a network whose every block is there."""
    dialect = DIALECTS[found.name]
    if asked is not None:
        matched = match(asked, dialect, published, resolution)
        if matched.gap is not None:
            what = asked if resolution is None else f"{asked} at {resolution} pixels"
            raise InputError(f"no network of {what} is whole in {source}: the nearest lacks {matched.gap}")
    else:
        names = [name for name in LAYOUTS if resolution is None or resolution in LAYOUTS[name].resolutions]
        fitting = [one for name in names if (one := match(name, dialect, published, resolution)).gap is None]
        if not fitting:
            raise InputError(
                f"no network of {', '.join(LAYOUTS)} is whole in {source}: say which it is for with --space"
            )
        if len(fitting) > 1:
            several = " and ".join(one.space for one in fitting)
            raise InputError(f"{source} has networks of {several}: say which to import with --space")
        matched = fitting[0]
    return _Blocks(matched.space, matched.timings, matched.used, matched.resolutions)


def _own_blocks(found: Format, published: Mapping[str, Timing], resolution: int | None) -> _Blocks:
    """Of formats whose keys are blocks themselves; blocks that are the same in several layers are pooled."""
    if found.name == "fbnet":
        blocks, space = fbnet.blocks(resolution), "fbnet"
        odd = next((key for key in published if key not in blocks), None)
        if odd is not None:
            raise InputError(f"{odd} of a table of FBNet skips a layer that changes the shape: mend the table")
    else:
        if resolution is not None:
            raise InputError("the keys of a table of ProxylessNAS say how large images are: leave out --resolution")
        blocks, space = {key: proxyless.block(key) for key in published}, "proxylessnas"
    timings = _pooled((blocks[key].key(), timing) for key, timing in published.items())
    return _Blocks(space, timings, published)


def _table(
    device: str,
    found: Format,
    files: Sequence[PublishedFile],
    published: Mapping[str, Timing],
    blocks: _Blocks,
) -> LatencyTable:
    rows = {key: timing.row() for key, timing in blocks.timings.items()}
    imported = Imported(
        format=found.name,
        expand=found.expand,
        files=tuple(ImportedFile(name=file.name, sha256=file.sha256, keys=len(file.timings)) for file in files),
        statistics=_statistics(list(blocks.timings.values())),
        left_out=len(published.keys() - set(blocks.used)),
        resolutions=blocks.resolutions,
    )
    provenance = Provenance(
        space=blocks.space,
        device={"device": device, "known_from": "the user"},
        precision="not published",
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        rows=len(rows),
        samples=sum(row.samples for row in rows.values()),
        median_spread=float(np.median([row.spread for row in rows.values()])),
        seconds=0.0,
        device_seconds=0.0,
        imported=imported,
    )
    return LatencyTable(rows, provenance)


def _statistics(timings: Sequence[Timing]) -> str:
    """How medians and p90s follow from what was published."""
    bare = sum(timing.std_ms is None for timing in timings)
    text = "medians are published means"
    if bare < len(timings):
        text += (
            f"; p90s are {TAIL:.4f} standard deviations above them, and spreads are likewise of a normal distribution"
        )
    if bare:
        text += f"; {bare} rows have no published deviation, and so neither tail nor spread"
    return text
