"""Accuracy of subnets with statistics of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hwnas.core.arch import Arch
from hwnas.core.images import ImageSource, preprocess
from hwnas.ofa_supernet.data import Split
from hwnas.ofa_supernet.network import OfaSupernet
from hwnas.ofa_supernet.recalibration import recalibrate, set_statistics
from hwnas.ofa_supernet.static import StaticNet

BATCH = 25
"""Images a forward pass; larger ones fall out of the cache: 4.5 ms an image at 80 pixels with 25, 8 ms with 50."""
DEVICE_BATCH = 500
"""On another device than the processor, which has no such cache and wants more to do at a time."""


class Normalisation(Protocol):
    """Anything that tells each channel's mean and standard deviation (a recipe)."""

    @property
    def mean(self) -> list[float]: ...

    @property
    def std(self) -> list[float]: ...


def inputs(images: NDArray[np.uint8], resolution: int, by: Normalisation) -> Tensor:
    """Images (uint8, N x H x W x C) as a channels-last float tensor (N x C x R x R)."""
    array = preprocess(images, resolution, tuple(by.mean), tuple(by.std))
    return torch.from_numpy(array).contiguous(memory_format=torch.channels_last)


def recalibrated(supernet: OfaSupernet, arch: Arch, images: ImageSource, by: Normalisation) -> StaticNet:
    """A stand-alone copy of `arch` with exact statistics over `images`, which are asked for batch by batch."""
    network = supernet.extract(arch)
    set_statistics(network, recalibrate(network.net, network.weights, _batches(network, images, by)))
    return network


@torch.inference_mode()
def predictions(network: StaticNet, images: NDArray[np.uint8], by: Normalisation) -> NDArray[np.int64]:
    """The likeliest class of each image, N values."""
    return np.concatenate([network(part).argmax(1).cpu().numpy() for part in _batches(network, images, by)])


def accuracy(
    supernet: OfaSupernet, arch: Arch, split: Split, calibration: NDArray[np.uint8], by: Normalisation
) -> float:
    """Share of `split` that the recalibrated subnet classifies rightly."""
    network = recalibrated(supernet, arch, calibration, by)
    return float(np.mean(predictions(network, split.images, by) == split.labels))


def _batches(network: StaticNet, images: ImageSource, by: Normalisation) -> Iterator[Tensor]:
    """The images as a network takes them, where it lies."""
    device, resolution = next(network.parameters()).device, network.net.input_shape[1]
    size = BATCH if device.type == "cpu" else DEVICE_BATCH
    for start in range(0, len(images), size):
        yield inputs(images[start : start + size], resolution, by).to(device)
