"""Published networks in their JSON form: made from an architecture, and the real ones where HWNAS_DATA names them."""

from __future__ import annotations

import csv
import gzip
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hwnas.core.arch import Arch
from hwnas.core.net import Op
from hwnas.core.protocols import SearchSpace

DATA = os.environ.get("HWNAS_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="set HWNAS_DATA to the folder that holds ofa_specialized/")


def document(space: SearchSpace, arch: Arch, name: str = "MobileNetV3") -> dict[str, Any]:
    """The ``net.config`` of an architecture, with the keys that are read and some of those that are not."""
    ops = space.lower(arch).ops
    groups: dict[str, list[Op]] = {}
    made: dict[str, Any] = {"name": name, "bn": {"momentum": 0.1, "eps": 1e-5}, "blocks": []}
    for op in ops:
        if op.name.startswith("blocks."):
            groups.setdefault(".".join(op.name.split(".")[:2]), []).append(op)
        elif op.kind == "conv":
            made[op.name] = {"name": "ConvLayer", "in_channels": op.in_channels, "out_channels": op.out_shape[0]}
        elif op.kind == "linear":
            made[op.name] = {"name": "LinearLayer", "in_features": op.in_channels, "out_features": op.out_shape[0]}
    made["blocks"] = [_block(group) for group in groups.values()]
    return made


def _block(ops: list[Op]) -> dict[str, Any]:
    parts = {op.name.split(".", 2)[2]: op for op in ops}
    deep, last, first = parts["depth_conv"], parts["point_linear"], ops[0]
    layer = {
        "name": "MBInvertedConvLayer",
        "in_channels": first.in_channels,
        "out_channels": last.out_shape[0],
        "kernel_size": deep.kernel,
        "stride": deep.stride,
        "expand_ratio": round(deep.out_shape[0] / first.in_channels) if first is not deep else 1,
        "mid_channels": deep.out_shape[0] if first is not deep else None,
        "act_func": deep.act,
        "use_se": "se.reduce" in parts,
    }
    shortcut = {"name": "IdentityLayer"} if "shortcut" in parts else None
    return {"name": "MobileInvertedResidualBlock", "mobile_inverted_conv": layer, "shortcut": shortcut}


@cache
def published() -> list[dict[str, str]]:
    """The rows of the 50 networks that once-for-all published; none where there is no data."""
    if not DATA:
        return []
    with (Path(DATA) / "ofa_specialized" / "ofa_specialized_nets.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@cache
def published_configs() -> dict[str, dict[str, Any]]:
    """Their documents by name; none where there is no data."""
    if not DATA:
        return {}
    import pandas as pd

    frame = pd.read_parquet(Path(DATA) / "ofa_specialized" / "ofa_specialized_nets.parquet")
    return {name: json.loads(text) for name, text in zip(frame.net_id, frame.net_config, strict=True)}


@cache
def proxyless_configs() -> dict[str, dict[str, Any]]:
    """ProxylessNAS's own networks, which no released supernet contains; none where there is no data."""
    if not DATA:
        return {}
    with gzip.open(Path(DATA) / "ofa_specialized" / "proxyless_net_configs.json.gz") as file:
        return {record["net"]: record["config"] for record in json.load(file)}
