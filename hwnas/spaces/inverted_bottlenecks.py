"""Units of inverted bottlenecks (Cai et al., ICLR 2020, section 4.1), whatever is before and after them.

Genes are those of `hwnas.spaces.units`. An expansion is the middle's width by the width that comes in.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwnas.spaces.builder import Builder
from hwnas.spaces.elastic import make_divisible
from hwnas.spaces.units import Unit, UnitLayout, UnitSpace

SE_REDUCTION = 4
"""Squeeze-and-excitation squeezes to a quarter of the channels (Howard et al., ICCV 2019, section 5.2)."""


@dataclass(frozen=True, kw_only=True)
class BottleneckLayout(UnitLayout):
    """Before the units there is a block that has no choice and does not expand; `first_width` is its width."""

    feature_mix: int


@dataclass(frozen=True)
class InvertedBottlenecks(UnitSpace):
    """One member of a family, for a number of classes and input channels."""

    layout: BottleneckLayout

    first_block = 1

    def _block(self, net: Builder, name: str, unit: Unit, stride: int, kernel: int, expansion: int) -> None:
        entry, width = net.last, net.shape[0]
        middle = middle_width(width, expansion)
        net.conv(f"{name}.inverted_bottleneck", middle, act=unit.act)
        net.conv(f"{name}.depth_conv", middle, kernel=kernel, stride=stride, groups=middle, act=unit.act)
        if unit.se:
            net.squeeze_excite(f"{name}.se", make_divisible(middle // SE_REDUCTION))
        net.conv(f"{name}.point_linear", unit.width)
        if stride == 1 and width == unit.width:
            net.add(f"{name}.shortcut", entry)


def middle_width(channels: int, expansion: int) -> int:
    """Between the 1 x 1 convolutions of a block into which so many channels come."""
    return make_divisible(channels * expansion)
