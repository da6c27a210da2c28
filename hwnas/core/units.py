"""Quantities as people type them: ``30ms``, ``800us``, ``4MB``, ``600M``."""

from __future__ import annotations

import math
import re

from hwnas.core.errors import InputError

_QUANTITY = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-zµ]*)\s*")
_LATENCY_MS = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
_BYTES = {"B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_COUNT = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}


def parse_latency_ms(text: str) -> float:
    """``2ms`` -> 2.0, ``800us`` -> 0.8, ``0.03s`` -> 30.0, in milliseconds."""
    return _parse(text, _LATENCY_MS, "a latency", "2ms or 800us")


def parse_bytes(text: str) -> float:
    """``4MB`` -> 4e6, ``4MiB`` -> 4194304.0."""
    return _parse(text, _BYTES, "a size", "4MB or 512KiB")


def parse_seconds(text: str) -> float:
    """``20min`` -> 1200.0, ``90s`` -> 90.0."""
    return _parse(text, _SECONDS, "a time", "20min or 90s")


def parse_count(text: str) -> float:
    """``600M`` -> 6e8."""
    return _parse(text, _COUNT, "a count", "600M or 25k")


def _parse(text: str, units: dict[str, float], what: str, example: str) -> float:
    match = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if match is None or match[2] not in units:
        raise InputError(f"{text!r} is not {what}: write it like {example}")
    value = float(match[1]) * units[match[2]]
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{text!r} is not {what}: it must be above zero and finite")
    return value
