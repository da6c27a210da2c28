"""Files that are whole or absent: what a reader finds was completely written, whatever moment the power went."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from hwnas.core.errors import InputError


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write to a temporary file beside `path`, fsync, rename over it.

    A temporary file carries its writer's process id, so that what a killed writer left is known and removed here.

    Raises:
        InputError: the file or its folder cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in leftovers(path):
            left.unlink(missing_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.{os.getpid()}.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; make its folder writable") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
        sync_folder(path.parent)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; free some space or make it writable") from error
    finally:
        Path(name).unlink(missing_ok=True)


def leftovers(path: Path) -> list[Path]:
    """Temporary files and folders for `path` (``.NAME.PROCESS.*.tmp`` beside it) whose writers are gone, by name."""
    prefix = f".{path.name}."
    found = []
    for entry in sorted(path.parent.iterdir()):
        writer = entry.name.removeprefix(prefix).split(".")[0]
        named = entry.name.startswith(prefix) and entry.name.endswith(".tmp") and writer.isdecimal()
        if named and not alive(int(writer)):
            found.append(entry)
    return found


def alive(process: int) -> bool:
    """Does a process of this id run? This one does, and so does one that belongs to somebody else."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def refuse_no_folder(folder: Path) -> None:
    """Raise InputError where `folder` is none and cannot be made, before anything long is begun for it."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise InputError(f"cannot write {folder}: {there} is no folder; remove it")
    if not os.access(there, os.W_OK):
        raise InputError(f"cannot write {folder}: Permission denied; make {there} writable")


def refuse_no_file(path: Path) -> None:
    """Raise InputError where `path` cannot become a file, before anything long is begun for it."""
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder; name a file")
    refuse_no_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, document: Any) -> None:
    """`write_atomic` for one JSON document."""
    write_atomic(path, json.dumps(document, indent=2) + "\n")


def append_line(path: Path, document: Any) -> None:
    """Append one JSON document as a line and fsync: once this returns, the line is kept.

    A torn last line, left by a killed writer, is ended first, so that it harms no line but itself.

    Raises:
        InputError: the file or its folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            new = file.tell() == 0
            if not new:
                file.seek(-1, os.SEEK_END)
                torn = file.read(1) != b"\n"
                file.write(b"\n" if torn else b"")
            file.write(json.dumps(document).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if new:
            sync_folder(path.parent)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; free some space or make it writable") from error


def read_lines(path: Path) -> list[Any]:
    """The whole documents of a file of JSON lines, torn ones passed over; none where there is no file.

    Raises:
        InputError: there is something, but no file that can be read.
    """
    try:
        text = path.read_text(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; remove it or make it a readable file") from error
    documents = []
    for line in text.splitlines():
        try:
            documents.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return documents


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; make it a readable file") from error
