"""`build_table`: measure every distinct block of a space on a device."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hwnas.core.additive import distinct_blocks
from hwnas.core.count import macs
from hwnas.core.errors import InputError
from hwnas.core.metrics import Measurement
from hwnas.core.net import NetSpec
from hwnas.core.protocols import Device, Form, SearchSpace
from hwnas.luts.drift import Drift
from hwnas.luts.informative import LEAST_ROWS, estimated_rows, informative_order
from hwnas.luts.table import LatencyTable, Provenance, Row

TABLE = "table.csv"
JOURNAL = "samples.jsonl"
"""In the table's folder: the table, its provenance (table.json), and every sample behind it."""


class Measured(Protocol):
    """What a finished campaign has."""

    @property
    def measurements(self) -> Mapping[str, Measurement]: ...
    @property
    def failed(self) -> Mapping[str, str]: ...
    @property
    def device_seconds(self) -> float: ...
    @property
    def fresh(self) -> Collection[str]: ...
    @property
    def repeats(self) -> Sequence[tuple[str, Measurement]]: ...


class RunCampaign(Protocol):
    """`hwnas.devices.campaign.campaign`, or a fake of it."""

    def __call__(
        self,
        device: Device,
        models: Sequence[tuple[str, Callable[[], Form]]],
        journal: Path,
        progress: Callable[[int, int], None] | None = None,
        enough: Callable[[int], bool] | None = None,
        anchor: Callable[[], Form] | None = None,
    ) -> Measured: ...


def build_table(
    space: SearchSpace,
    device: Device,
    build: Callable[[NetSpec], Form],
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
    *,
    campaign: RunCampaign,
    seconds: float | None = None,
) -> LatencyTable:
    """Measure the space's blocks through a journal in `folder`, and write the table there.

    Killed and called again, it goes on where it was; called on a finished journal, it measures nothing. Blocks that
    failed are named in the provenance and have no row. A table that this would not change stays as it is, its date
    included. `progress` is called with (blocks done, blocks in all).

    After `seconds` no further block is measured, as long as there are enough to estimate the others from; the most
    informative come first. Estimated rows have no samples, and a later call measures them.
    """
    started = time.monotonic()
    blocks = distinct_blocks(space)
    order: Sequence[str] = list(blocks) if seconds is None else informative_order(space)
    models = [(key, _builder(build, blocks[key])) for key in order]

    def enough(measured: int) -> bool:
        return measured >= LEAST_ROWS and time.monotonic() - started >= (seconds or 0.0)

    anchor = anchor_block(blocks)
    build_anchor = cache(_builder(build, blocks[anchor]))
    result = campaign(device, models, folder / JOURNAL, progress, None if seconds is None else enough, build_anchor)
    drift = Drift.of(result.measurements, result.repeats)
    measured = {key: drift.row(one) for key, one in result.measurements.items()}
    wanted = {key: net for key, net in blocks.items() if key not in result.failed}
    rows = measured | (estimated_rows(wanted, measured) if seconds is not None else {})
    rows = {key: rows[key] for key in blocks if key in rows}
    kept = _kept(folder / TABLE)
    if kept is not None and kept.rows == rows and not (result.fresh or result.failed):
        return kept
    provenance = Provenance(
        space=space.id,
        anchor=anchor,
        seconds=round(time.monotonic() - started, 3),
        **_summary(device.facts(), rows, drift, result),
    )
    LatencyTable(rows, provenance).write(folder / TABLE)
    return LatencyTable.read(folder / TABLE)


def _summary(facts: dict[str, Any], rows: Mapping[str, Row], drift: Drift, result: Measured) -> dict[str, Any]:
    """What a table's provenance says of its rows and of the campaign behind them."""
    return {
        "device": facts,
        "precision": str(facts.get("precision", "float32")),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "rows": len(rows),
        "samples": sum(row.samples for row in rows.values()),
        "median_spread": float(np.median([row.spread for row in rows.values()])) if rows else 0.0,
        "anchor_ms": drift.level_ms,
        "anchor_drift": drift.extent,
        "within": drift.within[0],
        "disturbed": dict(Counter(row.disturbed for row in rows.values() if row.disturbed)),
        "estimated": sum(not row.samples for row in rows.values()),
        "device_seconds": round(result.device_seconds, 3),
        "failed": dict(result.failed),
    }


def anchor_block(blocks: Mapping[str, NetSpec]) -> str:
    """The block that is measured with every group: the middle one by multiply-accumulates."""
    order = sorted(blocks, key=lambda key: (macs(blocks[key]), key))
    return order[len(order) // 2]


def _kept(path: Path) -> LatencyTable | None:
    try:
        return LatencyTable.read(path)
    except InputError:  # missing or damaged: it is written again
        return None


def _builder(build: Callable[[NetSpec], Form], net: NetSpec) -> Callable[[], Form]:
    return lambda: build(net)
