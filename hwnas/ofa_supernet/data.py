"""Splits of images: the one module that decides which image serves what.

| split | from | serves |
|---|---|---|
| train | training images | weights |
| calibration | 2,000 of train | batch normalisation statistics |
| predictor | held-out training images | accuracies that the predictor is fitted on |
| choice | held-out training images | choosing among finalists |
| test | test images | reported accuracy, nothing else |

Of a user's folder of images for a supernet that others trained: calibration and choice from its training images,
disjoint, and a test from the others.

Splits are drawn by a fixed permutation, so they are the same on every machine.
"""

from __future__ import annotations

import lzma
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from hwnas.core.errors import InputError
from hwnas.core.files import write_atomic

Bytes = NDArray[np.uint8]

SPLIT_SEED = 20200523
"""Any constant will do, as long as it never changes, nor the sizes below: what is stored depends on them."""
HELD_OUT = 0.12, 0.06
"""Shares of the training images that the predictor and the choice take at most."""
PREDICTOR_IMAGES = 6000
"""Subnets are compared on these, and a search over thousands finds what merely suits them: the more there are, the
less of that. Each subnet sees some of them, so that more cost nothing but training images."""
CHOICE_IMAGES = 3000
"""The standard error of an accuracy near 90% is 0.5 points: few finalists are compared, on the same images."""
CALIBRATION_IMAGES = 2000
"""As published for batch normalisation (once-for-all, appendix B)."""
TEST_IMAGES = 10000
"""Of a folder of images: the standard error of an accuracy near 76% is 0.43 points, and a test takes minutes. Of all
50,000 of ImageNet it would be 0.19 points, at five times the cost."""
LEAST_TRAINING = 250
"""Of a folder of images: 100 for statistics, and 150 to choose by, with a standard error of 3.5 points near 76%."""
LEAST_TEST = 100
"""The standard error of an accuracy near 76% is 4.3 points: enough to see that a model works."""
SHIPPED = ("test", "calibration", "choice")
"""Splits that a supernet folder carries."""


@dataclass(frozen=True, eq=False)
class Split:
    """N images (uint8, N x H x W x C) and their N labels, the numbers of their classes."""

    images: Bytes
    labels: NDArray[np.integer[Any]]

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> Split:
        """The first `count` images, or all where there are fewer."""
        return Split(self.images[:count], self.labels[:count])

    def take(self, rows: NDArray[np.int64]) -> Split:
        """The images at `rows`, in that order."""
        return Split(self.images[rows], self.labels[rows])


def split_rows(count: int) -> dict[str, NDArray[np.int64]]:
    """Rows of `count` training images that each split takes; calibration lies inside train, all others are disjoint."""
    order = np.random.default_rng(SPLIT_SEED).permutation(count)
    predictor = min(PREDICTOR_IMAGES, int(count * HELD_OUT[0]))
    held_out = predictor + min(CHOICE_IMAGES, int(count * HELD_OUT[1]))
    train = order[held_out:]
    return {
        "predictor": order[:predictor],
        "choice": order[predictor:held_out],
        "train": train,
        "calibration": train[:CALIBRATION_IMAGES],
    }


def folder_rows(train: int, test: int) -> dict[str, NDArray[np.int64]]:
    """Rows of a folder's `train` and `test` images that each split takes: calibration and choice of train, disjoint.

    Where there are not enough for both, they share what there is, as two to three.
    """
    order = np.random.default_rng(SPLIT_SEED).permutation(train)
    wanted = CALIBRATION_IMAGES + CHOICE_IMAGES
    calibration = min(train, wanted) * CALIBRATION_IMAGES // wanted
    return {
        "calibration": order[:calibration],
        "choice": order[calibration:wanted],
        "test": tested_rows(test),
    }


def tested_rows(count: int) -> NDArray[np.int64]:
    """Rows of a folder's `count` images of another part that are a test."""
    return np.random.default_rng(SPLIT_SEED).permutation(count)[:TEST_IMAGES]


def pack(splits: Mapping[str, Split], path: Path) -> None:
    """Write the shipped splits as one LZMA-compressed safetensors file (a sixth smaller than gzip here)."""
    tensors = {}
    for name in SHIPPED:
        tensors[f"{name}.images"] = np.ascontiguousarray(splits[name].images)
        tensors[f"{name}.labels"] = np.ascontiguousarray(splits[name].labels)
    write_atomic(path, lzma.compress(safetensors.numpy.save(tensors), preset=9 | lzma.PRESET_EXTREME))


def unpack(path: Path) -> dict[str, Split]:
    """Read what `pack` wrote.

    Raises:
        InputError: the file is missing, cannot be read or is damaged.
    """
    try:
        tensors = safetensors.numpy.load(lzma.decompress(path.read_bytes()))
        return {name: Split(tensors[f"{name}.images"], tensors[f"{name}.labels"]) for name in SHIPPED}
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing: the supernet folder is not whole, restore or train it again") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; make it a readable file") from error
    except (lzma.LZMAError, SafetensorError, KeyError, EOFError) as error:
        raise InputError(f"{path} is damaged: restore it, or train the supernet again") from error
