"""Batch normalisation statistics against a plain computation."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hwnas.core.arch import Arch
from hwnas.core.genetics import sample
from hwnas.core.net import Op
from hwnas.ofa_supernet.data import Split
from hwnas.ofa_supernet.evaluate import accuracy, predictions, recalibrated
from hwnas.ofa_supernet.forward import Norm, normalised_by, run
from hwnas.ofa_supernet.network import OfaSupernet
from hwnas.ofa_supernet.recalibration import PART_BYTES, moments, projected_moments, recalibrate, set_statistics


class Scale:
    """Pixels 0..255 to -1..1."""

    mean: ClassVar[list[float]] = [0.5]
    std: ClassVar[list[float]] = [0.5]


def naive(supernet: OfaSupernet, arch: Arch, batches: list[Tensor]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What enters each normalisation, batch by batch, summed up in numpy; the batch's own statistics by torch."""
    network = supernet.extract(arch)
    seen: dict[str, list[np.ndarray]] = {}

    def keep(op: Op, value: Tensor, norm: Norm) -> Tensor:
        seen.setdefault(op.name, []).append(value.double().numpy())
        return F.batch_norm(value, None, None, norm.weight, norm.bias, training=True, eps=1e-5)

    with torch.no_grad():
        for batch in batches:
            run(network.net, network.weights, batch, normalised_by(keep))
    weights = [len(batch) for batch in batches]
    return {
        name: (
            np.average([value.mean(axis=(0, 2, 3)) for value in values], axis=0, weights=weights),
            np.average([value.var(axis=(0, 2, 3)) for value in values], axis=0, weights=weights),
        )
        for name, values in seen.items()
    }


@pytest.mark.parametrize("row", range(4))
def test_equals_the_plain_computation(supernet: OfaSupernet, row: int) -> None:
    arch = sample(supernet.space, 4, np.random.default_rng(0))[row]
    images = torch.randn(11, 1, 8, 8, generator=torch.Generator().manual_seed(row))
    batches = [images[:4], images[4:7], images[7:]]
    network = supernet.extract(arch)
    got = recalibrate(network.net, network.weights, batches)
    wanted = naive(supernet, arch, batches)
    assert list(got) == list(wanted) == [op.name for op in network.net.ops if op.norm]
    for name, (mean, var) in wanted.items():
        np.testing.assert_allclose(got[name][0].numpy(), mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(got[name][1].numpy(), var, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 5, 4, 4), (7, 12, 96, 96), (2, 3, 1, 1)])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_moments_far_from_zero(shape: tuple[int, ...], memory: torch.memory_format) -> None:
    """Means a hundred deviations large: sums of squares would lose four digits more. The largest has several parts."""
    value = torch.randn(shape, generator=torch.Generator().manual_seed(1)) + 100
    value = value.contiguous(memory_format=memory)
    wanted = value.double().numpy()
    mean, var = moments(value)
    np.testing.assert_allclose(mean.numpy(), wanted.mean(axis=(0, 2, 3)), rtol=1e-7)
    np.testing.assert_allclose(var.numpy(), wanted.var(axis=(0, 2, 3)), rtol=1e-5)
    weight = torch.randn(20, shape[1], 1, 1, generator=torch.Generator().manual_seed(2))
    made = np.einsum("oc,nchw->nohw", weight.double().numpy()[:, :, 0, 0], wanted)
    mean, var = projected_moments(value, weight)
    np.testing.assert_allclose(mean.numpy(), made.mean(axis=(0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(var.numpy(), made.var(axis=(0, 2, 3)), rtol=1e-5)


def test_the_largest_case_has_several_parts() -> None:
    assert 2 * PART_BYTES < 7 * 96 * 96 * 12 * 4


def test_the_first_layer_is_exact(supernet: OfaSupernet, images: Tensor) -> None:
    """Before any normalisation there is no rounding but the convolution's own."""
    got = recalibrate(supernet.full.net, supernet.weights, [images[:2], images[2:]])["first_conv"]
    with torch.no_grad():
        value = F.conv2d(images, supernet.full.get_parameter("first_conv.weight"), padding=1).double().numpy()
    parts = [value[:2], value[2:]]
    mean = sum(len(part) * part.mean(axis=(0, 2, 3)) for part in parts) / 5
    var = sum(len(part) * part.var(axis=(0, 2, 3)) for part in parts) / 5
    np.testing.assert_allclose(got[0].numpy(), mean, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(got[1].numpy(), var, rtol=1e-6)


def test_shared_and_extracted_weights_give_the_same(supernet: OfaSupernet, images: Tensor) -> None:
    arch = supernet.space.smallest
    network = supernet.extract(arch)
    alone = recalibrate(network.net, network.weights, [images])
    shared = recalibrate(supernet.net(arch), supernet.weights, [images])
    assert all(torch.equal(alone[name][i], shared[name][i]) for name in alone for i in (0, 1))


def test_it_changes_nothing_but_the_copy(supernet: OfaSupernet, images: Tensor) -> None:
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    network = supernet.extract(supernet.space.largest)
    set_statistics(network, recalibrate(network.net, network.weights, [images]))
    assert all(torch.equal(value, before[name]) for name, value in supernet.state_dict().items())
    assert not torch.equal(network(images), supernet(images))


def test_no_images_is_an_error(supernet: OfaSupernet) -> None:
    with pytest.raises(ValueError, match="at least one batch"):
        recalibrate(supernet.full.net, supernet.weights, [])


def test_accuracy_is_the_share_of_right_predictions(supernet: OfaSupernet) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    arch = supernet.space.smallest
    guesses = predictions(recalibrated(supernet, arch, images[:30], Scale()), images, Scale())
    labels = guesses.astype(np.uint8)
    labels[:10] = (labels[:10] + 1) % 4
    assert accuracy(supernet, arch, Split(images, labels), images[:30], Scale()) == 0.75
