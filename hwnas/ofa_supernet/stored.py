"""What is asked of a supernet in a folder, whether it was trained here or published by others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

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


class SupernetWithImages(StoredSupernet, Protocol):
    """One whose subnets can be recalibrated, compared and tested."""

    def load(self) -> OfaSupernet:
        """The supernet with its weights.

        Raises:
            InputError: they are missing, damaged or of another space.
        """
        ...

    def images(self, split: str) -> Split:
        """The "test", "calibration" or "choice" images."""
        ...

    def refuse_damaged(self) -> None:
        """Look at weights and images before anything long is begun; raises InputError where one is no good."""
        ...
