"""How an architecture is shown to a person, and handed to a program."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def choice_lines(choices: Mapping[str, int]) -> list[str]:
    """What it chose, a line for the choices of one kind: each unit's blocks together, units apart."""
    kinds: dict[str, dict[str, list[str]]] = {}
    for name, value in choices.items():
        place, _, kind = name.rpartition(".")
        unit = place.partition(".")[0] if "." in place else ""
        kinds.setdefault(kind, {}).setdefault(unit, []).append(str(value))
    shown = {kind: " | ".join(" ".join(values) for values in units.values()) for kind, units in kinds.items()}
    return [f"  {kind:<10}{' ' * (len(kind) > 9)}{values}" for kind, values in shown.items()]


def write(path: Path, arch: Mapping[str, Any]) -> None:
    """The architecture of a document as a file of one line; whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    from hwnas.core.files import write_atomic

    write_atomic(path, json.dumps(arch) + "\n")
