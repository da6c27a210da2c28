"""A user's own images, in torchvision's ImageFolder layout: `train/CLASS/*.JPEG` and `val/CLASS/*.JPEG`.

The number of a class is the rank of its folder's name. Which image serves what, `data.folder_rows` decides.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwnas.core.errors import InputError
from hwnas.core.progress import Progress
from hwnas.ofa_supernet.data import LEAST_TEST, LEAST_TRAINING, folder_rows
from hwnas.ofa_supernet.pictures import SUFFIXES

TRAIN, VAL = "train", "val"
LAYOUT = f"{TRAIN}/CLASS/*.JPEG and {VAL}/CLASS/*.JPEG"


@dataclass(frozen=True, eq=False)
class Drawn:
    """Files that serve one purpose, and the numbers of their classes."""

    paths: Sequence[Path]
    labels: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """What was found in a folder of images, and what was drawn from it, by split."""

    path: Path
    labels: Sequence[str]
    """The names of the classes' folders, in order."""
    counts: Mapping[str, int]
    """How many images there are in `train` and in `val`."""
    drawn: Mapping[str, Drawn]
    """By "calibration", "choice" and "test"."""

    @property
    def told(self) -> str:
        """What it is, without where it is on this machine."""
        name = _printable(self.path.resolve().name)
        return f"folder {name} ({self.counts[TRAIN]:,} images in {TRAIN}, {self.counts[VAL]:,} in {VAL})"


@dataclass(frozen=True, eq=False)
class Part:
    """The names of all images of `train` or of `val`, by class."""

    path: Path
    files: Mapping[str, Sequence[str]]

    @property
    def count(self) -> int:
        return sum(map(len, self.files.values()))

    @property
    def labels(self) -> list[str]:
        """The names of the classes' folders, in order."""
        return [_printable(name) for name in self.files]

    def at(self, rows: NDArray[np.int64]) -> Drawn:
        """The images at `rows` of the whole list, in that order."""
        ends = np.cumsum([len(names) for names in self.files.values()])
        labels = np.searchsorted(ends, rows, side="right")
        folders, starts = list(self.files), ends - [len(names) for names in self.files.values()]
        inside = [
            self.path / folders[label] / self.files[folders[label]][row - starts[label]]
            for row, label in zip(rows, labels, strict=True)
        ]
        return Drawn(inside, labels.astype(np.int64))


def read_image_folder(folder: Path, classes: int, progress: Progress) -> ImageFolder:
    """List a folder of images for a network of so many classes, and draw the splits; no image is opened.

    Raises:
        InputError: it is no such folder, or its classes are not the network's.
    """
    parts = list_images(folder, progress, classes)
    train, val = parts[TRAIN], parts[VAL]
    for part, least in ((train, LEAST_TRAINING), (val, LEAST_TEST)):
        if part.count < least:
            raise InputError(f"{part.path} holds {part.count} images, and {least} is the least: add some")
    rows = folder_rows(train.count, val.count)
    drawn = {name: (val if name == "test" else train).at(part) for name, part in rows.items()}
    counts = {TRAIN: train.count, VAL: val.count}
    return ImageFolder(folder, train.labels, counts, drawn)


def list_images(folder: Path, progress: Progress, classes: int | None = None) -> dict[str, Part]:
    """Train and val of a folder of images, of so many classes or of as many as there are; no image is opened.

    Raises:
        InputError: it is no such folder, its classes are others, or its parts have different ones.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder: name one that holds {LAYOUT}")
    if not (folder / TRAIN).is_dir():
        raise InputError(
            f"{folder} has no folder {TRAIN}: recalibration and choice need training images, {TRAIN}/CLASS/*.JPEG, "
            f"since those of {VAL} are for the test alone"
        )
    if not (folder / VAL).is_dir():
        raise InputError(f"{folder} has no folder {VAL}: the test needs images, {VAL}/CLASS/*.JPEG")
    train = Part(folder / TRAIN, _listed(folder / TRAIN, classes, progress))
    val = Part(folder / VAL, _listed(folder / VAL, classes, progress))
    other = sorted(train.files.keys() ^ val.files.keys())
    if other:
        raise InputError(
            f"{TRAIN} and {VAL} of {folder} have different classes, {_printable(other[0])} is one: "
            "give both the same folders"
        )
    return {TRAIN: train, VAL: val}


def _listed(part: Path, classes: int | None, progress: Progress) -> dict[str, list[str]]:
    """The names of the images in each class's folder, both in order.

    Raises:
        InputError: there is another number of folders, one has no image, or one cannot be read.
    """
    stage = f"list {part.name}"
    try:
        folders = sorted(entry.name for entry in os.scandir(part) if entry.is_dir() and not _hidden(entry))
        if classes is not None and len(folders) != classes:
            raise InputError(
                f"{part} has {len(folders)} folders, and the network {classes} classes: "
                "it wants a folder for each class that the network was trained on, named so that they sort as then"
            )
        files = {}
        for done, name in enumerate(folders):
            progress(stage, done, len(folders))
            files[name] = sorted(entry.name for entry in os.scandir(part / name) if _is_image(entry))
            if not files[name]:
                raise InputError(f"{part / _printable(name)} holds no image ({', '.join(sorted(SUFFIXES))}): add some")
    except OSError as error:
        raise InputError(f"cannot read {error.filename or part}: {error.strerror}; make it readable") from error
    progress(stage, len(files), len(files))
    return files


def _is_image(entry: os.DirEntry[str]) -> bool:
    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - a path for each of a million files is slow
    return suffix in SUFFIXES and not _hidden(entry) and entry.is_file()


def _hidden(entry: os.DirEntry[str]) -> bool:
    """What file managers leave beside images."""
    return entry.name.startswith(".")


def _printable(name: str) -> str:
    """A file's name in a document."""
    return name.encode(errors="replace").decode()
