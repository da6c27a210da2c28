"""The published implementation as an oracle: random weights, its own outputs. The files are named by HWNAS_DATA."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hwnas.core.count import macs, params
from hwnas.core.errors import InputError
from hwnas.ofa_supernet import official
from hwnas.ofa_supernet.network import OfaSupernet
from hwnas.ofa_supernet.recalibration import recalibrate, set_statistics
from hwnas.ofa_supernet.static import StaticNet
from hwnas.spaces.ofa_mbv3 import published_layout

DATA = os.environ.get("HWNAS_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="set HWNAS_DATA to the folder that holds ofa_parity/")
INDICES = (1, 4, 5)


@cache
def arrays() -> dict[str, np.ndarray]:
    with np.load(Path(DATA or "") / "ofa_parity" / "parity.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@cache
def archs() -> dict[int, Any]:
    records = json.loads((Path(DATA or "") / "ofa_parity" / "archs.json").read_text())
    return {record["index"]: record for record in records}


def state_dict(dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    held = {name.removeprefix("sd/"): value for name, value in arrays().items() if name.startswith("sd/")}
    return {name: torch.from_numpy(value).to(dtype) for name, value in held.items()}


@cache
def supernet(dtype: torch.dtype = torch.float32) -> OfaSupernet:
    return official.supernet(state_dict(dtype))


def error(got: Tensor, wanted: np.ndarray) -> float:
    """Greatest difference as a share of the greatest output."""
    return float(np.abs(got.numpy() - wanted).max() / np.abs(wanted).max())


@needs_data
@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize("size", [64, 48])
@torch.no_grad()
def test_outputs(index: int, size: int) -> None:
    arch = official.arch(**archs()[index]["arch"], resolution=size)
    images = torch.from_numpy(arrays()[f"in/x{size}"])
    shared, alone = supernet().subnet(arch)(images), supernet().extract(arch)(images)
    assert torch.equal(shared, alone)
    assert error(shared, arrays()[f"active/{index}/x{size}"]) < 1e-5
    assert error(alone, arrays()[f"static/{index}/x{size}"]) < 1e-5


@needs_data
@pytest.mark.parametrize("index", INDICES)
@torch.no_grad()
def test_outputs_in_double_precision(index: int) -> None:
    arch = official.arch(**archs()[index]["arch"], resolution=64)
    network = supernet(torch.float64).extract(arch)
    images = torch.from_numpy(arrays()["in/x64"]).double()
    assert error(network(images), arrays()[f"active_fp64/{index}/x64"]) < 1e-10


@needs_data
@torch.no_grad()
def test_outputs_after_recalibration() -> None:
    arch = official.arch(**archs()[1]["arch"], resolution=64)
    network = supernet().extract(arch)
    batches = [torch.from_numpy(arrays()[f"cal/b{i}"]).float() for i in range(2)]
    set_statistics(network, recalibrate(network.net, network.weights, batches))
    got = network(torch.from_numpy(arrays()["in/x64"]))
    for name in ("recal_static", "recal_super"):
        assert error(got, arrays()[f"{name}/1/x64"]) < 1e-5


@needs_data
@pytest.mark.parametrize("index", INDICES)
def test_counts(index: int) -> None:
    record = archs()[index]
    net = supernet().space.network(
        **dict(zip(("kernels", "expansions", "depths"), record["arch"].values(), strict=True)), resolution=64
    )
    assert net == supernet().net(official.arch(**record["arch"], resolution=64))
    assert params(net) == record["static_params"]
    assert macs(net) == record["static_flops_64"]
    assert sum(p.numel() for p in StaticNet(net, supernet().weights).parameters()) == record["static_params"]


@needs_data
@pytest.mark.parametrize("kernel", [3, 5])
def test_kernels_shrink_as_published(kernel: int) -> None:
    """Crop, matrix, crop, matrix, filter by filter in float64; the oracle's networks all have kernel 7."""
    arch = official.arch([kernel] * 20, [6] * 20, [4] * 5, 64)
    network, held = supernet().extract(arch), state_dict(torch.float64)
    for block in (1, 20):
        layer = f"blocks.{block}.conv.depth_conv.conv."
        wanted = held[f"{layer}conv.weight"].numpy()[:, 0]
        for size in range(5, kernel - 1, -2):
            matrix = held[f"{layer}{size + 2}to{size}_matrix"].numpy()
            assert not np.allclose(matrix, np.eye(size * size))
            crops = [one[1:-1, 1:-1].reshape(-1) for one in wanted]
            wanted = np.stack([np.array([row @ crop for row in matrix]).reshape(size, size) for crop in crops])
        got = network.get_parameter(f"blocks.{block}.depth_conv.weight").detach().numpy()[:, 0]
        np.testing.assert_allclose(got, wanted, atol=1e-5 * np.abs(wanted).max())


