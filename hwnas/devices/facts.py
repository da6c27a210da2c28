"""Which of a device's facts make two measurements comparable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

IDENTITY = ("device", "kind", "cpu", "machine", "usable_cores", "governor", "runtime", "runtime_version", "threads")
"""The clock of the moment, the kernel's build and the size of the memory may change; these may not."""


def identity(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `Device.facts()` that must be equal for times to be mixed or compared."""
    return {key: facts.get(key) for key in IDENTITY}
