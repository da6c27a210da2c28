"""What is asked of a supernet in a folder, whether it was trained here or published by others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hwnas.core.images import ImageSource
from hwnas.core.progress import Progress, silent
from hwnas.core.protocols import SearchSpace

if TYPE_CHECKING:
    from hwnas.ofa_supernet.data import Split
    from hwnas.ofa_supernet.network import OfaSupernet


class StoredSupernet(Protocol):
    """A supernet in a folder: its space, and what its inputs and outputs mean."""

    @property
    def path(self) -> Path: ...

    @property
    def space(self) -> SearchSpace: ...

    @property
    def dataset(self) -> str:
        """What it was trained on."""
        ...

    @property
    def labels(self) -> list[str]:
        """The names of its classes, in the order of its outputs."""
        ...

    @property
    def mean(self) -> list[float]:
        """Of each channel of its inputs, before it is taken out; pixels are 0..1."""
        ...

    @property
    def std(self) -> list[float]:
        """Of each channel of its inputs, before they are divided by it."""
        ...

    @property
    def crop(self) -> float | None:
        """Share of a resized image's shorter side that its middle keeps; None where images are resized whole."""
        ...

    @property
    def predictor_path(self) -> Path:
        """Where its accuracy predictor is, or would be."""
        ...

    @property
    def required(self) -> frozenset[str]:
        """The files without which the folder is not whole."""
        ...

    @property
    def remedy(self) -> str:
        """What to do where a file is damaged."""
        ...

    @property
    def told(self) -> str:
        """What else a check tells of it, after a comma; empty where there is nothing."""
        ...


class ImageSplit(Protocol):
    """N images and their N labels."""

    @property
    def images(self) -> ImageSource: ...

    @property
    def labels(self) -> NDArray[np.integer[Any]]: ...

    def __len__(self) -> int: ...

    def first(self, count: int) -> Split:
        """The first `count` images, or all where there are fewer."""
        ...


class SupernetWithImages(StoredSupernet, Protocol):
    """One whose subnets can be recalibrated, compared and tested."""

    @property
    def images_from(self) -> str:
        """What its images were drawn from, as packages tell it: nothing of this machine."""
        ...

    def load(self) -> OfaSupernet:
        """The supernet with its weights.

        Raises:
            InputError: they are missing, damaged or of another space.
        """
        ...

    def images(self, split: str) -> ImageSplit:
        """The "test", "calibration" or "choice" images."""
        ...

    def refuse_damaged(self, progress: Progress = silent) -> None:
        """Look at weights and images before anything long is begun; raises InputError where one is no good."""
        ...
