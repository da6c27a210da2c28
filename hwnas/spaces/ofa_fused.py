"""A once-for-all space for small colour images: fused inverted bottlenecks first, depthwise ones after.

The order is EfficientNetV2's (Tan and Le, ICML 2021, section 3.2), and so is its reason: a full 3 x 3 convolution uses
a processor better than a depthwise one where there are few channels and many pixels, in training most of all. Genes are
those of `hwnas.spaces.inverted_bottlenecks`.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwnas.spaces.builder import Builder
from hwnas.spaces.inverted_bottlenecks import BottleneckLayout, InvertedBottlenecks, Unit


@dataclass(frozen=True, kw_only=True)
class FusedLayout(BottleneckLayout):
    """The fixed part of a member of this family; the stem has no block, so its width is the first block's input."""

    def space(self, space_id: str, classes: int, in_channels: int) -> OfaFused:
        return OfaFused(space_id, self, classes, in_channels)


LAYOUTS: dict[str, FusedLayout] = {
    "ofa_fused/small/v1": FusedLayout(
        stem=24,
        stem_stride=1,
        first_width=24,
        units=(
            Unit(32, 2, "relu", False, fused=True),
            Unit(64, 2, "relu", False, fused=True),
            Unit(128, 2, "h_swish", True),
        ),
        feature_mix=512,
        kernels=(3, 5),
        expansions=(2, 3, 4),
        depths=(2, 3, 4),
        resolutions=(24, 28, 32, 36),
        classes=10,
        in_channels=3,
    ),
}


@dataclass(frozen=True)
class OfaFused(InvertedBottlenecks):
    """One member of the family, for a number of classes and input channels."""

    def _stem(self, net: Builder) -> None:
        net.block = "stem"
        net.conv("first_conv", self.layout.stem, kernel=3, stride=self.layout.stem_stride, act="relu")

    def _head(self, net: Builder) -> None:
        net.block = "head"
        net.conv("feature_mix_layer", self.layout.feature_mix, act="h_swish")
        net.global_pool("avg_pool")
        net.linear("classifier", self.classes)
