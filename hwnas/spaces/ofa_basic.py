"""A once-for-all space for small images: units of basic blocks, two full 3 x 3 convolutions each.

The block is that of ResNet-18 (He et al., CVPR 2016, figure 5, left). Where a unit begins it has no shortcut: the first
convolution still sees the larger image and a maximum halves it after, as in networks that are made to train in minutes
(Jordan, "94% on CIFAR-10 in 3.29 seconds", 2024, section 3.1).

Genes are those of `hwnas.spaces.units`. An expansion is the middle's width in percent of the unit's.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwnas.spaces.builder import Builder
from hwnas.spaces.elastic import part_of
from hwnas.spaces.units import Unit, UnitLayout, UnitSpace


@dataclass(frozen=True, kw_only=True)
class BasicLayout(UnitLayout):
    """The fixed part of a member of this family; the stem is one convolution, whose inputs are normalised already."""

    def space(self, space_id: str, classes: int, in_channels: int) -> OfaBasic:
        return OfaBasic(space_id, self, classes, in_channels)


LAYOUTS: dict[str, BasicLayout] = {
    "ofa_basic/small/v1": BasicLayout(
        stem=24,
        stem_stride=1,
        first_width=24,
        units=(Unit(64, 2, "relu", single=True), Unit(128, 2, "relu"), Unit(256, 2, "relu")),
        kernels=(3,),
        expansions=(50, 62, 75, 88, 100),
        depths=(1, 2),
        resolutions=(22, 25, 28, 32),
        classes=10,
        in_channels=3,
    ),
}


@dataclass(frozen=True)
class OfaBasic(UnitSpace):
    """One member of the family, for a number of classes and input channels."""

    layout: BasicLayout

    def _stem(self, net: Builder) -> None:
        net.block = "stem"
        stem = self.layout
        net.conv("stem", stem.stem, kernel=3, stride=stem.stem_stride, norm=False, bias=True, act="relu")

    def _block(self, net: Builder, name: str, unit: Unit, stride: int, kernel: int, expansion: int) -> None:
        entry, width = net.last, net.shape[0]
        net.conv(f"{name}.conv1", part_of(unit.width, expansion), kernel=kernel, act=unit.act)
        if stride > 1:
            net.pool(f"{name}.pool", "max_pool", stride, stride)
        if stride > 1 or width != unit.width:
            net.conv(f"{name}.conv2", unit.width, kernel=kernel, act=unit.act)
        else:
            net.conv(f"{name}.conv2", unit.width, kernel=kernel)
            net.add(f"{name}.shortcut", entry, act=unit.act)

    def _head(self, net: Builder) -> None:
        net.block = "head"
        net.global_pool("pool")
        net.linear("classifier", self.classes)
