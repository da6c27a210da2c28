"""Subnets are slices of the shared weights, alone or extracted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_space import scrambled
from torch import Tensor

from hwnas.core.arch import Arch
from hwnas.ofa_supernet.channels import order_within
from hwnas.ofa_supernet.network import OfaSupernet
from hwnas.spaces import load_units
from hwnas.spaces.ofa_mbv3 import OfaMbv3


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_extracted_equals_shared_bit_for_bit(tiny_space: OfaMbv3, data: st.DataObject) -> None:
    supernet = scrambled(tiny_space)
    genes = tuple(data.draw(st.integers(0, len(choice) - 1)) for choice in tiny_space.choices)
    arch = Arch(tiny_space.id, genes)
    size = tiny_space.values(arch)[0]
    images = torch.randn(2, 1, size, size, generator=torch.Generator().manual_seed(sum(genes)))
    with torch.no_grad():
        assert torch.equal(supernet.subnet(arch)(images), supernet.extract(arch)(images))
        laid_out = images.contiguous(memory_format=torch.channels_last)
        assert torch.equal(supernet.subnet(arch)(laid_out), supernet.extract(arch)(laid_out))


def test_an_extracted_network_is_a_copy(supernet: OfaSupernet, images: Tensor) -> None:
    arch = Arch(supernet.space.id, (1, *supernet.space.smallest.genes[1:]))
    alone, shared = supernet.extract(arch), supernet.subnet(arch)
    before = alone(images)
    with torch.no_grad():
        supernet.full.get_parameter("first_conv.weight").zero_()
    assert torch.equal(alone(images), before)
    assert not torch.equal(shared(images), before)
    assert list(shared.parameters()) == []


def test_which_subnet_runs_is_no_hidden_state(supernet: OfaSupernet, images: Tensor) -> None:
    space = supernet.space
    first, second = supernet.subnet(space.smallest), supernet.subnet(space.largest)
    before = first(images)
    second(images)
    assert torch.equal(first(images), before)


def test_the_largest_subnet_is_the_full_network(supernet: OfaSupernet, images: Tensor) -> None:
    assert torch.equal(supernet(images), supernet.subnet(supernet.space.largest)(images))


def test_gradients_reach_only_the_slices(supernet: OfaSupernet, images: Tensor) -> None:
    arch = supernet.space.smallest
    supernet.subnet(arch)(images).sum().backward()
    weight = supernet.full.get_parameter("blocks.1.depth_conv.weight")
    assert weight.grad is not None
    middle = (
        supernet.net(arch).ops[[op.name for op in supernet.net(arch).ops].index("blocks.1.depth_conv")].out_shape[0]
    )
    assert weight.grad[:middle].abs().sum() > 0
    assert weight.grad[middle:].abs().sum() == 0
    assert weight.grad[:, :, 0].abs().sum() == 0  # kernel 3 reads the centre of 7
    assert supernet.full.get_parameter("blocks.1.depth_conv.to_3").grad is not None
    assert supernet.full.get_parameter("blocks.2.depth_conv.weight").grad is None  # skipped


def test_state_dict_names(supernet: OfaSupernet) -> None:
    """Frozen: trained weights are stored under these names."""
    names = set(supernet.state_dict())
    norm = {f"norm.{leaf}" for leaf in ("weight", "bias", "running_mean", "running_var")}
    block = {f"depth_conv.{leaf}" for leaf in ("weight", "to_5", "to_3", *norm)}
    block |= {f"{part}.{leaf}" for part in ("inverted_bottleneck", "point_linear") for leaf in ("weight", *norm)}
    squeeze = {f"se.{part}.{leaf}" for part in ("reduce", "expand") for leaf in ("weight", "bias")}
    wanted = {f"{part}.{leaf}" for part in ("first_conv", "final_expand_layer") for leaf in ("weight", *norm)}
    wanted |= {f"blocks.0.{part}.{leaf}" for part in ("depth_conv", "point_linear") for leaf in ("weight", *norm)}
    wanted |= {f"blocks.{i}.{leaf}" for i in (1, 2) for leaf in block}
    wanted |= {f"blocks.{i}.{leaf}" for i in (3, 4) for leaf in block | squeeze}
    wanted |= {"feature_mix_layer.weight", "classifier.weight", "classifier.bias"}
    assert names == {f"full.{name}" for name in wanted}


@pytest.mark.parametrize("kernel", [3, 5])
def test_kernels_start_as_the_centre_crop(tiny_space: OfaMbv3, kernel: int) -> None:
    fresh = OfaSupernet(tiny_space)
    network = fresh.extract(tiny_space.arch([kernel] * 4, [3] * 4, [2] * 2, 8))
    edge = (7 - kernel) // 2
    for block in range(1, 5):
        whole = fresh.full.get_parameter(f"blocks.{block}.depth_conv.weight")
        got = network.get_parameter(f"blocks.{block}.depth_conv.weight")
        assert torch.equal(got, whole[:, :, edge : edge + kernel, edge : edge + kernel])


def test_equal_seeds_equal_weights(tiny_space: OfaMbv3) -> None:
    first, again, other = (OfaSupernet(tiny_space, seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["full.first_conv.weight"], other["full.first_conv.weight"])


@pytest.mark.parametrize("seed", range(3))
def test_sorting_channels_keeps_the_full_network(tiny_space: OfaMbv3, seed: int, images: Tensor) -> None:
    supernet = scrambled(tiny_space, seed).double()
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    with torch.no_grad():
        wanted = supernet(images.double())
        supernet.sort_channels()
        np.testing.assert_allclose(supernet(images.double()).numpy(), wanted.numpy(), rtol=1e-10, atol=1e-10)
    assert not torch.equal(
        before["full.blocks.1.depth_conv.weight"], supernet.state_dict()["full.blocks.1.depth_conv.weight"]
    )
    for block in range(1, 5):
        importance = supernet.full.get_parameter(f"blocks.{block}.point_linear.weight").abs().sum((0, 2, 3))
        assert torch.all(importance.diff() <= 0)
    for block in (3, 4):
        importance = supernet.full.get_parameter(f"blocks.{block}.se.expand.weight").abs().sum((0, 2, 3))
        assert torch.all(importance.diff() <= 1e-12)


def test_sorting_channels_of_basic_blocks_keeps_the_full_network() -> None:
    space = load_units("ofa_basic/small/v1", in_channels=1)
    supernet = scrambled(space).double()
    images = torch.rand(2, 1, 22, 22, dtype=torch.float64)
    with torch.no_grad():
        wanted = supernet(images)
        supernet.sort_channels()
        np.testing.assert_allclose(supernet(images).numpy(), wanted.numpy(), rtol=1e-9, atol=1e-9)
    for block in range(5):
        importance = supernet.full.get_parameter(f"blocks.{block}.conv2.weight").abs().sum((0, 2, 3))
        assert torch.all(importance.diff() <= 0)


def test_the_module_is_a_torch_module_like_others(supernet: OfaSupernet) -> None:
    again = OfaSupernet(supernet.space, seed=9)
    again.load_state_dict(supernet.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), supernet.parameters(), strict=True))


def test_sorting_keeps_trained_prefixes_together() -> None:
    importance = torch.tensor([1.0, 3.0, 2.0, 9.0, 8.0, 7.0, 5.0, 6.0])
    assert order_within(importance, []).tolist() == [3, 4, 5, 7, 6, 1, 2, 0]
    assert order_within(importance, [3, 5]).tolist() == [1, 2, 0, 3, 4, 5, 7, 6]
