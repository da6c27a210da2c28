"""The once-for-all ProxylessNAS space (Cai et al., ICLR 2020; its blocks are those of Cai, Zhu and Han, ICLR 2019).

Genes are those of `hwnas.spaces.units`: resolution, five depths, 21 kernels and expansions. The sixth
unit is one block, which is never skipped.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwnas.spaces.builder import Builder
from hwnas.spaces.elastic import make_divisible
from hwnas.spaces.inverted_bottlenecks import BottleneckLayout, InvertedBottlenecks
from hwnas.spaces.units import Unit

WIDTHS = (24, 40, 80, 96, 192, 320)
STRIDES = (2, 2, 2, 1, 2, 1)


@dataclass(frozen=True, kw_only=True)
class ProxylessLayout(BottleneckLayout):
    """The fixed part of a member of this family."""

    def space(self, space_id: str, classes: int, in_channels: int) -> OfaProxyless:
        return OfaProxyless(space_id, self, classes, in_channels)


def published_layout(width: float) -> ProxylessLayout:
    """The published network at a width multiplier; 1.3 was released."""

    def scaled(channels: int) -> int:
        return make_divisible(channels * width)

    return ProxylessLayout(
        stem=scaled(32),
        stem_stride=2,
        first_width=scaled(16),
        units=tuple(
            Unit(scaled(channels), stride, "relu6", False, single=index == len(WIDTHS) - 1)
            for index, (channels, stride) in enumerate(zip(WIDTHS, STRIDES, strict=True))
        ),
        feature_mix=scaled(1280),
        kernels=(3, 5, 7),
        expansions=(3, 4, 6),
        depths=(2, 3, 4),
        resolutions=tuple(range(128, 225, 4)),
        classes=1000,
        in_channels=3,
    )


LAYOUTS: dict[str, ProxylessLayout] = {"ofa_proxyless/w1.3/v1": published_layout(1.3)}
"""Every released member of the family by its versioned id."""


@dataclass(frozen=True)
class OfaProxyless(InvertedBottlenecks):
    """One member of the family, for a number of classes and input channels."""

    norm_eps = 1e-3
    """As the published networks have it, other than those of MobileNetV3."""

    def _stem(self, net: Builder) -> None:
        """The first block has no shortcut, even where its widths agree."""
        layout = self.layout
        net.block = "stem"
        net.conv("first_conv", layout.stem, kernel=3, stride=layout.stem_stride, act="relu6")
        net.conv("blocks.0.depth_conv", layout.stem, kernel=3, groups=layout.stem, act="relu6")
        net.conv("blocks.0.point_linear", layout.first_width)

    def _head(self, net: Builder) -> None:
        net.block = "head"
        net.conv("feature_mix_layer", self.layout.feature_mix, act="relu6")
        net.global_pool("avg_pool")
        net.linear("classifier", self.classes)
