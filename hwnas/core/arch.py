"""Architectures: one option index per decision, alone (`Arch`) or in bulk (`ArchBatch`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwnas.core.errors import InputError

Genes = NDArray[np.int16]
"""N x G option indices, one row an architecture."""


@dataclass(frozen=True)
class Choice:
    """One decision of a search space: its name and its options, in ascending cost."""

    name: str
    options: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.options)


@dataclass(frozen=True)
class Arch:
    """One architecture: `genes[i]` is the index of the option taken for the space's i-th choice.

    `space_id` is versioned (``ofa_mbv3/w1.2/v1``), so a stored architecture outlives changes of the space.
    """

    space_id: str
    genes: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """A document that `from_json` reads back to an equal architecture."""
        return {"space": self.space_id, "genes": list(self.genes)}

    @classmethod
    def from_json(cls, document: Any) -> Arch:
        """Read what `to_json` wrote.

        Raises:
            InputError: the document is not an architecture.
        """
        try:
            genes = document["genes"]
            if not isinstance(document["space"], str) or not all(type(gene) is int for gene in genes):
                raise TypeError
            return cls(document["space"], tuple(genes))
        except (KeyError, TypeError) as error:
            raise InputError('not an architecture: want {"space": "...", "genes": [0, 1, ...]}') from error


@dataclass(frozen=True, eq=False)
class ArchBatch:
    """N architectures of one space as an N x G int16 matrix; everything bulk works on these."""

    space_id: str
    genes: Genes

    def __post_init__(self) -> None:
        if self.genes.ndim != 2:
            raise ValueError(f"genes want two dimensions (N x G), got shape {self.genes.shape}")

    def __len__(self) -> int:
        return len(self.genes)

    def __iter__(self) -> Iterator[Arch]:
        for row in self.genes:
            yield Arch(self.space_id, tuple(int(gene) for gene in row))

    def __getitem__(self, index: int) -> Arch:
        return Arch(self.space_id, tuple(int(gene) for gene in self.genes[index]))

    def take(self, rows: NDArray[Any]) -> ArchBatch:
        """The architectures at `rows` (indices or a mask), in that order."""
        return ArchBatch(self.space_id, self.genes[rows])

    @classmethod
    def of(cls, archs: list[Arch]) -> ArchBatch:
        """Stack architectures of one space; an empty list is an error."""
        spaces = {arch.space_id for arch in archs}
        if len(spaces) != 1:
            raise ValueError(f"want architectures of one space, got {sorted(spaces) or 'none'}")
        return cls(spaces.pop(), np.array([arch.genes for arch in archs], dtype=np.int16))
