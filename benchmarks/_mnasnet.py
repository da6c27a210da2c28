"""Accel-NASBench (Ahmad et al., DAC 2024, arXiv 2404.08005): its MnasNet space as networks, and its measurements.

A row has seven stages of MBConv blocks; expansion, kernel, layers and squeeze-and-excite are a stage's. The widths, the
strides, stem, head and the squeezed channels (a quarter of the block's input) are as in the benchmark's repository
(`configurationspaces/searchspaces.py`) and in that of its collection pipelines (`models/accelbenchnet.py`); on FPGAs
the activations are ReLU.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd
from _data import folder

from hwnas.core.count import macs
from hwnas.core.net import NetSpec
from hwnas.spaces.builder import Builder

RESOLUTION = 224
STEM = 32
WIDTHS = (16, 24, 40, 80, 112, 192, 320)
STRIDES = (1, 2, 2, 2, 1, 2, 1)
HEAD = 4 * WIDTHS[-1]
CLASSES = 1000


def networks() -> pd.DataFrame:
    """The 5,138 networks; latencies in ms (NaN where there is none), `macs` and `params` in millions."""
    return pd.read_parquet(folder() / "accel_nasbench" / "anb_imagenet_mnasnet.parquet")


def lower(row: Mapping[Hashable, Any]) -> NetSpec:
    """The network of a row."""
    net = Builder((3, RESOLUTION, RESOLUTION))
    net.block = "stem"
    net.conv("stem", STEM, kernel=3, stride=2, act="relu")
    for stage, (width, stride) in enumerate(zip(WIDTHS, STRIDES, strict=True)):
        expansion, kernel, layers = (int(row[f"block{stage}_{key}"]) for key in ("e", "k", "l"))
        excited = str(row[f"block{stage}_se"]) == "True"
        for layer in range(layers):
            net.block = f"stage{stage}.{layer}"
            _block(net, width, stride if layer == 0 else 1, expansion, kernel, excited)
    net.block = "head"
    net.conv("head", HEAD, act="relu")
    net.global_pool("pool")
    net.linear("classifier", CLASSES)
    return net.build()


def counted_macs(net: NetSpec) -> int:
    """What the column `macs` counts: beside multiply-accumulates four for each normalised value, and one for each value
    of a mean and each bias.
    """
    extra = 0
    for op in net.ops:
        if op.norm:
            extra += 4 * math.prod(op.out_shape)
        elif op.kind == "global_pool":
            extra += math.prod(net.shape(op.inputs[0]))
        elif op.bias:
            extra += math.prod(op.out_shape)
    return macs(net) + extra


def _block(net: Builder, width: int, stride: int, expansion: int, kernel: int, excited: bool) -> None:
    entry, name, channels = net.last, net.block, net.shape[0]
    middle = channels * expansion
    if expansion > 1:
        net.conv(f"{name}.expand", middle, act="relu")
    net.conv(f"{name}.depthwise", middle, kernel=kernel, stride=stride, groups=middle, act="relu")
    if excited:
        net.squeeze_excite(f"{name}.excite", channels // 4)
    net.conv(f"{name}.project", width)
    if stride == 1 and channels == width:
        net.add(f"{name}.add", entry)
