"""Image files as a network's input wants them: decoded when they are asked for, by several threads, and cut to size.

Everything is done as torchvision does it to Pillow images, which is how published networks were trained and tested.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from hwnas.core.errors import InputError
from hwnas.core.images import Images
from hwnas.core.progress import Progress
from hwnas.ofa_supernet.data import Split

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset({".jpeg", ".jpg", ".png", ".webp", ".bmp"})
"""Of image files, in any case."""
WORKERS = min(os.cpu_count() or 1, 8)
"""Threads that decode; Pillow lets others run meanwhile."""
CHECKED_AT_ONCE, DECODED_AT_ONCE = 100, 1000
"""Files between two reports of progress."""

AREA = (0.08, 1.0)
ASPECT = (3 / 4, 4 / 3)
ATTEMPTS = 10
"""Of a random crop: its share of the image, its width to its height, and how often they are drawn until it fits
(torchvision's RandomResizedCrop, after Szegedy et al. 2015; once-for-all draws with its defaults)."""
BRIGHTNESS = 32 / 255
SATURATION = 0.5
"""How far from 1 their factors are drawn at most (once-for-all: `calib_bn`, and `distort_color="tf"` in training)."""

Part = TypeVar("Part")
Cut = Callable[["Image", int, int], "Image"]
"""Cuts an image, which is number so and so of its split, to a size in pixels."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """N image files; a slice of them is decoded every time it is asked for, to n x `size` x `size` x 3 bytes."""

    paths: Sequence[Path]
    size: int
    cut: Cut

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: slice) -> Images:
        """The images of a slice.

        Raises:
            InputError: one of the files is damaged; the message names it.
        """
        wanted = range(len(self))[rows]
        out = np.empty((len(wanted), self.size, self.size, 3), np.uint8)
        self.decode(wanted, out)
        return out

    def take(self, rows: NDArray[np.int64]) -> Pictures:
        """Those at `rows`, in that order; none is decoded."""
        return Pictures([self.paths[row] for row in rows], self.size, self.cut)

    def at(self, rows: NDArray[np.int64]) -> Images:
        """The images at `rows`; errors as of a slice."""
        out = np.empty((len(rows), self.size, self.size, 3), np.uint8)
        self.decode([int(row) for row in rows], out)
        return out

    def all(self, stage: str, progress: Progress) -> Images:
        """Every image; errors as of a slice."""
        out = np.empty((len(self), self.size, self.size, 3), np.uint8)
        for start in range(0, len(self), DECODED_AT_ONCE):
            progress(stage, start, len(self))
            rows = range(len(self))[start : start + DECODED_AT_ONCE]
            self.decode(rows, out[start : start + len(rows)])
        progress(stage, len(self), len(self))
        return out

    def decode(self, rows: Sequence[int], out: Images) -> None:
        """Fill `out` with the images at `rows`; errors as of a slice."""

        def fill(place: int) -> None:
            row = rows[place]
            out[place] = np.asarray(self.cut(read(self.paths[row]), row, self.size))

        _with_threads(fill, range(len(rows)))


@dataclass(frozen=True, eq=False)
class FileSplit:
    """N images that are decoded when they are asked for, and their N labels."""

    images: Pictures
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> FileSplit:
        """The first `count` images, or all where there are fewer."""
        return self.take(np.arange(min(count, len(self))))

    def take(self, rows: NDArray[np.int64]) -> FileSplit:
        """The images at `rows`, in that order; none is decoded."""
        return FileSplit(self.images.take(rows), self.labels[rows])

    def decoded(self, stage: str, progress: Progress) -> Split:
        """All images in memory; errors as of a slice of pictures."""
        return Split(self.images.all(stage, progress), self.labels)


class Kept:
    """Pictures that are decoded once: as far as anybody has asked for them, they stay in memory."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures
        self._decoded = 0
        # The system gives memory to what is written, so that what nobody asks for takes none.
        self._images: Images = np.empty((len(pictures), pictures.size, pictures.size, 3), np.uint8)

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, rows: slice) -> Images:
        """The images of a slice; all before it are decoded, too."""
        end = max(range(len(self))[rows], default=-1) + 1
        if end > self._decoded:
            missing = slice(self._decoded, end)
            self._pictures.decode(range(end)[missing], self._images[missing])
            self._decoded = end
        return self._images[rows]


