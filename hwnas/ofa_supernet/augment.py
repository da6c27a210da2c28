"""Stored images as a training step's inputs: one sampling of a whole batch does crop, shift, mirror and size at once.

What is random is drawn by numpy for the whole step, wherever its images are processed: so the same seed gives the same
inputs on a processor and on a graphics card, in one process and in many.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

ASPECT = (3 / 4, 4 / 3)
"""Of a crop's width to its height (torchvision's RandomResizedCrop, after Szegedy et al., CVPR 2015, section 6)."""

PAD = {"reflect": "reflection", "edge": "border", "zeros": "zeros"}
"""What is beyond an image's edge, by torch's names."""


@dataclass(frozen=True)
class Augmentation:
    """How training images differ from the stored ones."""

    mirror: bool = True
    shift: float = 0.0
    """At most so many pixels of the stored image, whole ones, in both directions."""
    pad: str = "reflect"
    area: float = 1.0
    """Least share of the image that a random crop keeps; 1 crops nothing."""
    mixup: float = 0.0
    """Both parameters of the beta distribution of the mixing weight (Zhang et al., ICLR 2018); 0 mixes nothing."""


@dataclass(frozen=True, eq=False)
class Views:
    """What was drawn for N images."""

    transforms: NDArray[np.float32]
    """N x 2 x 3: where in its stored image each output coordinate lies, both from -1 to 1."""
    partners: NDArray[np.int64]
    """Which of the N images each is mixed with."""
    weight: np.float32
    """Of the image itself in the mixture."""
    pad: str

    @property
    def mixes(self) -> bool:
        return bool(self.weight < 1)


def draw(augmentation: Augmentation, count: int, size: tuple[int, int], rng: np.random.Generator) -> Views:
    """Draw for `count` stored images of `size` (height, width)."""
    scale, offset = np.ones((count, 2)), np.zeros((count, 2))  # of x and y
    if augmentation.area < 1:
        share = rng.uniform(augmentation.area, 1, count)
        aspect = np.exp(rng.uniform(math.log(ASPECT[0]), math.log(ASPECT[1]), count))
        scale = np.minimum(np.sqrt(np.stack([share * aspect, share / aspect], axis=1)), 1)
        offset = rng.uniform(-1, 1, (count, 2)) * (1 - scale)
    if augmentation.shift:
        most = int(augmentation.shift)
        offset = offset + rng.integers(-most, most + 1, (count, 2)) * 2 / np.array(size[::-1])
    if augmentation.mirror:
        scale[:, 0] *= np.where(rng.random(count) < 0.5, -1, 1)
    transforms = np.zeros((count, 2, 3), np.float32)
    transforms[:, [0, 1], [0, 1]] = scale
    transforms[:, :, 2] = offset
    weight, partners = np.float32(1), np.arange(count)
    if augmentation.mixup:
        weight, partners = np.float32(rng.beta(augmentation.mixup, augmentation.mixup)), rng.permutation(count)
    return Views(transforms, partners, weight, augmentation.pad)


Take = Callable[[NDArray[np.int64]], Tensor]
"""Gives the stored images of some of a step's N images: n x C x H x W bytes, where the training runs."""


def inputs(
    take: Take, views: Views, rows: NDArray[np.int64], resolution: int, mean: Sequence[float], std: Sequence[float]
) -> Tensor:
    """The images `rows` of a step: n x C x R x R floats, channels last.

    A view that changes nothing gives what `hwnas.core.images.preprocess` gives.
    """
    seen = _seen(take, views, rows, resolution)
    if views.mixes:
        weight = float(views.weight)
        seen = seen * weight + _seen(take, views, views.partners[rows], resolution) * (1 - weight)
    scale = torch.tensor([1 / (255 * value) for value in std], device=seen.device)[:, None, None]
    shift = torch.tensor([m / s for m, s in zip(mean, std, strict=True)], device=seen.device)[:, None, None]
    return (seen * scale - shift).contiguous(memory_format=torch.channels_last)


def targets(
    labels: NDArray[np.int64], views: Views, rows: NDArray[np.int64], classes: int, smoothing: float
) -> NDArray[np.float32]:
    """Of N labels, what networks are to give to the images `rows`: n x classes probabilities, smoothed and mixed."""
    wanted = np.full((len(labels), classes), smoothing / classes, np.float32)
    wanted[np.arange(len(labels)), labels] += 1 - smoothing
    if views.mixes:
        return wanted[rows] * views.weight + wanted[views.partners[rows]] * (1 - views.weight)
    return wanted[rows]


def _seen(take: Take, views: Views, rows: NDArray[np.int64], resolution: int) -> Tensor:
    """The images `rows` as their transforms show them, n x C x R x R floats of 0..255."""
    stored = take(rows).float()
    transforms = torch.from_numpy(views.transforms[rows]).to(stored.device)
    grid = F.affine_grid(transforms, [len(rows), stored.shape[1], resolution, resolution], align_corners=False)
    return F.grid_sample(stored, grid, padding_mode=PAD[views.pad], align_corners=False)
