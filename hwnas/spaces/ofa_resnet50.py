"""The once-for-all ResNet-50D space: depth, expansion and width are elastic (once-for-all's released `ofa_resnet50`).

ResNet-50D is He et al.'s network (CVPR 2016) with three convolutions in the stem and pooled shortcuts (He et al., "Bag
of tricks", CVPR 2019, section 4); strides are those of the 3 x 3 convolutions. The second convolution of the stem can
be left out.

Genes, in order: input resolution; of the stem, whether its second convolution is there, the width between its
convolutions and the width after them; the width of each unit; the depth of each unit; then the expansion of each block
position, unit by unit. Widths and expansions are percentages: a block's middle has so much of its unit's width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwnas.core.arch import Arch, Choice, Genes
from hwnas.core.errors import InputError
from hwnas.core.net import NetSpec, Shape
from hwnas.core.protocols import Slot
from hwnas.spaces.builder import Builder
from hwnas.spaces.elastic import ElasticSpace, Layout, make_divisible, part_of

STEM_WIDTH = 64
UNIT_WIDTHS = (256, 512, 1024, 2048)
LEAST_DEPTHS = (2, 2, 4, 2)
"""ResNet-50 has 3, 4, 6 and 3 blocks; each unit has at most two more than these."""
STRIDES = (1, 2, 2, 2)
STEM_STRIDES = (2, 2)
"""Of its first convolution, and of the pooling after it."""
STEM_DEPTH, STEM_MIDDLE, STEM_OUT = 1, 2, 3
"""Genes of the stem."""


@dataclass(frozen=True, kw_only=True)
class ResNetLayout(Layout):
    """Widths are channels after rounding: one an option, ascending."""

    stem_middles: tuple[int, ...]
    stem_widths: tuple[int, ...]
    unit_widths: tuple[tuple[int, ...], ...]
    extra_depths: tuple[int, ...]
    """What a unit's depth may be beyond the least."""
    widths: tuple[int, ...]
    """Of the greatest width, in percent."""
    expansions: tuple[int, ...]
    """A block's middle, in percent of its unit's width."""

    def space(self, space_id: str, classes: int, in_channels: int) -> OfaResNet50:
        return OfaResNet50(space_id, self, classes, in_channels)