@needs_data
def test_every_tensor_finds_its_place() -> None:
    read = {name: list(value.shape) for name, value in state_dict().items()}
    path = Path(DATA or "") / "ofa_parity" / "supernet_state_dict_shapes.json"
    shapes = json.loads(path.read_text())
    assert {k: v for k, v in shapes.items() if "num_batches" not in k} == read
    assert len(supernet().full.state_dict()) == len(read)
    stored = sum(value.sum().item() for value in state_dict(torch.float64).values())
    assert sum(value.double().sum().item() for value in supernet().full.state_dict().values()) == pytest.approx(stored)


@needs_data
def test_widths_classes_and_channels_come_from_the_shapes() -> None:
    layout, published = supernet().space.layout, published_layout(0.35)
    assert (layout.stem, layout.first_width, layout.units) == (published.stem, published.first_width, published.units)
    assert (layout.final_expand, layout.feature_mix) == (published.final_expand, published.feature_mix)
    assert (supernet().space.classes, supernet().space.in_channels) == (10, 3)


@needs_data
def test_the_names_of_the_released_files_are_known() -> None:
    """The released files call a block's convolutions `mobile_inverted_conv`, and count batches."""
    old = {name.replace(".conv.", ".mobile_inverted_conv.", 1) if "blocks." in name else name for name in state_dict()}
    renamed = dict(zip(sorted(old), [state_dict()[name] for name in sorted(state_dict())], strict=True))
    renamed["first_conv.bn.num_batches_tracked"] = torch.tensor(0)
    wanted, got = supernet().state_dict(), official.supernet(renamed).state_dict()
    assert all(torch.equal(got[name], wanted[name]) for name in wanted)


@needs_data
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classifier.linear.bias": None}, "it lacks classifier.bias, one of 1"),
        ({"first_conv.conv.weight": None}, "it lacks first_conv"),
        ({"extra.weight": torch.zeros(1)}, "it has unknown extra.weight, one of 1"),
        (
            {"blocks.3.conv.depth_conv.bn.bn.bias": torch.zeros(5)},
            r"blocks\.3\.depth_conv\.norm\.bias is 5 where its widths want 48",
        ),
        (
            {"classifier.linear.weight": torch.zeros(4, 4, dtype=torch.int64)},
            "classifier holds no floating-point numbers",
        ),
        ({"first_conv.conv.weight": torch.zeros(0, 3, 3, 3)}, "first_conv holds no floating-point numbers"),
    ],
    ids=["no bias", "no stem", "one more", "wrong shape", "integers", "nothing"],
)
def test_another_state_dict_is_one_line(change: dict[str, Tensor | None], message: str) -> None:
    broken = {name: value for name, value in (state_dict() | change).items() if value is not None}
    with pytest.raises(InputError, match=message) as caught:
        official.supernet(broken)
    assert "\n" not in str(caught.value)


def test_a_whole_checkpoint_is_told_from_its_state_dict() -> None:
    with pytest.raises(InputError, match="pass what its checkpoint holds under 'state_dict'"):
        official.supernet({"state_dict": {}})  # type: ignore[dict-item]


def test_unused_entries_of_published_lists_may_hold_anything() -> None:
    shallow = official.arch([7, 7, 0, 0] * 5, [6, 6, 99, 0] * 5, [2] * 5, 224)
    assert shallow == official.arch([7] * 20, [6] * 20, [2] * 5)
    assert official.arch([7] * 20, [6] * 20, [4] * 5) != shallow


@pytest.mark.parametrize(
    ("ks", "e", "d", "resolution"),
    [
        ([7] * 19, [6] * 20, [4] * 5, 224),
        ([7] * 20, [5] * 20, [4] * 5, 224),
        ([7] * 20, [6] * 20, [1] * 5, 224),
        ([7] * 20, [6] * 20, [4] * 6, 224),
        ([7] * 20, [6] * 20, [2] * 4, 224),
        ([7] * 20, [6] * 20, [4] * 5, 225),
    ],
)
def test_wrong_lists_are_one_line(ks: list[int], e: list[int], d: list[int], resolution: int) -> None:
    with pytest.raises(InputError) as caught:
        official.arch(ks, e, d, resolution)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("d", "e", "w"),
    [
        ([2] * 4, [0.35] * 18, [2] * 6),
        ([2] * 5, [0.35] * 17, [2] * 6),
        ([2] * 5, [0.35] * 18, [2] * 5),
        ([2] * 5, [0.35] * 18, [3] * 6),
        ([2, 3, 2, 2, 2], [0.35] * 18, [2] * 6),
        ([2] * 5, [0.3] * 18, [2] * 6),
    ],
)
def test_wrong_lists_of_resnet_are_one_line(d: list[int], e: list[float], w: list[int]) -> None:
    with pytest.raises(InputError) as caught:
        official.resnet50_arch(d, e, w)
    assert "\n" not in str(caught.value)


def test_unused_entries_of_resnet_s_lists_may_hold_anything() -> None:
    shallow = official.resnet50_arch(
        [0] * 5, [0.2, 0.2, 0, 0, 0.2, 0.2, 0, 0, *[0.2] * 4, 0, 0, 0.2, 0.2, 0, 0], [0] * 6
    )
    assert shallow == official.resnet50_arch([1, 0, 0, 0, 0], [0.2] * 18, [0] * 6)
