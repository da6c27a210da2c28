"""The files of a latency model: `latency_model.json`, and beside it the weights of a graph network.

What is read must be whole and of the right space; weights that no model names are removed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hwnas.core.errors import InputError
from hwnas.core.files import write_json
from hwnas.core.protocols import SearchSpace
from hwnas.luts.table import profile, profile_again


def read_document(path: Path, space: SearchSpace) -> dict[str, Any]:
    """The document of a model of `space`.

    Raises:
        InputError: the file is missing, damaged or of another space.
    """
    try:
        document = json.loads(path.read_text())
        whole = document.pop("sha256") == _digest(document)
        genes = [len(point["genes"]) for point in document["points"]]
        of_space = str(document["space"])
    except FileNotFoundError as error:
        raise InputError(f"no latency model {path}: {profile(path)}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path) from error
    if of_space != space.id or not genes or set(genes) != {len(space.choices)}:
        raise InputError(f"{path} is a latency model of {of_space}, not of {space.id}: {profile_again(path)}")
    if not whole:
        raise _damaged(path)
    return dict(document)


def write_document(path: Path, document: dict[str, Any]) -> None:
    """Write what `read_document` reads, sealed with its hash, whole or not at all."""
    plain = json.loads(json.dumps(document))  # as it will be read
    write_json(path, {**plain, "sha256": _digest(plain)})


@contextmanager
def reading(path: Path, space: SearchSpace) -> Iterator[dict[str, Any]]:
    """The document, for the time in which it is understood; what is wrong with it is an InputError."""
    document = read_document(path, space)
    try:
        yield document
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise _damaged(path) from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the system refuses is an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write beside {path}: {error.strerror}; make its folder writable") from error


def remove_weights(path: Path, but: str | None = None) -> None:
    """Remove the weights beside a model's file, those of an earlier model or of a killed command; `but` is kept."""
    with writing(path):
        for file in path.parent.glob(f"{path.stem}.*.safetensors"):
            if file.name != but:
                file.unlink(missing_ok=True)


def _digest(document: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _damaged(path: Path) -> InputError:
    return InputError(f"{path} is damaged: {profile_again(path)}")
