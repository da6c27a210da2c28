"""`PublishedWithImages`: an imported supernet and its user's own images: all that a package is made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hwnas.core.images import ImageSource, Preprocessing
from hwnas.core.progress import Progress, silent
from hwnas.ofa_supernet.data import Split
from hwnas.ofa_supernet.folder import refuse_damaged_weights
from hwnas.ofa_supernet.image_folder import ImageFolder
from hwnas.ofa_supernet.pictures import Cut, Kept, Pictures, distorted, middle, refuse_damaged
from hwnas.ofa_supernet.published import PublishedFolder
from hwnas.spaces.elastic import ElasticSpace

if TYPE_CHECKING:
    from PIL.Image import Image

    from hwnas.ofa_supernet.network import OfaSupernet

CUT_SEED = 20200524
"""With the number of a calibration image, what it is cut by; any constant will do, as long as it never changes."""


@dataclass(frozen=True, eq=False)
class FileSplit:
    """N images that are decoded when they are asked for, and their N labels."""

    images: ImageSource
    labels: NDArray[np.integer[Any]]

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> Split:
        """The first `count` images, or all where there are fewer."""
        return Split(self.images[:count], self.labels[:count])


@dataclass(frozen=True)
class PublishedWithImages:
    """A published supernet, of which the weights were imported, with images of its classes."""

    published: PublishedFolder
    folder: ImageFolder

    @property
    def path(self) -> Path:
        return self.published.path

    @property
    def space(self) -> ElasticSpace:
        """Its search space."""
        return self.published.space

    @property
    def dataset(self) -> str:
        """What it was trained on."""
        return self.published.dataset

    @property
    def images_from(self) -> str:
        """The folder's name, and how much it holds."""
        return self.folder.told

    @property
    def labels(self) -> list[str]:
        """The names of the classes' folders, in the order of its outputs."""
        return list(self.folder.labels)

    @property
    def mean(self) -> list[float]:
        """Of each channel."""
        return self.published.mean

    @property
    def std(self) -> list[float]:
        """Of each channel."""
        return self.published.std

    @property
    def crop(self) -> float | None:
        return self.published.crop

    @property
    def predictor_path(self) -> Path:
        return self.published.predictor_path

    @property
    def required(self) -> frozenset[str]:
        """What its source says was imported."""
        return self.published.required

    @property
    def remedy(self) -> str:
        """What to do where a file is damaged."""
        return self.published.remedy

    @property
    def told(self) -> str:
        """Which parts there are."""
        return self.published.told

    @cached_property
    def _splits(self) -> dict[str, FileSplit]:
        """Every finalist sees calibration and choice, so these are kept; the test comes once, and would take most."""
        size = self.published.resolution
        shorter = Preprocessing(size, tuple(self.mean), tuple(self.std), self.crop).shorter_side
        tested = partial(_tested, shorter=shorter)
        cuts: dict[str, Cut] = {"calibration": _calibrated, "choice": tested, "test": tested}
        splits = {}
        for name, drawn in self.folder.drawn.items():
            pictures = Pictures(drawn.paths, size, cuts[name])
            splits[name] = FileSplit(pictures if name == "test" else Kept(pictures), drawn.labels)
        return splits

    def images(self, split: str) -> FileSplit:
        """The "test", "calibration" or "choice" images."""
        return self._splits[split]

    def load(self) -> OfaSupernet:
        """The supernet with its weights; errors as of the published folder's."""
        return self.published.load()

    def refuse_damaged(self, progress: Progress = silent) -> None:
        """Look at the weights, and decode every image that was drawn, before anything long is begun.

        Raises:
            InputError: one is missing or damaged.
        """
        refuse_damaged_weights(self.published.weights_path, self.remedy)
        refuse_damaged([path for drawn in self.folder.drawn.values() for path in drawn.paths], progress)


def _calibrated(image: Image, row: int, size: int) -> Image:
    """As in training: statistics are recalibrated on distorted images in the published code, too."""
    return distorted(image, size, np.random.default_rng([CUT_SEED, row]))


def _tested(image: Image, row: int, size: int, *, shorter: int) -> Image:
    """As in the published test, for choosing as well."""
    return middle(image, size, shorter)
