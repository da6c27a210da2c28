"""Progress of long work on stderr: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

import click

from hwnas.core.progress import Progress

LINE_EVERY_S = 10.0
"""Without a terminal, at most one line a stage in this time."""


@contextlib.contextmanager
def progress() -> Iterator[Progress]:
    """A callable for pipelines: `report(stage, done, total)`; stages may come in any order and come back."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        tasks = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield report


def _lines() -> Progress:
    printed: dict[str, float] = {}

    def report(stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage not in printed or done >= total or now - printed[stage] >= LINE_EVERY_S:
            printed[stage] = now
            click.echo(f"{stage}: {done}/{total}", err=True)

    return report
