"""Small tables written by hand in the formats of other projects, and the real ones where HWNAS_DATA names them."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pandas as pd
import pytest
import yaml

DATA = os.environ.get("HWNAS_DATA")
needs_data = pytest.mark.skipif(
    not DATA, reason="set HWNAS_DATA to the folder that holds ofa_luts/ and ofa_specialized/"
)

OFA = """
Conv-input:224x224x3-output:112x112x24: {count: 500, mean: 1.0, std: 0.03}
expanded_conv-input:112x112x24-output:112x112x24-expand:24-kernel:3-stride:1-idskip:1-se:0-hs:0:
  {count: 400, mean: 2.0, std: 0.04}
expanded_conv-input:112x112x24-output:56x56x32-expand:72-kernel:3-stride:2-idskip:0-se:0-hs:0:
  {count: 56, mean: 3.0, std: 0.1}
expanded_conv-input:56x56x32-output:56x56x32-expand:96-kernel:3-stride:1-idskip:1-se:0-hs:0:
  {count: 56, mean: 4.0, std: 0.1}
expanded_conv-input:56x56x32-output:28x28x48-expand:96-kernel:3-stride:2-idskip:0-se:1-hs:0:
  {count: 56, mean: 5.0, std: 0.1}
expanded_conv-input:28x28x48-output:28x28x48-expand:144-kernel:3-stride:1-idskip:1-se:1-hs:0:
  {count: 56, mean: 6.0, std: 0.1}
expanded_conv-input:28x28x48-output:14x14x96-expand:144-kernel:3-stride:2-idskip:0-se:0-hs:1:
  {count: 56, mean: 7.0, std: 0.1}
expanded_conv-input:14x14x96-output:14x14x96-expand:288-kernel:3-stride:1-idskip:1-se:0-hs:1:
  {count: 56, mean: 8.0, std: 0.1}
expanded_conv-input:14x14x96-output:14x14x136-expand:288-kernel:3-stride:1-idskip:0-se:1-hs:1:
  {count: 56, mean: 9.0, std: 0.1}
expanded_conv-input:14x14x136-output:14x14x136-expand:408-kernel:3-stride:1-idskip:1-se:1-hs:1:
  {count: 56, mean: 10.0, std: 0.1}
expanded_conv-input:14x14x136-output:7x7x192-expand:408-kernel:3-stride:2-idskip:0-se:1-hs:1:
  {count: 56, mean: 11.0, std: 0.1}
expanded_conv-input:7x7x192-output:7x7x192-expand:576-kernel:3-stride:1-idskip:1-se:1-hs:1:
  {count: 56, mean: 12.0, std: 0.1}
