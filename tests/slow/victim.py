"""`hwnas` in a process of its own that is killed: forked from a warm server, so that torch is imported once."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
from multiprocessing.synchronize import Event
from pathlib import Path

from tiny_training import register

from hwnas.cli import run

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        "hwnas.pipeline.train",
        "hwnas.pipeline.profile",
        "hwnas.pipeline.specialize",
        "hwnas.pipeline.check",
        "scipy.stats",
        "sklearn.gaussian_process",
        "sklearn.neural_network",
    ]
)


def hwnas(arguments: list[str], scratch: Path, kill_after_s: float | None = None) -> int | None:
    """Run a command line; its exit code, or None where it was killed, its whole process group with it."""
    started = PROCESSES.Event()
    process = PROCESSES.Process(target=_hwnas, args=(arguments, str(scratch), started))
    process.start()
    if not started.wait(120):
        raise TimeoutError((scratch / "log").read_text())
    process.join(kill_after_s)
    if process.exitcode is not None:
        return process.exitcode
    assert process.pid is not None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.join()
    return 0 if process.exitcode == 0 else None


def _hwnas(arguments: list[str], scratch: str, started: Event) -> None:
    os.setsid()
    tempfile.tempdir = scratch
    log = os.open(Path(scratch) / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    register()
    started.set()
    sys.exit(run(arguments))
