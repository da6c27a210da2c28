"""`PublishedPredictor`: an accuracy model that once-for-all published, as an evaluator; numpy alone at search time.

Each is a network of three hidden layers over one-hot choices, fitted by its authors on thousands of subnets (Cai et
al., ICLR 2020, section 3.4). Its answers are accuracies on images held out of the training set, which are higher than
those on ImageNet's own validation images: what they are good for is to rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hwnas.core.arch import ArchBatch
from hwnas.core.errors import InputError
from hwnas.core.files import write_atomic
from hwnas.core.metrics import Floats
from hwnas.core.protocols import SearchSpace
from hwnas.evaluators.arrays import Arrays
from hwnas.evaluators.released import RESOLUTION, Released, recognised

FORMAT = "hwnas published accuracy predictor 1"
CHUNK = 20_000
"""Architectures a step of `evaluate`: bounds a layer's values to some tens of megabytes."""

Columns = NDArray[np.float32]
"""N x inputs, 0 or 1."""


@dataclass(frozen=True, eq=False)
class PublishedPredictor:
    """Made by `of` or `load`."""

    space: SearchSpace
    released: Released
    arrays: Arrays

    @classmethod
    def of(cls, space: SearchSpace, arrays: Arrays) -> PublishedPredictor:
        """From what a published file holds, for a space that it was made for.

        Raises:
            InputError: this is none of the released models, it is of other networks, or it knows none of the space's
                resolutions.
        """
        released = recognised(arrays)
        released.refuse_other(space.id)
        made = cls(space, released, {name: _without_denormals(array) for name, array in arrays.items()})
        if (made._resolution_columns < 0).all():
            raise released.unknown(made._resolutions[0])
        return made

    @property
    def name(self) -> str:
        """How documents call it."""
        return self.released.name

    @property
    def rmse(self) -> float | None:
        """Root mean square error of its answers less their mean error, as a fraction; None where it is not known."""
        return self.released.rmse

    @property
    def note(self) -> str:
        """What a reader of its answers must know."""
        return self.released.note

    def evaluate(self, batch: ArchBatch) -> Floats:
        """Predicted accuracies, fractions, N values.

        Raises:
            InputError: an architecture is at a resolution that the model was not fitted for.
        """
        parts = [np.zeros(0)]
        for start in range(0, len(batch), CHUNK):
            parts.append(self._answers(batch.take(np.arange(start, min(start + CHUNK, len(batch))))))
        return np.concatenate(parts)

    def columns(self, batch: ArchBatch) -> Columns:
        """The model's inputs.

        Raises:
            InputError: an architecture is at a resolution that the model was not fitted for.
        """
        if batch.space_id != self.space.id:
            raise ValueError(f"made for {self.space.id}, asked about {batch.space_id}")
        sizes = batch.genes[:, self._genes[RESOLUTION]]
        at_size = self._resolution_columns[sizes]
        if (at_size < 0).any():
            raise self.released.unknown(self._resolutions[sizes[np.argmax(at_size < 0)]])
        genes, starts = self._placed
        places = batch.genes[:, genes] + starts
        rows = np.arange(len(batch))
        columns = np.zeros((len(batch), self.released.columns), dtype=np.float32)
        columns[rows[:, None], places] = self.space.active(batch.genes)[:, genes]
        columns[rows, at_size] = 1
        return columns

    def save(self, path: Path) -> None:
        """Write as safetensors under the published names; whole or not at all."""
        header = {"format": FORMAT, "space": self.space.id}
        write_atomic(path, save(dict(self.arrays), metadata=header))

    @classmethod
    def load(cls, space: SearchSpace, path: Path) -> PublishedPredictor:
        """Read what `save` wrote.

        Raises:
            InputError: the file is missing, broken or made for another space.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                header = file.metadata() or {}
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror or error}; import the predictor again") from error
        except SafetensorError as error:
            raise InputError(f"{path} is broken: import the predictor again") from error
        if header.get("format") != FORMAT:
            raise InputError(f"{path} is no published accuracy predictor: import it again")
        try:
            return cls.of(space, arrays)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def _answers(self, batch: ArchBatch) -> Floats:
        values = self.columns(batch)
        for index, (weight, bias) in enumerate(self.released.layers):
            if index:
                np.maximum(values, 0, out=values)
            values = values @ self.arrays[weight].T
            if bias is not None:
                values += self.arrays[bias]
        answers: Floats = values[:, 0].astype(np.float64)
        return answers if self.released.constant is None else answers + self.arrays[self.released.constant].item()

    @cached_property
    def _genes(self) -> dict[str, int]:
        """The gene of each choice."""
        return {choice.name: gene for gene, choice in enumerate(self.space.choices)}

    @cached_property
    def _placed(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The gene of each input but the resolution, and the column of its first option."""
        starts = self.released.starts(self.space.choices)
        names = [name for name in self.released.inputs if name != RESOLUTION]
        return np.array([self._genes[name] for name in names]), np.array([starts[name] for name in names])

    @property
    def _resolutions(self) -> tuple[int, ...]:
        return self.space.choices[self._genes[RESOLUTION]].options

    @cached_property
    def _resolution_columns(self) -> NDArray[np.intp]:
        """The column of each of the space's resolutions; -1 where the model has none."""
        start = self.released.starts(self.space.choices)[RESOLUTION]
        known = {size: start + place for place, size in enumerate(self.released.resolutions)}
        return np.array([known.get(size, -1) for size in self._resolutions], dtype=np.intp)


def _without_denormals(array: Columns) -> Columns:
    """Numbers that are nearly nothing as 0: three quarters of the ResNet's, whose answers then come 48 times as fast.

    None of them counts beside the others: on 1,000 random inputs the answers stayed the same bit for bit.
    """
    return np.where(np.abs(array) < np.finfo(np.float32).tiny, np.float32(0), array)