Conv_1-input:7x7x192-output:7x7x1152: {count: 500, mean: 0.5, std: 0.01}
AvgPool2D-input:7x7x1152-output:1x1x1152: {count: 450, mean: 0.25, std: 0.01}
Conv_2-input:1x1x1152-output:1x1x1536: {count: 500, mean: 0.125, std: 0.01}
Logits-input:1x1x1536-output:1000: {count: 500, mean: 0.125, std: 0.01}
"""
"""Of ofa_mbv3/w1.2/v1 at 224 pixels, the blocks of kernel 3 and expansion 3 alone."""
OFA_SMALLEST_MS = 1 + 2 + 3 + 4 + 5 + 6 + 7 + 8 + 9 + 10 + 11 + 12 + 0.5 + 0.25 + 0.125 + 0.125

NSGANETV2 = """
first_conv-input:224x224x3-output:112x112x24: {mean: 1.0, var: 0.0004}
MBConv-input:112x112x24-output:112x112x24-expand:1-kernel:3-stride:1-idskip:1-se:0: {mean: 2.0, var: 0.0001}
MBConv-input:112x112x24-output:56x56x32-expand:3-kernel:3-stride:2-idskip:0-se:0: {mean: 3.0, var: 0.0001}
MBConv-input:56x56x32-output:56x56x32-expand:3-kernel:3-stride:1-idskip:1-se:0: {mean: 4.0, var: 0.0001}
MBConv-input:56x56x32-output:28x28x48-expand:3-kernel:3-stride:2-idskip:0-se:1: {mean: 5.0, var: 0.0001}
MBConv-input:28x28x48-output:28x28x48-expand:3-kernel:3-stride:1-idskip:1-se:1: {mean: 6.0, var: 0.0001}
MBConv-input:28x28x48-output:14x14x96-expand:3-kernel:3-stride:2-idskip:0-se:0: {mean: 7.0, var: 0.0001}
MBConv-input:14x14x96-output:14x14x96-expand:3-kernel:3-stride:1-idskip:1-se:0: {mean: 8.0, var: 0.0001}
MBConv-input:14x14x96-output:14x14x136-expand:3-kernel:3-stride:1-idskip:0-se:1: {mean: 9.0, var: 0.0001}
MBConv-input:14x14x136-output:14x14x136-expand:3-kernel:3-stride:1-idskip:1-se:1: {mean: 10.0, var: 0.0001}
MBConv-input:14x14x136-output:7x7x192-expand:3-kernel:3-stride:2-idskip:0-se:1: {mean: 11.0, var: 0.0001}
MBConv-input:7x7x192-output:7x7x192-expand:3-kernel:3-stride:1-idskip:1-se:1: {mean: 12.0, var: 0.0001}
final_expand_layer-input:7x7x192-output:7x7x1152: {mean: 0.5, var: 0.0001}
feature_mix_layer-input:1x1x1152-output:1x1x1536: {mean: 0.25, var: 0.0001}
classifier-input:1536-output:1000: {mean: 0.25, var: 0.0001}
MBConv-input:9x9x999-output:9x9x999-expand:3-kernel:3-stride:1-idskip:1-se:1: {mean: 99.0, var: 0.0001}
"""
"""The same blocks; the last key is of no network."""

PROXYLESS = """
Conv-input:224x224x3-output:112x112x32: {count: 982, mean: 4.0, var: 0.25}
Conv_1-input:7x7x320-output:7x7x1280: {count: 982, mean: 3.0, var: 0.16}
Logits-input:7x7x1280-output:1000: {count: 982, mean: 0.3, var: 0.0}
expanded_conv-input:112x112x32-output:112x112x16-expand:1-kernel:3-stride:1-idskip:0:
  {count: 318, mean: 3.9, var: 0.09}
expanded_conv-input:14x14x80-output:14x14x80-expand:3-kernel:5-stride:1-idskip:1: {count: 407, mean: 2.1, var: 0.04}
expanded_conv-input:14x14x96-output:7x7x192-expand:6-kernel:7-stride:2-idskip:0: {count: 185, mean: 3.8, var: 0.01}
"""

FBNET = "layer,block,latency_us\n2,0,10000\n2,8,250\n3,0,9000\n4,1,15000\n5,1,16000\n5,8,200\n"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def edited(text: str, old: str, new: str) -> str:
    """The text with one thing replaced, which must be there."""
    assert old in text
    return text.replace(old, new)


def real(folder: Path, name: str) -> Path:
    """A published YAML file, written anew from the table that holds them all."""
    frame = pd.read_parquet(Path(DATA or "") / "ofa_luts" / "block_luts.parquet")
    frame = frame[frame["source_file"].str.endswith("/" + name)]
    assert len(frame)
    document = {}
    for row in frame.to_dict("records"):
        fields = {"mean": row["mean_ms"], "std": row["std"], "var": row["var"], "count": row["count"]}
        document[row["key"]] = {name: value for name, value in fields.items() if not math.isnan(value)}
    return write(folder, name, yaml.safe_dump(document))


def real_net(name: str) -> tuple[list[int], list[int], list[int], int]:
    """Kernels, expansions, depths and image size of a published once-for-all network, as `OfaMbv3.arch` takes them."""
    frame = pd.read_parquet(Path(DATA or "") / "ofa_specialized" / "ofa_specialized_nets.parquet")
    row = frame[frame["net_id"].str.startswith(name)].iloc[0]
    kernels, expansions, depths, unit = [3] * 20, [3] * 20, [0] * 5, -1
    for c_in, c_out, kernel, _, expansion, *_ in json.loads(row["blocks"])[1:]:
        unit += c_in != c_out  # a unit starts wherever the width changes
        kernels[4 * unit + depths[unit]] = kernel
        expansions[4 * unit + depths[unit]] = expansion
        depths[unit] += 1
    return kernels, expansions, depths, int(row["image_size"])
