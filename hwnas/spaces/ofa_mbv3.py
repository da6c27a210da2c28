"""The once-for-all MobileNetV3 space (Cai et al., ICLR 2020, section 4.1) and a small-image preset of its family.

Genes, in order: input resolution, depth of each unit, then (kernel, expansion) of each block position, unit by unit.
A block position beyond its unit's depth is skipped, and its two genes are inactive.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwnas.core.arch import Arch, Choice, Genes
from hwnas.core.errors import InputError
from hwnas.core.net import Activation, NetSpec, Shape
from hwnas.core.protocols import Slot
from hwnas.spaces.builder import Builder

SE_REDUCTION = 4
"""Squeeze-and-excitation squeezes to a quarter of the channels (Howard et al., ICCV 2019, section 5.2)."""


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round channels to a multiple of 8, never down by more than 10% (MobileNetV2's published rule)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


@dataclass(frozen=True)
class Unit:
    """One stage: its blocks share a width; the first one has the stride."""

    width: int
    stride: int
    act: Activation
    se: bool


@dataclass(frozen=True)
class Layout:
    """The fixed part of a family member; widths are channels after rounding."""

    stem: int
    stem_stride: int
    first_width: int
    units: tuple[Unit, ...]
    final_expand: int
    feature_mix: int
    kernels: tuple[int, ...]
    expansions: tuple[int, ...]
    depths: tuple[int, ...]
    resolutions: tuple[int, ...]
    classes: int
    in_channels: int

    @property
    def max_depth(self) -> int:
        return self.depths[-1]


def published_layout(width: float) -> Layout:
    """The published network at a width multiplier; 1.0 and 1.2 were released."""

    def scaled(channels: int) -> int:
        return make_divisible(channels * width)

    units = (
        Unit(scaled(24), 2, "relu", False),
        Unit(scaled(40), 2, "relu", True),
        Unit(scaled(80), 2, "h_swish", False),
        Unit(scaled(112), 1, "h_swish", True),
        Unit(scaled(160), 2, "h_swish", True),
    )
    return Layout(
        stem=scaled(16),
        stem_stride=2,
        first_width=scaled(16),
        units=units,
        final_expand=scaled(960),
        feature_mix=scaled(1280),
        kernels=(3, 5, 7),
        expansions=(3, 4, 6),
        depths=(2, 3, 4),
        resolutions=tuple(range(128, 225, 4)),
        classes=1000,
        in_channels=3,
    )


LAYOUTS: dict[str, Layout] = {
    "ofa_mbv3/w1.0/v1": published_layout(1.0),
    "ofa_mbv3/w1.2/v1": published_layout(1.2),
    "ofa_mbv3/small/v1": Layout(
        stem=8,
        stem_stride=1,
        first_width=8,
        units=(
            Unit(8, 2, "h_swish", True),
            Unit(24, 2, "h_swish", True),
            Unit(40, 1, "h_swish", True),
            Unit(56, 2, "h_swish", True),
            Unit(64, 2, "h_swish", True),
        ),
        final_expand=256,
        feature_mix=256,
        kernels=(3, 5, 7),
        expansions=(3, 4, 6),
        depths=(2, 3, 4),
        resolutions=(32, 48, 80, 104, 128),
        classes=10,
        in_channels=1,
    ),
}
"""Every released member of the family by its versioned id.

