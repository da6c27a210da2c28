"""What once-for-all spaces share: one fixed layout, choices by name, and architectures as their values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwnas.core.arch import Arch, Choice, Genes
from hwnas.core.errors import InputError
from hwnas.core.net import NetSpec
from hwnas.core.protocols import Slot


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round channels to a multiple of 8, never down by more than 10% (MobileNetV2's published rule)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def part_of(channels: int, percent: int) -> int:
    """So many percent of the channels, rounded."""
    return make_divisible(round(channels * (percent / 100)))


@dataclass(frozen=True, kw_only=True)
class Layout(ABC):
    """The fixed part of a family member: here, what it takes and gives; each family adds its own."""

    resolutions: tuple[int, ...]
    """Sizes of images, in pixels."""
    classes: int
    in_channels: int

    @abstractmethod
    def space(self, space_id: str, classes: int, in_channels: int) -> ElasticSpace:
        """The space of this layout, for other classes and input channels than its own."""


@dataclass(frozen=True)
class ElasticSpace(ABC):
    """Subnets of one supernet. Gene 0 is the resolution."""

    id: str
    layout: Layout
    classes: int
    in_channels: int

    @property
    @abstractmethod
    def choices(self) -> tuple[Choice, ...]: ...

    @property
    @abstractmethod
    def kernels(self) -> tuple[int, ...]:
        """Sizes that the kernel of an elastic convolution can have, ascending; of one size, none is elastic."""

    @abstractmethod
    def active(self, genes: Genes) -> NDArray[np.bool_]:
        """Which genes bear on the network; N x G in, N x G out."""

    def canonical(self, genes: Genes) -> Genes:
        """Genes that bear on nothing set to 0; N x G in, N x G out."""
        return np.where(self.active(genes), genes, 0).astype(np.int16)

    @abstractmethod
    def lower(self, arch: Arch) -> NetSpec:
        """The network of an architecture, at its own resolution."""

    @abstractmethod
    def slots(self) -> tuple[Slot, ...]: ...

    @abstractmethod
    def block(self, slot: Slot, options: tuple[int, ...]) -> NetSpec | None:
        """The block at `slot` for these option indices; None where it is skipped."""

    @cached_property
    def largest(self) -> Arch:
        """Every choice at its last option: the full network."""
        return Arch(self.id, tuple(len(choice) - 1 for choice in self.choices))

    @cached_property
    def smallest(self) -> Arch:
        """Every choice at its first option."""
        return Arch(self.id, (0,) * len(self.choices))

    def values(self, arch: Arch) -> tuple[int, ...]:
        """The option values that an architecture's genes stand for.

        Raises:
            InputError: the architecture belongs to another space, or a gene is out of range.
        """
        fits = arch.space_id == self.id and len(arch.genes) == len(self.choices)
        pairs = list(zip(arch.genes, self.choices, strict=False))
        if not fits or any(not 0 <= gene < len(choice) for gene, choice in pairs):
            raise InputError(f"not an architecture of {self.id}: {arch}")
        return tuple(choice.options[gene] for gene, choice in pairs)

    def of_values(self, values: Sequence[int]) -> Arch:
        """The architecture of one option value a choice, canonical.

        Raises:
            InputError: a value is no option of this space.
        """
        for value, choice in zip(values, self.choices, strict=True):
            if value not in choice.options:
                raise InputError(f"{choice.name} of {self.id} is one of {choice.options}, not {value}")
        row = [choice.options.index(value) for value, choice in zip(values, self.choices, strict=True)]
        genes = self.canonical(np.array([row], dtype=np.int16))[0]
        return Arch(self.id, tuple(int(gene) for gene in genes))
