"""Once-for-all spaces of units: blocks in a row, elastic in number, kernel and expansion; whatever blocks they are.

Genes, in order: input resolution, depth of each unit that has a choice, then kernel and expansion of each block
position, unit by unit; where kernels have one size, the expansion alone. A block position beyond its unit's depth is
skipped, and its genes are inactive.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwnas.core.arch import Arch, Choice, Genes
from hwnas.core.errors import InputError
from hwnas.core.net import NORM_EPS, Activation, NetSpec, Shape
from hwnas.core.protocols import Slot
from hwnas.spaces.builder import Builder
from hwnas.spaces.elastic import ElasticSpace, Layout


@dataclass(frozen=True)
class Unit:
    """One stage: its blocks share a width; the first one has the stride."""

    width: int
    stride: int
    act: Activation
    se: bool = False
    single: bool = False
    """It has one block, and no choice of depth."""


@dataclass(frozen=True, kw_only=True)
class UnitLayout(Layout):
    """Widths are channels after rounding."""

    stem: int
    stem_stride: int
    first_width: int
    """What the first unit reads."""
    units: tuple[Unit, ...]
    kernels: tuple[int, ...]
    expansions: tuple[int, ...]
    depths: tuple[int, ...]

    @property
    def max_depth(self) -> int:
        return self.depths[-1]


@dataclass(frozen=True)
class UnitSpace(ElasticSpace):
    """One member of a family, for a number of classes and input channels."""

    layout: UnitLayout

    norm_eps = NORM_EPS

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        layout = self.layout
        named = [Choice("resolution", layout.resolutions)]
        named += [Choice(f"unit{unit}.depth", layout.depths) for unit in self._depth_genes]
        for place in self._positions:
            if self._elastic_kernel:
                named.append(Choice(f"{_block_name(*place)}.kernel", layout.kernels))
            named.append(Choice(f"{_block_name(*place)}.expansion", layout.expansions))
        return tuple(named)

    @property
    def kernels(self) -> tuple[int, ...]:
        return self.layout.kernels

    @property
    def _elastic_kernel(self) -> bool:
        return len(self.layout.kernels) > 1

    @cached_property
    def _depth_genes(self) -> dict[int, int]:
        """The gene of the depth of each unit that has a choice."""
        elastic = [index for index, unit in enumerate(self.layout.units) if not unit.single]
        return {unit: 1 + place for place, unit in enumerate(elastic)}

    @cached_property
    def _positions(self) -> tuple[tuple[int, int], ...]:
        units = enumerate(self.layout.units)
        return tuple((u, p) for u, unit in units for p in range(1 if unit.single else self.layout.max_depth))

    @cached_property
    def _block_genes(self) -> dict[tuple[int, int], tuple[int, ...]]:
        """The genes of each position: its kernel's, if that is a choice, and its expansion's."""
        each, first = 1 + self._elastic_kernel, 1 + len(self._depth_genes)
        return {
            place: tuple(range(first + each * index, first + each * (index + 1)))
            for index, place in enumerate(self._positions)
        }

    def active(self, genes: Genes) -> NDArray[np.bool_]:
        """Which genes bear on the network; N x G in, N x G out."""
        mask = np.ones(genes.shape, dtype=np.bool_)
        depths = np.array(self.layout.depths)
        for (unit, position), own in self._block_genes.items():
            if unit in self._depth_genes:
                mask[:, list(own)] = (depths[genes[:, self._depth_genes[unit]]] > position)[:, None]
        return mask

    def arch(self, kernels: list[int], expansions: list[int], depths: list[int], resolution: int) -> Arch:
        """An architecture from option values: one kernel and expansion a block position, one depth a unit.

        A unit of a single block has no depth here.

        Raises:
            InputError: a list has the wrong length, or a value is no option of this space.
        """
        if len(kernels) != len(self._positions) or len(expansions) != len(self._positions):
            raise InputError(f"{self.id} wants {len(self._positions)} kernels and expansions")
        if len(depths) != len(self._depth_genes):
            raise InputError(f"{self.id} wants {len(self._depth_genes)} depths")
        if not self._elastic_kernel and set(kernels) != set(self.kernels):
            raise InputError(f"kernels of {self.id} are {self.kernels[0]}, not {kernels}")
        values = [resolution, *depths]
        for pair in zip(kernels, expansions, strict=True):
            values += pair if self._elastic_kernel else pair[1:]
        return self.of_values(values)

    def lower(self, arch: Arch) -> NetSpec:
        """The network of an architecture, at its own resolution."""
        values = self.values(arch)
        genes = self._block_genes.values()
        kernels = [values[own[0]] if self._elastic_kernel else self.kernels[0] for own in genes]
        depths = values[1 : 1 + len(self._depth_genes)]
        return self.network(kernels, [values[own[-1]] for own in genes], list(depths), values[0])

    def network(self, kernels: list[int], expansions: list[int], depths: list[int], resolution: int) -> NetSpec:
        """The network of option values; unlike `arch`, any resolution and odd kernel will do."""
        net = self._builder((self.in_channels, resolution, resolution))
        self._stem(net)
        for index, (unit, position) in enumerate(self._positions):
            gene = self._depth_genes.get(unit)
            if gene is None or position < depths[gene - 1]:
                self._begin(net, unit, position, kernels[index], expansions[index])
        self._head(net)
        return net.build()

    def slots(self) -> tuple[Slot, ...]:
        """Stem, every block position, head; each depends on the resolution, a block on its unit's depth as well."""
        slots = [Slot("stem", (0,))]
        for (unit, position), own in self._block_genes.items():
            depth = [self._depth_genes[unit]] if unit in self._depth_genes else []
            slots.append(Slot(_block_name(unit, position), (0, *depth, *own)))
        return (*slots, Slot("head", (0,)))

    def block(self, slot: Slot, options: tuple[int, ...]) -> NetSpec | None:
        """The block at `slot` for these option indices; None where the unit's depth skips it."""
        resolution = self.layout.resolutions[options[0]]
        if slot.name == "stem":
            net = self._builder((self.in_channels, resolution, resolution))
            self._stem(net)
            return net.build()
        if slot.name == "head":
            net = self._builder(self._shape_after(len(self.layout.units), resolution))
            self._head(net)
            return net.build()
        unit, position = next(place for place, own in self._block_genes.items() if own[-1] == slot.genes[-1])
        if unit in self._depth_genes and position >= self.layout.depths[options[1]]:
            return None
        before = unit if position == 0 else unit + 1
        net = self._builder(self._shape_after(before, resolution))
        kernel = self.layout.kernels[options[-2]] if self._elastic_kernel else self.kernels[0]
        self._begin(net, unit, position, kernel, self.layout.expansions[options[-1]])
        return net.build()

    def _builder(self, shape: Shape) -> Builder:
        return Builder(shape, self.norm_eps)

    def _shape_after(self, units: int, resolution: int) -> Shape:
        """Shape after the stem and this many units."""
        size = -(-resolution // self.layout.stem_stride)
        width = self.layout.first_width
        for unit in self.layout.units[:units]:
            size = -(-size // unit.stride)
            width = unit.width
        return (width, size, size)

    def _begin(self, net: Builder, unit: int, position: int, kernel: int, expansion: int) -> None:
        net.block = _block_name(unit, position)
        spec = self.layout.units[unit]
        name = f"blocks.{self.first_block + self._positions.index((unit, position))}"
        self._block(net, name, spec, spec.stride if position == 0 else 1, kernel, expansion)

    first_block = 0
    """The number, in the names of weights, of the first block that has choices."""

    @abstractmethod
    def _stem(self, net: Builder) -> None:
        """What comes before the units."""

    @abstractmethod
    def _block(self, net: Builder, name: str, unit: Unit, stride: int, kernel: int, expansion: int) -> None:
        """One block of a unit; its operators' names begin with `name`."""

    @abstractmethod
    def _head(self, net: Builder) -> None:
        """What comes after the units."""


def _block_name(unit: int, position: int) -> str:
    return f"unit{unit}.block{position}"