Widths and resolutions of the small preset are ours: together they spread its subnets over a factor above 10 in latency
on one CPU thread, with 2 ms in the middle (`benchmarks/small_space.py` measures both).
"""


@dataclass(frozen=True)
class OfaMbv3:
    """One member of the family, for a number of classes and input channels."""

    id: str
    layout: Layout
    classes: int
    in_channels: int

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        layout = self.layout
        named = [Choice("resolution", layout.resolutions)]
        named += [Choice(f"unit{unit}.depth", layout.depths) for unit in range(len(layout.units))]
        for unit, position in self._positions:
            named.append(Choice(f"unit{unit}.block{position}.kernel", layout.kernels))
            named.append(Choice(f"unit{unit}.block{position}.expansion", layout.expansions))
        return tuple(named)

    @cached_property
    def _positions(self) -> tuple[tuple[int, int], ...]:
        return tuple((u, p) for u in range(len(self.layout.units)) for p in range(self.layout.max_depth))

    def _kernel_gene(self, unit: int, position: int) -> int:
        return 1 + len(self.layout.units) + 2 * (unit * self.layout.max_depth + position)

    def active(self, genes: Genes) -> NDArray[np.bool_]:
        """Which genes bear on the network; N x G in, N x G out."""
        mask = np.ones(genes.shape, dtype=np.bool_)
        depths = np.array(self.layout.depths)
        for unit, position in self._positions:
            first = self._kernel_gene(unit, position)
            mask[:, first : first + 2] = (depths[genes[:, 1 + unit]] > position)[:, None]
        return mask

    def canonical(self, genes: Genes) -> Genes:
        """Genes of skipped blocks set to 0; N x G in, N x G out."""
        return np.where(self.active(genes), genes, 0).astype(np.int16)

    def arch(self, kernels: list[int], expansions: list[int], depths: list[int], resolution: int) -> Arch:
        """An architecture from option values: one kernel and expansion a block position, one depth a unit.

        Raises:
            InputError: a list has the wrong length, or a value is no option of this space.
        """
        values = [resolution, *depths]
        if len(kernels) != len(self._positions) or len(expansions) != len(self._positions):
            raise InputError(f"{self.id} wants {len(self._positions)} kernels and expansions")
        for kernel, expansion in zip(kernels, expansions, strict=True):
            values += [kernel, expansion]
        if len(values) != len(self.choices):
            raise InputError(f"{self.id} wants {len(self.layout.units)} depths")
        for value, choice in zip(values, self.choices, strict=True):
            if value not in choice.options:
                raise InputError(f"{choice.name} of {self.id} is one of {choice.options}, not {value}")
        row = [choice.options.index(value) for value, choice in zip(values, self.choices, strict=True)]
        genes = self.canonical(np.array([row], dtype=np.int16))[0]
        return Arch(self.id, tuple(int(gene) for gene in genes))

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

    def lower(self, arch: Arch) -> NetSpec:
        """The network of an architecture, at its own resolution."""
        values = self.values(arch)
        units = len(self.layout.units)
        blocks = values[1 + units :]
        return self.network(list(blocks[0::2]), list(blocks[1::2]), list(values[1 : 1 + units]), values[0])

    def network(self, kernels: list[int], expansions: list[int], depths: list[int], resolution: int) -> NetSpec:
        """The network of option values; unlike `arch`, any resolution and odd kernel will do."""
        net = Builder((self.in_channels, resolution, resolution))
        self._stem(net)
        for index, (unit, position) in enumerate(self._positions):
            if position < depths[unit]:
                self._block(net, unit, position, kernels[index], expansions[index])
        self._head(net)
        return net.build()

    def slots(self) -> tuple[Slot, ...]:
        """Stem, every block position, head; each depends on the resolution, a block on its unit's depth as well."""
        slots = [Slot("stem", (0,))]
        for unit, position in self._positions:
            first = self._kernel_gene(unit, position)
            slots.append(Slot(_block_name(unit, position), (0, 1 + unit, first, first + 1)))
        return (*slots, Slot("head", (0,)))

    def block(self, slot: Slot, options: tuple[int, ...]) -> NetSpec | None:
        """The block at `slot` for these option indices; None where the unit's depth skips it."""
        resolution = self.layout.resolutions[options[0]]
        if slot.name == "stem":
            net = Builder((self.in_channels, resolution, resolution))
            self._stem(net)
            return net.build()
        if slot.name == "head":
            last = len(self.layout.units)
            net = Builder(self._shape_after(last, resolution))
            self._head(net)
            return net.build()
        unit, position = divmod((slot.genes[2] - 1 - len(self.layout.units)) // 2, self.layout.max_depth)
        if position >= self.layout.depths[options[1]]:
            return None
        before = unit if position == 0 else unit + 1
        net = Builder(self._shape_after(before, resolution))
        self._block(net, unit, position, self.layout.kernels[options[2]], self.layout.expansions[options[3]])
        return net.build()

    def _shape_after(self, units: int, resolution: int) -> Shape:
        """Shape after the stem and this many units."""
        size = -(-resolution // self.layout.stem_stride)
        width = self.layout.first_width
        for unit in self.layout.units[:units]:
            size = -(-size // unit.stride)
            width = unit.width
        return (width, size, size)

    def _stem(self, net: Builder) -> None:
        layout = self.layout
        net.block = "stem"
        net.conv("first_conv", layout.stem, kernel=3, stride=layout.stem_stride, act="h_swish")
        entry = net.last
        net.conv("blocks.0.depth_conv", layout.stem, kernel=3, groups=layout.stem, act="relu")
        net.conv("blocks.0.point_linear", layout.first_width)
        if layout.first_width == layout.stem:
            net.add("blocks.0.shortcut", entry)

    def _block(self, net: Builder, unit: int, position: int, kernel: int, expansion: int) -> None:
        spec = self.layout.units[unit]
        stride = spec.stride if position == 0 else 1
        entry, width = net.last, net.shape[0]
        middle = make_divisible(round(width * expansion))
        net.block = _block_name(unit, position)
        name = f"blocks.{1 + unit * self.layout.max_depth + position}"
        net.conv(f"{name}.inverted_bottleneck", middle, act=spec.act)
        net.conv(f"{name}.depth_conv", middle, kernel=kernel, stride=stride, groups=middle, act=spec.act)
        if spec.se:
            net.squeeze_excite(f"{name}.se", make_divisible(middle // SE_REDUCTION))
        net.conv(f"{name}.point_linear", spec.width)
        if stride == 1 and width == spec.width:
            net.add(f"{name}.shortcut", entry)

    def _head(self, net: Builder) -> None:
        net.block = "head"
        net.conv("final_expand_layer", self.layout.final_expand, act="h_swish")
        net.global_pool("avg_pool")
        net.conv("feature_mix_layer", self.layout.feature_mix, norm=False, act="h_swish")
        net.linear("classifier", self.classes)


def _block_name(unit: int, position: int) -> str:
    return f"unit{unit}.block{position}"
