"""Outputs of the original once-for-all code for narrow networks, frozen; `tests/oracles/once_for_all.py` made them."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oracles import weights
from torch import Tensor

from hwnas import spaces
from hwnas.core.arch import Arch
from hwnas.core.count import macs, params
from hwnas.export.exporter import OnnxExporter
from hwnas.export.verify import open_session
from hwnas.ofa_supernet import official
from hwnas.ofa_supernet.network import OfaSupernet
from hwnas.ofa_supernet.official_layouts import RESOLUTIONS
from hwnas.ofa_supernet.recalibration import recalibrate, set_statistics
from hwnas.ofa_supernet.static import StaticNet

FROZEN = Path(__file__).parent / "once_for_all"
NETWORKS = json.loads((FROZEN / "networks.json").read_text())
SHAPES = json.loads(gzip.decompress((FROZEN / "shapes.json.gz").read_bytes()))
NARROW = NETWORKS["narrow"]
RELEASED = {
    "ofa_mbv3_d234_e346_k357_w1.0": "ofa_mbv3/w1.0/v1",
    "ofa_mbv3_d234_e346_k357_w1.2": "ofa_mbv3/w1.2/v1",
    "ofa_proxyless_d234_e346_k357_w1.3": "ofa_proxyless/w1.3/v1",
    "ofa_resnet50": "ofa_resnet50/v1",
}
ELASTIC = {"mbv3": [4, 3], "proxyless": [4, 3], "resnet50": [25, 20]}
"""Expansions that are elastic already at later stages of sorting."""
BARS = {torch.float32: 1e-5, torch.float64: 1e-10}
"""Greatest differences, as shares of the greatest output. Between its own precisions the original's is 5e-6 at most."""

Record = dict[str, Any]


def records(wanted: str = "") -> pytest.MarkDecorator:
    """Every narrow network and each of its architectures, or those of which something was recorded."""
    pairs = [
        pytest.param(network, record, id=f"{network}-{record['name']}")
        for network in NARROW
        for record in NARROW[network]["archs"]
        if not wanted or record[wanted]
    ]
    return pytest.mark.parametrize(("network", "record"), pairs)


both = pytest.mark.parametrize("dtype", BARS, ids=str)


@cache
def outputs(network: str) -> dict[str, np.ndarray]:
    with np.load(FROZEN / f"{network}.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def supernet(network: str, dtype: torch.dtype) -> OfaSupernet:
    tensors = weights.state_dict(SHAPES["narrow"][network], NARROW[network]["seed"])
    assert weights.digest(tensors) == NARROW[network]["sha256"]
    return official.supernet({name: torch.from_numpy(np.array(value)).to(dtype) for name, value in tensors.items()})


shared = cache(supernet)


def arch_of(record: Record, size: int) -> Arch:
    make = official.resnet50_arch if "w" in record["arch"] else official.arch
    return make(**record["arch"], resolution=size)


def images(network: str, shape: list[int], dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(weights.images(shape, NARROW[network]["seed"])).to(dtype)


def extracted(network: str, record: Record, dtype: torch.dtype, size: int = 64) -> StaticNet:
    return shared(network, dtype).extract(arch_of(record, size))


def assert_equal(got: Tensor, network: str, kind: str, record: Record, size: int) -> None:
    dtype = str(got.dtype).removeprefix("torch.")
    wanted = outputs(network)[f"{kind}/{record['index']}/{size}/{dtype}"]
    assert np.abs(got.numpy() - wanted).max() < BARS[got.dtype] * np.abs(wanted).max()


@records()
@both
@torch.no_grad()
def test_shared_and_extracted(network: str, record: Record, dtype: torch.dtype) -> None:
    for shape in NARROW[network]["images"]:
        size, batch = shape[-1], images(network, shape, dtype)
        subnet = shared(network, dtype).subnet(arch_of(record, size))
        assert_equal(subnet(batch), network, "shared", record, size)
        assert_equal(extracted(network, record, dtype, size)(batch), network, "extracted", record, size)


@records("recalibrated")
@both
@torch.no_grad()
def test_recalibrated(network: str, record: Record, dtype: torch.dtype) -> None:
    made, narrow = extracted(network, record, dtype), NARROW[network]
    batches = [images(network, shape, dtype) for shape in narrow["calibration"]]
    set_statistics(made, recalibrate(made.net, made.weights, batches))
    shape = narrow["images"][0]
    for kind in ("recalibrated_extracted", "recalibrated_shared"):
        assert_equal(made(images(network, shape, dtype)), network, kind, record, shape[-1])


@pytest.mark.parametrize("stage", [0, 1, 2])
@pytest.mark.parametrize("network", NARROW)
@both
@torch.no_grad()
def test_after_the_channels_were_sorted(network: str, stage: int, dtype: torch.dtype) -> None:
    """At a later stage, channels stay inside the prefixes of the expansions that are elastic already."""
    made, shape = supernet(network, dtype), NARROW[network]["images"][0]
    made.sort_channels(ELASTIC[network][:stage])
    chosen = [record for record in NARROW[network]["archs"] if stage in record["reorganized"]]
    assert len(chosen) == 3
    for record in chosen:
        subnet = made.subnet(arch_of(record, shape[-1]))
        assert_equal(subnet(images(network, shape, dtype)), network, f"reorganized/{stage}", record, shape[-1])


@records()
def test_counts_of_the_narrow_networks(network: str, record: Record) -> None:
    for size, wanted in record["macs"].items():
        net = extracted(network, record, torch.float32, int(size)).net
        assert (macs(net), params(net)) == (wanted, record["params"])


@pytest.mark.parametrize("name", RELEASED)
def test_counts_and_layers_of_a_released_network(name: str) -> None:
    layout = spaces.load(RELEASED[name]).layout
    for record in NETWORKS["released"][name]["archs"]:
        for size, wanted in record["macs"].items():
            arch = arch_of(record, int(size))
            net = replace(layout, resolutions=RESOLUTIONS).space(arch.space_id, 1000, 3).lower(arch)
            assert (macs(net), params(net)) == (wanted, record["params"])
    space = spaces.load(RELEASED[name])
    full = {op.name: list(op.weight_shape) for op in space.lower(space.largest).ops if op.weight_shape}
    published = [shape for shape in SHAPES["released"][name].values() if len(shape) == 4]
    assert sorted(shape for shape in full.values() if len(shape) == 4) == sorted(published)


@records("recalibrated")
def test_an_exported_file_computes_what_the_original_does(network: str, record: Record, tmp_path: Path) -> None:
    for shape in NARROW[network]["images"]:
        module, size = extracted(network, record, torch.float32, shape[-1]), shape[-1]
        OnnxExporter().export(module.net, module, tmp_path / "net.onnx", {})
        inputs = {"image": images(network, shape, torch.float32).numpy()}
        [got] = open_session(tmp_path / "net.onnx", 1).run(None, inputs)
        assert_equal(torch.from_numpy(got), network, "extracted", record, size)
