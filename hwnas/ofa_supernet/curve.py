"""What each epoch showed, as CSV and as TensorBoard events."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwnas.core.files import write_atomic

CURVE = "curve.csv"
EVENTS = "events"
"""A folder, which `tensorboard --logdir` shows."""

Row = dict[str, Any]
"""`stage`, `epoch` (of the stage, from 1), `loss`, held-out accuracies by subnet, `seconds`, `hardware`."""


def write_csv(folder: Path, curve: Sequence[Row]) -> None:
    """Write the whole curve atomically."""
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in curve for name in row))
    writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(curve)
    write_atomic(folder / CURVE, text.getvalue())


class Events:
    """Writes a row at a time; what another process wrote before is replaced by the whole curve so far."""

    def __init__(self, folder: Path, curve: Sequence[Row]) -> None:
        from tensorboardX import SummaryWriter

        shutil.rmtree(folder / EVENTS, ignore_errors=True)
        self._writer = SummaryWriter(str(folder / EVENTS))
        self._epochs = 0
        for row in curve:
            self.add(row)

    def add(self, row: Row) -> None:
        """One epoch; its number counts on through all stages."""
        self._epochs += 1
        for name, value in row.items():
            if isinstance(value, float):
                self._writer.add_scalar(name, value, self._epochs)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
