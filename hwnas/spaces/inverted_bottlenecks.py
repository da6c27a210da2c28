"""Once-for-all spaces of inverted bottlenecks (Cai et al., ICLR 2020, section 4.1), whatever is before and after them.

Genes, in order: input resolution, depth of each unit that has a choice, then (kernel, expansion) of each block
position, unit by unit; the kernel of a fused block is no choice. A block position beyond its unit's depth is skipped,
and its genes are inactive.
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
from hwnas.spaces.elastic import ElasticSpace, Layout, make_divisible

FUSED_KERNEL = 3
"""Of fused blocks, as published (Tan and Le, ICML 2021, table 4); larger ones cost with the square of their size."""
SE_REDUCTION = 4
"""Squeeze-and-excitation squeezes to a quarter of the channels (Howard et al., ICCV 2019, section 5.2)."""


@dataclass(frozen=True)
class Unit:
    """One stage: its blocks share a width; the first one has the stride."""

    width: int
    stride: int
    act: Activation
    se: bool
    single: bool = False
    """It has one block, and no choice of depth."""
    fused: bool = False
    """One full convolution is in the place of the expanding and the depthwise one (Fused-MBConv: Tan and Le,
    EfficientNetV2, ICML 2021, section 3.2)."""


@dataclass(frozen=True, kw_only=True)
class BottleneckLayout(Layout):
    """Widths are channels after rounding."""

    stem: int
    stem_stride: int
    first_width: int
    """Of the first block, which has no choice and does not expand."""
    units: tuple[Unit, ...]
    feature_mix: int
    kernels: tuple[int, ...]
    expansions: tuple[int, ...]
    depths: tuple[int, ...]

    @property
    def max_depth(self) -> int:
        return self.depths[-1]


@dataclass(frozen=True)
class InvertedBottlenecks(ElasticSpace):
    """One member of a family, for a number of classes and input channels."""

    layout: BottleneckLayout

    norm_eps = NORM_EPS

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        layout = self.layout
        named = [Choice("resolution", layout.resolutions)]
        named += [Choice(f"unit{unit}.depth", layout.depths) for unit in self._depth_genes]
        for unit, position in self._positions:
            if not layout.units[unit].fused:
                named.append(Choice(f"unit{unit}.block{position}.kernel", layout.kernels))
            named.append(Choice(f"unit{unit}.block{position}.expansion", layout.expansions))
        return tuple(named)

    @property
    def kernels(self) -> tuple[int, ...]:
        return self.layout.kernels

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
        genes: dict[tuple[int, int], tuple[int, ...]] = {}
        first = 1 + len(self._depth_genes)
        for unit, position in self._positions:
            after = first + (1 if self.layout.units[unit].fused else 2)
            genes[unit, position] = tuple(range(first, after))
            first = after
        return genes

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
        values = [resolution, *depths]
        for (unit, _), kernel, expansion in zip(self._positions, kernels, expansions, strict=True):
            fused = self.layout.units[unit].fused
            if fused and kernel != FUSED_KERNEL:
                raise InputError(f"the kernel of a fused block of {self.id} is {FUSED_KERNEL}, not {kernel}")
            values += [expansion] if fused else [kernel, expansion]
        return self.of_values(values)

    def lower(self, arch: Arch) -> NetSpec:
        """The network of an architecture, at its own resolution."""
        values = self.values(arch)
        genes = self._block_genes.values()
        kernels = [values[own[0]] if len(own) == 2 else FUSED_KERNEL for own in genes]
        depths = values[1 : 1 + len(self._depth_genes)]
        return self.network(kernels, [values[own[-1]] for own in genes], list(depths), values[0])

    def network(self, kernels: list[int], expansions: list[int], depths: list[int], resolution: int) -> NetSpec:
        """The network of option values; unlike `arch`, any resolution and odd kernel will do."""
        net = self._builder((self.in_channels, resolution, resolution))
        self._stem(net)
        for index, (unit, position) in enumerate(self._positions):
            gene = self._depth_genes.get(unit)
            if gene is None or position < depths[gene - 1]:
                self._block(net, unit, position, kernels[index], expansions[index])
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
        kernel = FUSED_KERNEL if self.layout.units[unit].fused else self.layout.kernels[options[-2]]
        self._block(net, unit, position, kernel, self.layout.expansions[options[-1]])
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

    @abstractmethod
    def _stem(self, net: Builder) -> None:
        """What comes before the units, the first block included."""

    def _block(self, net: Builder, unit: int, position: int, kernel: int, expansion: int) -> None:
        spec = self.layout.units[unit]
        stride = spec.stride if position == 0 else 1
        entry, width = net.last, net.shape[0]
        middle = middle_width(width, expansion)
        net.block = _block_name(unit, position)
        name = f"blocks.{1 + self._positions.index((unit, position))}"
        if spec.fused:
            net.conv(f"{name}.fused_conv", middle, kernel=kernel, stride=stride, act=spec.act)
        else:
            net.conv(f"{name}.inverted_bottleneck", middle, act=spec.act)
            net.conv(f"{name}.depth_conv", middle, kernel=kernel, stride=stride, groups=middle, act=spec.act)
        if spec.se:
            net.squeeze_excite(f"{name}.se", make_divisible(middle // SE_REDUCTION))
        net.conv(f"{name}.point_linear", spec.width)
        if stride == 1 and width == spec.width:
            net.add(f"{name}.shortcut", entry)

    @abstractmethod
    def _head(self, net: Builder) -> None:
        """What comes after the units."""


def middle_width(channels: int, expansion: int) -> int:
    """Between the 1 x 1 convolutions of a block into which so many channels come."""
    return make_divisible(channels * expansion)


def _block_name(unit: int, position: int) -> str:
    return f"unit{unit}.block{position}"