def read(path: Path) -> Image:
    """An image file in RGB.

    Raises:
        InputError: it is missing, damaged, or nothing that Pillow reads.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except Exception as error:  # each format has errors of its own
        if isinstance(error, OSError) and error.strerror:
            raise InputError(f"cannot read {path}: {error.strerror}; make it a readable file, or remove it") from error
        raise InputError(f"{path} is damaged, or no image: restore or remove it") from error


def refuse_damaged(paths: Sequence[Path], progress: Progress) -> None:
    """Decode each file once, which is all that shows that it is whole.

    Raises:
        InputError: one is not; the message names it.
    """
    for start in range(0, len(paths), CHECKED_AT_ONCE):
        progress("check images", start, len(paths))
        _with_threads(lambda path: read(path).close(), paths[start : start + CHECKED_AT_ONCE])
    progress("check images", len(paths), len(paths))


def middle(image: Image, size: int, shorter: int) -> Image:
    """The middle, `size` squared, of an image that is resized to a shorter side of `shorter` pixels.

    As torchvision's Resize and CenterCrop.
    """
    from PIL.Image import Resampling

    least = min(image.size)
    width, height = (int(shorter * side / least) for side in image.size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    resized = image.resize((width, height), Resampling.BILINEAR)
    return resized.crop((left, top, left + size, top + size))


def middle_square(image: Image, row: int, size: int) -> Image:
    """The middle of an image, as large as fits, resized to `size` squared."""
    return middle(image, size, size)


def distorted(image: Image, size: int, rng: np.random.Generator) -> Image:
    """A random part of an image, mirrored or not, in other colours: how published supernets see images in training.

    As torchvision's RandomResizedCrop, RandomHorizontalFlip and ColorJitter, in this order, but for the generator.
    """
    from PIL.Image import Resampling, Transpose

    left, top, width, height = random_box(*image.size, rng)
    image = image.crop((left, top, left + width, top + height)).resize((size, size), Resampling.BILINEAR)
    if rng.random() < 0.5:
        image = image.transpose(Transpose.FLIP_LEFT_RIGHT)
    return _jittered(image, rng)


def random_box(width: int, height: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Left, top, width and height of a random part of an image; the middle where none of `ATTEMPTS` fits."""
    for _ in range(ATTEMPTS):
        area = width * height * rng.uniform(*AREA)
        aspect = math.exp(rng.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
        wide, high = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < wide <= width and 0 < high <= height:
            top, left = int(rng.integers(height - high + 1)), int(rng.integers(width - wide + 1))
            return left, top, wide, high
    wide, high = width, height
    if width / height < ASPECT[0]:
        high = round(width / ASPECT[0])
    elif width / height > ASPECT[1]:
        wide = round(height * ASPECT[1])
    return (width - wide) // 2, (height - high) // 2, wide, high


def _jittered(image: Image, rng: np.random.Generator) -> Image:
    """Brightness and saturation changed by random factors, in random order."""
    from PIL import ImageEnhance

    brightness, saturation = (rng.uniform(1 - most, 1 + most) for most in (BRIGHTNESS, SATURATION))
    changes = [(ImageEnhance.Brightness, brightness), (ImageEnhance.Color, saturation)]
    for enhance, factor in changes if rng.random() < 0.5 else reversed(changes):
        image = enhance(image).enhance(factor)
    return image


def _with_threads(work: Callable[[Part], None], parts: Sequence[Part]) -> None:
    """Do `work` on each part; what Pillow remarks on odd files is not shown, and an error ends it."""
    with warnings.catch_warnings(), ThreadPoolExecutor(WORKERS) as pool:
        warnings.simplefilter("ignore")
        for _ in pool.map(work, parts):
            pass
