"""Folders that are whole or absent: filled beside their place and renamed into it."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hwnas.core.files import leftovers, sync_folder

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
"""Linux's <fcntl.h> and <linux/fs.h>: swap two paths in one step."""


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """An empty folder to fill, which becomes `target` in one step when the block ends; after an error nothing changed.

    The files in it are for the caller to sync. What killed writers left of other such folders is cleared away.

    Raises:
        OSError: the folder cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _clear_leftovers(target)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.{os.getpid()}.", suffix=".tmp", dir=target.parent))
    try:
        yield fresh
        fresh.chmod(0o755)  # mkdtemp's 0700 would hide it from everybody else
        sync_folder(fresh)
        _put_in_place(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)  # after a swap it is the older folder


def _put_in_place(fresh: Path, target: Path) -> None:
    """Rename, or swap where there is a folder already; where the system cannot swap, the older one is moved aside."""
    if not target.exists():
        fresh.rename(target)
    elif not _exchange(fresh, target):
        aside = fresh.with_name(fresh.name.removesuffix(".tmp") + ".old.tmp")
        target.rename(aside)
        fresh.rename(target)
        shutil.rmtree(aside, ignore_errors=True)
    sync_folder(target.parent)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two paths in one step; False where the system or the file system has no such call."""
    call = getattr(ctypes.CDLL(None), "renameat2", None)
    if call is None:
        return False
    done: int = call(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)
    return done == 0


def _clear_leftovers(target: Path) -> None:
    """What killed writers left: restore a folder that was moved aside and never replaced, remove the rest."""
    for path in leftovers(target):
        if path.name.endswith(".old.tmp") and not target.exists():
            path.rename(target)
        else:
            shutil.rmtree(path, ignore_errors=True)
