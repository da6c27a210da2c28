"""A recipe that is asked for, with what it leaves out filled in from its data set: the one that is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tomlkit
from numpy.typing import NDArray

from hwnas.core.errors import InputError
from hwnas.core.progress import Progress, silent
from hwnas.ofa_supernet.data import SHIPPED, Split
from hwnas.ofa_supernet.datasets import READERS, Splits
from hwnas.ofa_supernet.pictures import FileSplit
from hwnas.ofa_supernet.recipe import parse_recipe, read_text

DIGITS = 4
"""Of a channel's mean and standard deviation; more than a network can tell."""
PACKED = 64 << 20
"""Bytes of images for test, calibration and choice that a supernet's folder gets at most: 64 MiB."""
MEASURED = 10_000
"""Training images over which these are taken; the first, as their order is random. Ten million pixels and more: what is
kept of the moments does not change with more images."""
CHUNK = 1000
"""Images decoded at a time."""


def asked(path: Path, data: Path | None = None, progress: Progress = silent) -> tuple[str, Splits]:
    """The whole text of the recipe at `path`, and its data by splits; `data` is a folder of images in place of its own.

    Raises:
        InputError: the recipe is wrong, or its data missing or damaged.
    """
    text = read_text(path)
    parse_recipe(text, path, whole=False)
    document = tomlkit.parse(text)
    if data is not None:
        for key in ("labels", "mean", "std", "data_sha256", "pack", "about"):
            document.pop(key, None)
        document["dataset"], document["data"] = "folder", str(data)
    recipe = parse_recipe(tomlkit.dumps(document), path, whole=False)
    dataset = READERS[recipe.dataset](recipe.data, recipe.size, progress)
    splits = dataset.splits(progress)
    held = sum(splits.held[name].images.nbytes for name in SHIPPED)
    own: dict[str, Any] = {"labels": list(dataset.labels), "data_sha256": dataset.sha256(), "pack": held <= PACKED}
    if recipe.data_sha256 not in (None, own["data_sha256"]):
        raise InputError(
            f"{recipe.data} holds other images than those of {path}: name the same, or train on these with --data"
        )
    if not recipe.mean:
        own["mean"], own["std"] = _moments(splits.train, progress)
    for key, value in own.items():
        if document.get(key) in (None, []):
            document[key] = value
    text = tomlkit.dumps(document)
    parse_recipe(text, path)
    return text, splits


def _moments(train: Split | FileSplit, progress: Progress) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, as 0..1."""
    taken = min(MEASURED, len(train))
    counts: NDArray[np.int64] | int = 0
    for start in range(0, taken, CHUNK):
        images = train.images[start : min(start + CHUNK, taken)]
        counts = counts + np.array(
            [np.bincount(channel.ravel(), minlength=256) for channel in np.moveaxis(images, -1, 0)]
        )
        progress("mean and deviation", min(start + CHUNK, taken), taken)
    counts = np.atleast_2d(counts)
    levels = np.arange(256) / 255
    means = [float(np.average(levels, weights=count)) for count in counts]
    pairs = zip(means, counts, strict=True)
    stds = [float(np.sqrt(np.average((levels - mean) ** 2, weights=count))) for mean, count in pairs]
    least = 10**-DIGITS  # of a channel that is the same everywhere
    return [round(mean, DIGITS) for mean in means], [max(least, round(std, DIGITS)) for std in stds]
