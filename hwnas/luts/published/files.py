"""Published files as they lie on disk: YAML and JSON by key, FBNet's lists of layers as JSON and as CSV."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hwnas.core.errors import InputError
from hwnas.luts.published.timing import Timing

LAYER_COLUMNS = ("layer", "block", "latency_us")


@dataclass(frozen=True)
class PublishedFile:
    """Times by the key that the project gave them; layers and blocks of a list are ``layer:2-block:0``."""

    name: str
    sha256: str
    timings: Mapping[str, Timing]


def read(path: Path) -> PublishedFile:
    """Read one file.

    Raises:
        InputError: it is missing, damaged, or holds no times.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; name a published table") from error
    timings: dict[str, Timing] = {}
    for key, timing in _csv(path, content) if path.suffix == ".csv" else _yaml(path, content):
        if key in timings:
            raise _twice(path, key)
        timings[key] = timing
    if not timings:
        raise InputError(f"{path} holds no times: name a published table")
    return PublishedFile(path.name, hashlib.sha256(content).hexdigest(), timings)


def _yaml(path: Path, content: bytes) -> Iterator[tuple[str, Timing]]:
    """JSON as well, which is YAML."""
    try:
        loader = yaml.SafeLoader(content)
        node = loader.get_single_node()
        document = None if node is None else loader.construct_document(node)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: {_first_line(error)}; get it anew") from error
    if isinstance(document, list):
        yield from _layers(path, document)
    elif isinstance(document, dict) and node is not None:
        names = [str(key.value) for key, _ in node.value]
        if len(names) > len(document):  # of a key that is there twice a mapping keeps the last alone
            raise _twice(path, Counter(names).most_common(1)[0][0])
        for key, value in document.items():
            yield str(key), _timing(path, str(key), value)
    else:
        raise InputError(f"{path} is no table: it maps no key to a time; name a published table")


def _twice(path: Path, key: str) -> InputError:
    return InputError(f"{path} is damaged: {key} stands in it twice; get it anew")


def _timing(path: Path, key: str, value: Any) -> Timing:
    """``{mean, std or var, count}`` in ms; all but the mean may be missing."""
    try:
        mean, std, runs = float(value["mean"]), value.get("std"), value.get("count")
        if std is None and value.get("var") is not None:
            std = float(value["var"]) ** 0.5
        timing = Timing(mean, None if std is None else float(std), None if runs is None else int(runs))
        if not (_positive(mean) and (timing.std_ms or 0.0) >= 0.0 and (timing.runs is None or timing.runs > 0)):
            raise ValueError
        if timing.std_ms is not None and not math.isfinite(timing.std_ms):
            raise ValueError
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{path} is damaged: {key} has no mean in ms with a deviation; get it anew") from error
    return timing


def _layers(path: Path, document: list[Any]) -> Iterator[tuple[str, Timing]]:
    """A list of layers, each null or the times of its blocks in microseconds."""
    for layer, blocks in enumerate(document):
        for block, latency_us in enumerate(blocks if isinstance(blocks, list) else []):
            yield _layer_key(layer, block), _microseconds(path, f"layer {layer}, block {block}", latency_us)


def _csv(path: Path, content: bytes) -> Iterator[tuple[str, Timing]]:
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode())))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is damaged: {_first_line(error)}; get it anew") from error
    for number, row in enumerate(rows, start=2):
        try:
            key = _layer_key(int(row["layer"]), int(row["block"]))
        except (KeyError, ValueError, TypeError) as error:
            wanted = ",".join(LAYER_COLUMNS)
            raise InputError(f"{path} is no table: line {number} lacks one of {wanted}; get it anew") from error
        yield key, _microseconds(path, f"line {number}", row.get("latency_us"))


def _microseconds(path: Path, where: str, value: Any) -> Timing:
    try:
        latency_us = float(value)
    except (TypeError, ValueError):
        latency_us = 0.0
    if not _positive(latency_us):
        raise InputError(f"{path} is damaged: {where} has no time in microseconds; get it anew")
    return Timing(latency_us / 1000)


def _layer_key(layer: int, block: int) -> str:
    return f"layer:{layer}-block:{block}"


def _positive(value: float) -> bool:
    return math.isfinite(value) and value > 0


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
