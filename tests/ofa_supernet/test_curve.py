"""Curves as CSV and as TensorBoard events."""

from __future__ import annotations

import csv
import struct
from pathlib import Path
from typing import Any

import pytest
from tensorboardX.proto.event_pb2 import Event

from hwnas.ofa_supernet.curve import CURVE, EVENTS, Events, write_csv


def row(epoch: int, loss: float) -> dict[str, Any]:
    return {"stage": "s", "epoch": epoch, "loss": loss, "smallest": loss / 2, "seconds": 1.5}


def scalars(folder: Path) -> list[tuple[int, str, float]]:
    """Every scalar of every event file, which are TensorFlow records: length, checksum, bytes, checksum."""
    found = []
    for path in sorted((folder / EVENTS).iterdir()):
        content = path.read_bytes()
        while content:
            (size,) = struct.unpack("<Q", content[:8])
            event = Event.FromString(content[12 : 12 + size])
            found += [(event.step, value.tag, round(value.simple_value, 5)) for value in event.summary.value]
            content = content[16 + size :]
    return found


def test_events_hold_each_epoch_once(tmp_path: Path) -> None:
    first = Events(tmp_path, [])
    first.add(row(1, 2.0))
    first.close()
    second = Events(tmp_path, [row(1, 2.0), row(2, 1.0)])
    second.add(row(1, 0.5))
    second.close()
    assert [found for found in scalars(tmp_path) if found[1] == "loss"] == [
        (1, "loss", 2.0),
        (2, "loss", 1.0),
        (3, "loss", 0.5),
    ]
    assert (2, "smallest", 0.5) in scalars(tmp_path)


@pytest.mark.parametrize("count", [0, 3])
def test_csv_reads_back(tmp_path: Path, count: int) -> None:
    curve = [row(epoch, 1 / (epoch + 3)) for epoch in range(count)]
    write_csv(tmp_path, curve)
    with (tmp_path / CURVE).open(newline="") as file:
        assert [float(line["loss"]) for line in csv.DictReader(file)] == [line["loss"] for line in curve]
