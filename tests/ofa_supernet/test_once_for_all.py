"""Outputs of the original once-for-all code for a narrow network, frozen; `tests/oracles/once_for_all.py` made them."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oracles import weights
from torch import Tensor

from hwnas.core.count import macs, params
from hwnas.ofa_supernet import official
from hwnas.ofa_supernet.network import OfaSupernet
from hwnas.ofa_supernet.recalibration import recalibrate, set_statistics
from hwnas.ofa_supernet.static import StaticNet
from hwnas.spaces.ofa_mbv3 import OfaMbv3, published_layout

FROZEN = Path(__file__).parent / "once_for_all"
NETWORKS = json.loads((FROZEN / "networks.json").read_text())
SHAPES = json.loads(gzip.decompress((FROZEN / "shapes.json.gz").read_bytes()))
NARROW = NETWORKS["narrow"]["mbv3"]
RELEASED = {"ofa_mbv3_d234_e346_k357_w1.0": 1.0, "ofa_mbv3_d234_e346_k357_w1.2": 1.2}
BARS = {torch.float32: 1e-5, torch.float64: 1e-10}
"""Greatest differences, as shares of the greatest output. Between its own precisions the original's is 2e-6."""

Record = dict[str, Any]
every = pytest.mark.parametrize("record", NARROW["archs"], ids=lambda record: record["name"])
recalibrated = pytest.mark.parametrize(
    "record", [record for record in NARROW["archs"] if record["recalibrated"]], ids=lambda record: record["name"]
)
both = pytest.mark.parametrize("dtype", BARS, ids=str)


@cache
def outputs() -> dict[str, np.ndarray]:
    with np.load(FROZEN / "mbv3.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def supernet(dtype: torch.dtype) -> OfaSupernet:
    tensors = weights.state_dict(SHAPES["narrow"]["mbv3"], NARROW["seed"])
    assert weights.digest(tensors) == NARROW["sha256"]
    return official.supernet({name: torch.from_numpy(np.array(value)).to(dtype) for name, value in tensors.items()})


@cache
def shared(dtype: torch.dtype) -> OfaSupernet:
    return supernet(dtype)


def images(shape: list[int], dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(weights.images(shape, NARROW["seed"])).to(dtype)


def network(record: Record, dtype: torch.dtype, size: int = 64) -> StaticNet:
    return shared(dtype).extract(official.arch(**record["arch"], resolution=size))


def assert_equal(got: Tensor, kind: str, record: Record, size: int) -> None:
    dtype = str(got.dtype).removeprefix("torch.")
    wanted = outputs()[f"{kind}/{record['index']}/{size}/{dtype}"]
    assert np.abs(got.numpy() - wanted).max() < BARS[got.dtype] * np.abs(wanted).max()


@every
@both
@torch.no_grad()
def test_shared_and_extracted(record: Record, dtype: torch.dtype) -> None:
    for shape in NARROW["images"]:
        arch, size = official.arch(**record["arch"], resolution=shape[-1]), shape[-1]
        assert_equal(shared(dtype).subnet(arch)(images(shape, dtype)), "shared", record, size)
        assert_equal(shared(dtype).extract(arch)(images(shape, dtype)), "extracted", record, size)


@recalibrated
@both
@torch.no_grad()
def test_recalibrated(record: Record, dtype: torch.dtype) -> None:
    made = network(record, dtype)
    set_statistics(made, recalibrate(made.net, made.weights, [images(shape, dtype) for shape in NARROW["calibration"]]))
    shape = NARROW["images"][0]
    assert_equal(made(images(shape, dtype)), "recalibrated_extracted", record, shape[-1])
    assert_equal(made(images(shape, dtype)), "recalibrated_shared", record, shape[-1])


@pytest.mark.parametrize("stage", [0, 1, 2])
@both
@torch.no_grad()
def test_after_the_channels_were_sorted(stage: int, dtype: torch.dtype) -> None:
    """At a later stage, channels stay inside the prefixes of the ratios that are elastic already."""
    made, shape = supernet(dtype), NARROW["images"][0]
    made.sort_channels([4, 3][:stage])
    records = [record for record in NARROW["archs"] if stage in record["reorganized"]]
    assert len(records) == 3
    for record in records:
        arch = official.arch(**record["arch"], resolution=shape[-1])
        assert_equal(made.subnet(arch)(images(shape, dtype)), f"reorganized/{stage}", record, shape[-1])


@every
def test_counts_of_the_narrow_network(record: Record) -> None:
    for size, wanted in record["macs"].items():
        net = network(record, torch.float32, int(size)).net
        assert (macs(net), params(net)) == (wanted, record["params"])


@pytest.mark.parametrize("name", RELEASED)
def test_counts_and_layers_of_a_released_network(name: str) -> None:
    layout = published_layout(RELEASED[name])
    space = OfaMbv3("ofa_mbv3/published/v1", layout, layout.classes, layout.in_channels)
    for record in NETWORKS["released"][name]["archs"]:
        ks, e, d = (record["arch"][key] for key in ("ks", "e", "d"))
        for size, wanted in record["macs"].items():
            net = space.network(ks, e, d, int(size))
            assert (macs(net), params(net)) == (wanted, record["params"])
    full = {op.name: list(op.weight_shape) for op in space.lower(space.largest).ops if op.weight_shape}
    published = [shape for shape in SHAPES["released"][name].values() if len(shape) == 4]
    assert sorted(shape for shape in full.values() if len(shape) == 4) == sorted(published)
