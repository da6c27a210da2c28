"""Data sets to train on, each read by one function; `data.py` says which of their images serves what.

| name | files in its folder |
|---|---|
| fashion-mnist | the four IDX files, gzipped, of Xiao, Rasul and Vollgraf 2017 (MIT) |
| cifar10 | `data_batch_1.bin` to `data_batch_5.bin`, `test_batch.bin`: the binary version of Krizhevsky 2009 |
| cifar100 | `train.bin`, `test.bin`: the same |
| folder | `train/CLASS/*.jpg` and `val/CLASS/*.jpg`, any images |
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwnas.core.errors import InputError
from hwnas.core.images import Images
from hwnas.core.progress import Progress, silent
from hwnas.ofa_supernet.data import Split, split_rows, tested_rows
from hwnas.ofa_supernet.image_folder import TRAIN, VAL, Part, list_images
from hwnas.ofa_supernet.pictures import FileSplit, Pictures, middle_square

FASHION = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
"""As the README of Fashion-MNIST has them."""
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""As `batches.meta.txt` of CIFAR-10 has them."""
CIFAR100 = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
    "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
    "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest",
    "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard",
    "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid",
    "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine", "possum",
    "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper",
    "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone",
    "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf",
    "woman", "worm",
)  # fmt: skip
"""As `fine_label_names.txt` of CIFAR-100 has them."""
LEAST_A_CLASS = 20
"""Training images of a folder: fewer leave a class out of the held-out ones."""
IN_MEMORY = 1 << 31
"""Bytes of training images, decoded, up to which they are all decoded before training: 2 GiB."""

_IDX_HEADERS = {"images": 16, "labels": 8}
"""Bytes before the data in an IDX file of images (magic, count, rows, columns) and of labels (magic, count)."""
_CIFAR_PIXELS = 3 * 32 * 32
"""Bytes of an image in a CIFAR file: red, green and blue planes."""


@dataclass(frozen=True, eq=False)
class Splits:
    """Images to train on, and the others by what they serve: "calibration", "predictor", "choice" and "test"."""

    train: Split | FileSplit
    held: Mapping[str, Split]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images for training and for test, N and M of one size, and what their labels are called."""

    train: Split | FileSplit
    test: Split
    labels: Sequence[str]
    names: Sequence[str] = ()
    """Of the images of train and of val, in files of their own."""

    def sha256(self) -> str:
        """Of names and labels, in order: what the splits depend on, whatever decodes the images."""
        digest = hashlib.sha256("\n".join(self.names).encode())
        for labels in (self.train.labels, self.test.labels):
            digest.update(labels.astype("<i4").tobytes())
        return digest.hexdigest()

    def splits(self, progress: Progress = silent, training: bool = True) -> Splits:
        """By what they serve; see `data.py`. Of files, those to train on are decoded where that is asked for and small.

        Raises:
            InputError: an image is damaged.
        """
        rows = split_rows(len(self.train))
        train = self.train.take(rows["train"])
        if training and isinstance(train, FileSplit) and len(train) * train.images.size**2 * 3 <= IN_MEMORY:
            train = train.decoded("decode train", progress)
        held = {}
        for name in ("calibration", "predictor", "choice"):
            part = self.train.take(rows[name])
            held[name] = part.decoded(f"decode {name}", progress) if isinstance(part, FileSplit) else part
        return Splits(train, held | {"test": self.test})


Reader = Callable[[Path, int, Progress], Dataset]
"""Reads the data set in a folder; images of other sizes are cut to a size in pixels."""


def read_fashion_mnist(folder: Path, size: int = 28, progress: Progress = silent) -> Dataset:
    """Fashion-MNIST; 28 x 28 grey.

    Raises:
        InputError: a file is missing or damaged.
    """
    train, test = (Split(_idx(folder, part, "images"), _idx(folder, part, "labels")) for part in ("train", "t10k"))
    return Dataset(train, test, FASHION)


def read_cifar10(folder: Path, size: int = 32, progress: Progress = silent) -> Dataset:
    """CIFAR-10; 32 x 32 in colour.

    Raises:
        InputError: a file is missing or damaged.
    """
    parts = [_cifar(folder / f"data_batch_{number}.bin", 1, len(CIFAR10)) for number in range(1, 6)]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Dataset(Split(images, labels), Split(*_cifar(folder / "test_batch.bin", 1, len(CIFAR10))), CIFAR10)


def read_cifar100(folder: Path, size: int = 32, progress: Progress = silent) -> Dataset:
    """CIFAR-100 with its fine labels; 32 x 32 in colour.

    Raises:
        InputError: a file is missing or damaged.
    """
    train, test = (Split(*_cifar(folder / f"{part}.bin", 2, len(CIFAR100))) for part in ("train", "test"))
    return Dataset(train, test, CIFAR100)


def read_folder(folder: Path, size: int = 32, progress: Progress = silent) -> Dataset:
    """A folder of images; the middle of each, resized to `size` squared.

    Raises:
        InputError: it is no such folder, its parts have different classes, or an image is damaged.
    """
    parts = list_images(folder, progress)
    for name, files in parts[TRAIN].files.items():
        if len(files) < LEAST_A_CLASS:
            raise InputError(
                f"{folder / TRAIN / name} holds {len(files)} images, and {LEAST_A_CLASS} is the least: add some"
            )
    train = _files(parts[TRAIN], np.arange(parts[TRAIN].count), size)
    test = _files(parts[VAL], np.sort(tested_rows(parts[VAL].count)), size)
    names = [str(path.relative_to(folder)) for part in (train, test) for path in part.images.paths]
    return Dataset(train, test.decoded(f"decode {VAL}", progress), parts[TRAIN].labels, names)


READERS: dict[str, Reader] = {
    "fashion-mnist": read_fashion_mnist,
    "cifar10": read_cifar10,
    "cifar100": read_cifar100,
    "folder": read_folder,
}
"""Data sets by the name that recipes use."""


def _files(part: Part, rows: NDArray[np.int64], size: int) -> FileSplit:
    """The images at `rows` of a folder's part, cut to `size` squared when they are asked for."""
    drawn = part.at(rows)
    return FileSplit(Pictures(drawn.paths, size, middle_square), drawn.labels)


def _idx(folder: Path, part: str, what: str) -> Images:
    path = folder / f"{part}-{what}-idx{3 if what == 'images' else 1}-ubyte.gz"
    try:
        raw = gzip.decompress(path.read_bytes())
        values = np.frombuffer(raw, np.uint8, offset=_IDX_HEADERS[what])
        return values.reshape(-1, 28, 28, 1) if what == "images" else values
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is missing: install Debian's dataset-fashion-mnist, or set data in the recipe"
        ) from error
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{path} is damaged ({error}): fetch it again") from error


def _cifar(path: Path, label_bytes: int, classes: int) -> tuple[Images, NDArray[np.uint8]]:
    """Images, N x 32 x 32 x 3, and the last of the label bytes before each."""
    try:
        rows = np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, label_bytes + _CIFAR_PIXELS)
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing: data in the recipe names the folder of CIFAR's binary version") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged: fetch CIFAR's binary version again") from error
    labels = rows[:, label_bytes - 1]
    if not len(rows) or labels.max() >= classes:
        raise InputError(f"{path} has labels above {classes - 1}: fetch CIFAR's binary version again")
    return rows[:, label_bytes:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels
