"""From stored images to a network's input: one function, which training, export checks and packages all follow."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hwnas.core.errors import InputError

Images = NDArray[np.uint8]
"""N x H x W x C bytes, as data sets store them."""
Inputs = NDArray[np.float32]
"""N x C x R x R, as networks take them."""
RESIZED = "bilinear, half-pixel centres, no antialias"
CROPPED = "shorter side to {} pixels, bilinear with antialias as Pillow does it, then the middle {} x {}"


class ImageSource(Protocol):
    """N images, of which any slice can be had: an array, or files that are decoded when they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Images: ...


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes an input: resized to `resolution`, scaled to 0..1, then (x - mean) / std per channel.

    With `crop` it is resized so that its middle, `resolution` squared, keeps that share of its shorter side. Whoever
    reads the file does that, with Pillow; here such images come cropped.
    """

    resolution: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop: float | None = None

    @property
    def channels(self) -> int:
        return len(self.mean)

    @property
    def shorter_side(self) -> int:
        """Of the resized image, in pixels, rounded up as published code does; without `crop` the resolution."""
        return math.ceil(self.resolution / (self.crop or 1))

    def __call__(self, images: Images) -> Inputs:
        """N x H x W x C bytes, cropped if there is a `crop`, to N x C x R x R."""
        return preprocess(images, self.resolution, self.mean, self.std)

    def to_json(self) -> dict[str, Any]:
        """A document that `from_json` reads back, with the fixed parts spelt out for other programs."""
        size, shorter = self.resolution, self.shorter_side
        fixed: dict[str, Any] = {"channels": self.channels, "scale": 1 / 255, "resize": RESIZED}
        if self.crop is not None:
            fixed |= {"resize": CROPPED.format(shorter, size, size), "shorter_side": shorter}
        return {key: value for key, value in asdict(self).items() if value is not None} | fixed

    @classmethod
    def from_json(cls, document: Any) -> Preprocessing:
        """Read what `to_json` wrote.

        Raises:
            InputError: the document is not a preprocessing.
        """
        try:
            mean, std = (tuple(float(value) for value in document[key]) for key in ("mean", "std"))
            if len(mean) != len(std) or not mean:
                raise ValueError
            crop = document.get("crop")
            if crop is not None and not 0 < float(crop) <= 1:
                raise ValueError
            return cls(int(document["resolution"]), mean, std, None if crop is None else float(crop))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError('not a preprocessing: want {"resolution": 28, "mean": [0.5], "std": [0.5]}') from error


def preprocess(images: Images, resolution: int, mean: tuple[float, ...], std: tuple[float, ...]) -> Inputs:
    """Resize to `resolution` squared, scale to 0..1, normalise each channel; N x H x W x C to N x C x R x R.

    Equal to torch's ``interpolate(mode="bilinear", align_corners=False)`` of the normalised image. The two matrices are
    small and dense, so this is two matrix products; where the size already fits there is none.

    Raises:
        InputError: the images are not N x H x W x C bytes of `len(mean)` channels.
    """
    if images.ndim != 4 or images.dtype != np.uint8 or images.shape[3] != len(mean):
        raise InputError(
            f"images want N x H x W x {len(mean)} uint8, got {'x'.join(map(str, images.shape))} {images.dtype}"
        )
    scale = (1 / (255 * np.array(std))).astype(np.float32).reshape(-1, 1, 1)
    shift = (np.array(mean) / np.array(std)).astype(np.float32).reshape(-1, 1, 1)
    pixels = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32)
    height, width = pixels.shape[2:]
    if height != resolution:
        pixels = interpolation(height, resolution) @ pixels
    if width != resolution:
        pixels = pixels @ interpolation(width, resolution).T
    result: Inputs = pixels * scale - shift
    return result


def interpolation(size: int, resolution: int) -> NDArray[np.float32]:
    """Linear interpolation along one axis as a matrix, `resolution` x `size`; half-pixel centres, ends clamped."""
    centre = np.maximum((np.arange(resolution) + 0.5) * size / resolution - 0.5, 0.0)
    low = np.minimum(centre.astype(np.int64), size - 1)
    high = np.minimum(low + 1, size - 1)
    part = centre - low
    rows = np.arange(resolution)
    matrix = np.zeros((resolution, size))
    np.add.at(matrix, (rows, low), 1 - part)
    np.add.at(matrix, (rows, high), part)
    return matrix.astype(np.float32)
