"""The once-for-all MobileNetV3 space (Cai et al., ICLR 2020, section 4.1) and a small-image preset of its family.

Genes are those of `hwnas.spaces.units`: resolution, five depths, twenty kernels and expansions.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwnas.spaces.builder import Builder
from hwnas.spaces.elastic import make_divisible
from hwnas.spaces.inverted_bottlenecks import BottleneckLayout, InvertedBottlenecks
from hwnas.spaces.units import Unit


@dataclass(frozen=True, kw_only=True)
class Layout(BottleneckLayout):
    """The fixed part of a member of this family."""

    final_expand: int

    def space(self, space_id: str, classes: int, in_channels: int) -> OfaMbv3:
        return OfaMbv3(space_id, self, classes, in_channels)


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
class OfaMbv3(InvertedBottlenecks):
    """One member of the family, for a number of classes and input channels."""

    layout: Layout

    def _stem(self, net: Builder) -> None:
        layout = self.layout
        net.block = "stem"
        net.conv("first_conv", layout.stem, kernel=3, stride=layout.stem_stride, act="h_swish")
        entry = net.last
        net.conv("blocks.0.depth_conv", layout.stem, kernel=3, groups=layout.stem, act="relu")
        net.conv("blocks.0.point_linear", layout.first_width)
        if layout.first_width == layout.stem:
            net.add("blocks.0.shortcut", entry)

    def _head(self, net: Builder) -> None:
        net.block = "head"
        net.conv("final_expand_layer", self.layout.final_expand, act="h_swish")
        net.global_pool("avg_pool")
        net.conv("feature_mix_layer", self.layout.feature_mix, norm=False, act="h_swish")
        net.linear("classifier", self.classes)
