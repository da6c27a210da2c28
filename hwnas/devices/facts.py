"""Which of a device's facts make two measurements comparable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

IDENTITY = ("device", "kind", "cpu", "machine", "usable_cores", "governor", "runtime", "runtime_version", "threads")
"""The clock of the moment, the kernel's build and the size of the memory may change; these may not."""
SIMULATOR = "simulator"
"""What stands in the place of a simulated device; the identities of others, which journals keep, do not have it."""


def identity(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `Device.facts()` that must be equal for times to be mixed or compared."""
    found = {key: facts.get(key) for key in IDENTITY}
    return {**found, SIMULATOR: facts[SIMULATOR]} if SIMULATOR in facts else found
