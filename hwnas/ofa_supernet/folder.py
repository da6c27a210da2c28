"""`SupernetFolder`: one trained supernet on disk. Only this module knows which files are in it.

| file | what |
|---|---|
| recipe.toml | how it was trained: space, data set, stages, seed |
| weights.safetensors | the shared weights |
| curve.csv | one row an epoch |
| subnets.jsonl | hits of random and of searched subnets, from which the predictor is fitted |
| predictor.safetensors | the accuracy predictor |
| images.safetensors.xz | test, calibration and choice images, unless they stay where they were read |
| README.md | the card |
| hashes.json | sha256 of each of these |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hwnas.core.errors import InputError
from hwnas.core.files import sha256, write_json
from hwnas.core.progress import Progress, silent
from hwnas.ofa_supernet.curve import CURVE
from hwnas.ofa_supernet.data import Split, unpack
from hwnas.ofa_supernet.datasets import READERS
from hwnas.ofa_supernet.recipe import Recipe, read_recipe
from hwnas.spaces.units import UnitSpace

if TYPE_CHECKING:
    from hwnas.ofa_supernet.network import OfaSupernet

RECIPE = "recipe.toml"
WEIGHTS = "weights.safetensors"

SUBNETS = "subnets.jsonl"
PREDICTOR = "predictor.safetensors"
IMAGES = "images.safetensors.xz"
CARD = "README.md"
HASHES = "hashes.json"


@dataclass(frozen=True)
class SupernetFolder:
    """A trained supernet; parts are read when asked for, and torch is loaded only with the weights."""

    path: Path
    data: Path | None = None
    """Where the images are, if they are neither in the folder nor where the recipe says."""
    _held: dict[str, Split] = field(default_factory=dict, repr=False, compare=False)
    """Its images, once they were asked for."""

    @cached_property
    def recipe(self) -> Recipe:
        """How it was trained."""
        return read_recipe(self.path / RECIPE)

    @cached_property
    def space(self) -> UnitSpace:
        """Its search space."""
        return self.recipe.open_space()

    @property
    def dataset(self) -> str:
        """What it was trained on."""
        recipe = self.recipe
        return f"the folder {recipe.data.name}" if recipe.dataset == "folder" else recipe.dataset

    @property
    def labels(self) -> list[str]:
        """The names of its classes, in the order of its outputs."""
        return self.recipe.labels

    @property
    def mean(self) -> list[float]:
        """Of each channel."""
        return self.recipe.mean

    @property
    def std(self) -> list[float]:
        """Of each channel."""
        return self.recipe.std

    @property
    def crop(self) -> float | None:
        """None: images are resized whole."""
        return None

    @property
    def images_from(self) -> str:
        """The data set that it was trained on."""
        return self.dataset

    @property
    def required(self) -> frozenset[str]:
        """What `specialize` needs."""
        return frozenset({RECIPE, WEIGHTS, PREDICTOR} | ({IMAGES} if self.packed else set()))

    @property
    def packed(self) -> bool:
        """Are its images in the folder?"""
        return self.recipe.pack is not False

    @property
    def remedy(self) -> str:
        """What to do where a file is damaged."""
        return "train or copy the supernet again"

    @property
    def told(self) -> str:
        """Nothing that the files do not."""
        return ""

    @property
    def predictor_path(self) -> Path:
        return self.path / PREDICTOR

    def _read(self, progress: Progress) -> Mapping[str, Split]:
        """The held-out images, from this folder or from that of the data set."""
        if self.packed:
            return unpack(self.path / IMAGES)
        recipe = self.recipe
        where = self.data or recipe.data
        if not where.is_dir():
            raise InputError(
                f"{self.path} holds no images, and there is no folder {where} with those that it was trained on: "
                "name it with --data FOLDER, or give --arch-only for an architecture alone"
            )
        dataset = READERS[recipe.dataset](where, recipe.size, progress)
        if recipe.data_sha256 not in (None, dataset.sha256()):
            raise InputError(f"{where} holds other images than those that {self.path} was trained on: name the same")
        return dataset.splits(progress, training=False).held

    def images(self, split: str) -> Split:
        """The "test", "calibration" or "choice" images."""
        self._held.update(self._held or self._read(silent))
        return self._held[split]

    def refuse_damaged(self, progress: Progress = silent) -> None:
        """Look at weights and images before anything long is begun; torch is not needed for it.

        Raises:
            InputError: one is missing or damaged.
        """
        refuse_damaged_weights(self.path / WEIGHTS, "restore it, or train the supernet again")
        self._held.update(self._held or self._read(progress))

    def load(self) -> OfaSupernet:
        """The supernet with its trained weights.

        Raises:
            InputError: the weights are missing, damaged or of another space.
        """
        from hwnas.ofa_supernet.checkpoint import load_weights
        from hwnas.ofa_supernet.network import OfaSupernet

        supernet = OfaSupernet(self.space)
        try:
            supernet.load_state_dict(load_weights(self.path / WEIGHTS))
        except RuntimeError as error:
            raise InputError(f"{self.path / WEIGHTS} does not fit {self.space.id}: train the supernet again") from error
        return supernet.eval()

    def weights_sha256(self) -> str:
        """What an accuracy was measured on."""
        return sha256(self.path / WEIGHTS)

    def write_hashes(self) -> None:
        """Seal the folder: the sha256 of every file that it consists of."""
        names = (RECIPE, WEIGHTS, CURVE, SUBNETS, PREDICTOR, IMAGES, CARD)
        present = [name for name in names if (self.path / name).exists()]
        digests = {name: sha256(self.path / name) for name in present}
        write_json(self.path / HASHES, digests)


def refuse_damaged_weights(path: Path, remedy: str) -> None:
    """Look whether a file of weights is there and as long as it says.

    Raises:
        InputError: it is not; the message has the remedy.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):  # the header tells how long the file must be
            pass
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is missing or damaged: {remedy}") from error
