"""Which of the published networks a state dict is of, and its widths, classes and input channels, by the shapes.

Everything else (units, strides, activations, options) is the same in every published checkpoint of a family.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import Tensor

from hwnas.core.errors import InputError
from hwnas.spaces import ofa_mbv3, ofa_proxyless, ofa_resnet50
from hwnas.spaces.elastic import ElasticSpace, Layout
from hwnas.spaces.inverted_bottlenecks import BottleneckLayout
from hwnas.spaces.ofa_mbv3 import OfaMbv3
from hwnas.spaces.ofa_proxyless import OfaProxyless
from hwnas.spaces.ofa_resnet50 import OfaResNet50, ResNetLayout

RESOLUTIONS = tuple(range(32, 257, 4))
"""Input sizes in pixels; the published training drew from 128..224 in the same steps."""
MBV3 = OfaMbv3("ofa_mbv3/published/v1", replace(ofa_mbv3.published_layout(1.0), resolutions=RESOLUTIONS), 1000, 3)
PROXYLESS = OfaProxyless(
    "ofa_proxyless/published/v1", replace(ofa_proxyless.published_layout(1.3), resolutions=RESOLUTIONS), 1000, 3
)
RESNET50 = OfaResNet50(
    "ofa_resnet50/published/v1",
    # Of the released three middle widths two are equal, so that a choice between them is none; in others they are not.
    replace(ofa_resnet50.published_layout(), resolutions=RESOLUTIONS, stem_middles=(8, 16, 24)),
    1000,
    3,
)
"""Spaces of architectures: one for every checkpoint of a family, since they differ in widths alone."""

Size = Callable[..., int]
"""How long a layer's weight is along an axis, by default that of its outputs."""


def space_of(weights: Mapping[str, Tensor]) -> ElasticSpace:
    """The space whose full network has weights of these shapes, as far as its widths go.

    Raises:
        InputError: it is none of the published networks'.
    """

    def size(name: str, axis: int = 0) -> int:
        value = weights.get(f"{name}.weight")
        if not isinstance(value, Tensor) or value.ndim <= axis:
            raise not_published(f"it lacks {name}")
        if not value.is_floating_point() or not value.numel():
            raise not_published(f"{name} holds no floating-point numbers")
        return value.shape[axis]

    if "input_stem.0.weight" in weights:
        return _space(RESNET50, _resnet50(size), size("input_stem.0", 1), size("classifier"))
    family = PROXYLESS if "feature_mix_layer.norm.weight" in weights else MBV3
    return _space(family, _bottlenecks(family.layout, size), size("first_conv", 1), size("classifier"))


def _space(family: ElasticSpace, layout: Layout, in_channels: int, classes: int) -> ElasticSpace:
    return replace(layout, classes=classes, in_channels=in_channels).space(family.id, classes, in_channels)


def _bottlenecks(published: BottleneckLayout, size: Size) -> BottleneckLayout:
    firsts = [1 + index * published.max_depth for index in range(len(published.units))]
    units = zip(published.units, firsts, strict=True)
    layout = replace(
        published,
        stem=size("first_conv"),
        first_width=size("blocks.0.point_linear"),
        units=tuple(replace(unit, width=size(f"blocks.{first}.point_linear")) for unit, first in units),
        feature_mix=size("feature_mix_layer"),
    )
    return replace(layout, final_expand=size("final_expand_layer")) if isinstance(layout, ofa_mbv3.Layout) else layout


def _resnet50(size: Size) -> ResNetLayout:
    """Narrower widths are the published shares of the greatest, which the last unit tells most exactly."""
    scale = size("classifier", 1) / ofa_resnet50.UNIT_WIDTHS[-1]
    return replace(ofa_resnet50.published_layout(scale), resolutions=RESOLUTIONS)


def not_published(why: str) -> InputError:
    """The error for a state dict of something else."""
    return InputError(
        f"not a state dict of a published once-for-all network ({why}): pass what its checkpoint holds under "
        "'state_dict'"
    )