def published_layout(scale: float = 1.0) -> ResNetLayout:
    """The published network; a greatest width `scale` times its own makes a narrower one of the same kind."""
    shares = (65, 80, 100)

    def scaled(channels: int) -> tuple[int, ...]:
        return tuple(make_divisible(channels * (scale * (share / 100))) for share in shares)

    stem_widths = scaled(STEM_WIDTH)
    return ResNetLayout(
        stem_middles=tuple(make_divisible(width // 2) for width in stem_widths),
        stem_widths=stem_widths,
        unit_widths=tuple(scaled(width) for width in UNIT_WIDTHS),
        extra_depths=(0, 1, 2),
        widths=shares,
        expansions=(20, 25, 35),
        resolutions=(128, 144, 160, 176, 192, 224, 240, 256),
        classes=1000,
        in_channels=3,
    )


LAYOUTS: dict[str, ResNetLayout] = {"ofa_resnet50/v1": published_layout()}
"""Every released member of the family by its versioned id; resolutions are those of the published accuracy model."""


@dataclass(frozen=True)
class OfaResNet50(ElasticSpace):
    """One member of the family, for a number of classes and input channels."""

    layout: ResNetLayout

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        layout, units = self.layout, range(len(LEAST_DEPTHS))
        named = [Choice("resolution", layout.resolutions), Choice("stem.depth", (0, 1))]
        named += [Choice(name, layout.widths) for name in ("stem.middle", "stem.width")]
        named += [Choice(f"unit{unit}.width", layout.widths) for unit in units]
        named += [Choice(f"unit{unit}.depth", self._depths(unit)) for unit in units]
        named += [Choice(f"{_block_name(*position)}.expansion", layout.expansions) for position in self._positions]
        return tuple(named)

    @property
    def kernels(self) -> tuple[int, ...]:
        return (3,)

    def _depths(self, unit: int) -> tuple[int, ...]:
        return tuple(LEAST_DEPTHS[unit] + extra for extra in self.layout.extra_depths)

    @cached_property
    def _positions(self) -> tuple[tuple[int, int], ...]:
        return tuple((unit, p) for unit in range(len(LEAST_DEPTHS)) for p in range(self._depths(unit)[-1]))

    def _width_gene(self, unit: int) -> int:
        """Before the first unit, that of the stem."""
        return STEM_OUT + 1 + unit

    def _depth_gene(self, unit: int) -> int:
        return self._width_gene(len(LEAST_DEPTHS)) + unit

    def _expansion_gene(self, position: int) -> int:
        return self._depth_gene(len(LEAST_DEPTHS)) + position

    def active(self, genes: Genes) -> NDArray[np.bool_]:
        """Which genes bear on the network; N x G in, N x G out."""
        mask = np.ones(genes.shape, dtype=np.bool_)
        for index, (unit, position) in enumerate(self._positions):
            depths = np.array(self._depths(unit))
            mask[:, self._expansion_gene(index)] = depths[genes[:, self._depth_gene(unit)]] > position
        return mask

    def canonical(self, genes: Genes) -> Genes:
        """Genes that bear on nothing set to 0, and of two options for the stem's middle that are as wide, the first."""
        found = super().canonical(genes)
        middles = self.layout.stem_middles
        found[:, STEM_MIDDLE] = np.array([middles.index(width) for width in middles])[found[:, STEM_MIDDLE]]
        return found

    def arch(
        self, depths: list[int], expansions: list[int], widths: list[int], resolution: int, stem_depth: int
    ) -> Arch:
        """An architecture from option values.

        `depths`: blocks of each unit; `expansions`: one a block position, percent; `widths`: of the stem's middle, the
        stem and each unit, percent; `stem_depth`: 1 with the stem's second convolution, 0 without.

        Raises:
            InputError: a list has the wrong length, or a value is no option of this space.
        """
        wanted = (len(LEAST_DEPTHS), len(self._positions), len(LEAST_DEPTHS) + 2)
        if (len(depths), len(expansions), len(widths)) != wanted:
            raise InputError("{} wants {} depths, {} expansions and {} widths".format(self.id, *wanted))
        return self.of_values([resolution, stem_depth, *widths, *depths, *expansions])

    def lower(self, arch: Arch) -> NetSpec:
        """The network of an architecture, at its own resolution."""
        self.values(arch)
        genes, net = arch.genes, self._start(arch.genes[0])
        self._stem(net, *genes[STEM_DEPTH : STEM_OUT + 1])
        for index, (unit, position) in enumerate(self._positions):
            if position < self._depths(unit)[genes[self._depth_gene(unit)]]:
                self._block(net, index, genes[self._width_gene(unit)], genes[self._expansion_gene(index)])
        self._head(net)
        return net.build()

    def slots(self) -> tuple[Slot, ...]:
        """Stem, every block position, head; a unit's first block depends on the width before it as well."""
        slots = [Slot("stem", (0, STEM_DEPTH, STEM_MIDDLE, STEM_OUT))]
        for index, (unit, position) in enumerate(self._positions):
            width = self._width_gene(unit)
            before = [width - 1] if position == 0 else []
            depth = [self._depth_gene(unit)] if position >= LEAST_DEPTHS[unit] else []
            genes = (0, *before, width, *depth, self._expansion_gene(index))
            slots.append(Slot(_block_name(unit, position), genes))
        return (*slots, Slot("head", (0, self._width_gene(len(LEAST_DEPTHS) - 1))))

    def block(self, slot: Slot, options: tuple[int, ...]) -> NetSpec | None:
        """The block at `slot` for these option indices; None where the unit's depth skips it."""
        genes = dict(zip(slot.genes, options, strict=True))
        if slot.name == "stem":
            net = self._start(genes[0])
            self._stem(net, *(genes[gene] for gene in (STEM_DEPTH, STEM_MIDDLE, STEM_OUT)))
            return net.build()
        if slot.name == "head":
            net = Builder(self._shape_after(len(LEAST_DEPTHS), genes[0], genes[slot.genes[-1]]))
            self._head(net)
            return net.build()
        index = slot.genes[-1] - self._expansion_gene(0)
        unit, position = self._positions[index]
        width = self._width_gene(unit)
        if position >= LEAST_DEPTHS[unit] and position >= self._depths(unit)[genes[self._depth_gene(unit)]]:
            return None
        first = position == 0
        net = Builder(self._shape_after(unit + (not first), genes[0], genes[width - first]))
        self._block(net, index, genes[width], genes[slot.genes[-1]])
        return net.build()

    def _start(self, resolution: int) -> Builder:
        size = self.layout.resolutions[resolution]
        return Builder((self.in_channels, size, size))

    def _shape_after(self, units: int, resolution: int, width: int) -> Shape:
        """Shape after the stem and this many units, the last of which has the width of this option."""
        size = self.layout.resolutions[resolution]
        for stride in (*STEM_STRIDES, *STRIDES[:units]):
            size = -(-size // stride)
        widths = (self.layout.stem_widths, *self.layout.unit_widths)[units]
        return (widths[width], size, size)

    def _stem(self, net: Builder, depth: int, middle: int, width: int) -> None:
        net.block = "stem"
        channels = self.layout.stem_middles[middle]
        net.conv("input_stem.0", channels, kernel=3, stride=STEM_STRIDES[0], act="relu")
        if depth:
            entry = net.last
            net.conv("input_stem.1", channels, kernel=3, act="relu")
            net.add("input_stem.1.shortcut", entry)
        net.conv("input_stem.2", self.layout.stem_widths[width], kernel=3, act="relu")
        net.pool("max_pool", "max_pool", 3, STEM_STRIDES[1])

    def _block(self, net: Builder, index: int, width: int, expansion: int) -> None:
        unit, position = self._positions[index]
        stride = STRIDES[unit] if position == 0 else 1
        out = self.layout.unit_widths[unit][width]
        middle = part_of(out, self.layout.expansions[expansion])
        net.block = _block_name(unit, position)
        name, entry = f"blocks.{index}", net.last
        net.conv(f"{name}.conv1", middle, act="relu")
        net.conv(f"{name}.conv2", middle, kernel=3, stride=stride, act="relu")
        last = net.conv(f"{name}.conv3", out)
        if position == 0:
            if stride > 1:
                entry = net.pool(f"{name}.downsample.pool", "avg_pool", stride, stride, source=entry)
            entry = net.conv(f"{name}.downsample", out, source=entry)
        net.add(f"{name}.shortcut", entry, last, act="relu")

    def _head(self, net: Builder) -> None:
        net.block = "head"
        net.global_pool("global_avg_pool")
        net.linear("classifier", self.classes)


def _block_name(unit: int, position: int) -> str:
    return f"unit{unit}.block{position}"
