"""Search spaces, one file a space; `load` finds one by the id that stored architectures carry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from hwnas.core.errors import InputError
from hwnas.spaces import ofa_basic, ofa_mbv3, ofa_proxyless, ofa_resnet50
from hwnas.spaces.elastic import ElasticSpace, Layout
from hwnas.spaces.inverted_bottlenecks import InvertedBottlenecks
from hwnas.spaces.nasbench201 import NasBench201
from hwnas.spaces.units import UnitSpace

FAMILIES: tuple[Mapping[str, Layout], ...] = (
    ofa_mbv3.LAYOUTS,
    ofa_proxyless.LAYOUTS,
    ofa_resnet50.LAYOUTS,
    ofa_basic.LAYOUTS,
)
"""Once-for-all spaces by their ids, family by family; a layout makes its space."""
ONE_SIZE = re.compile(r"(?P<width>.+)-r(?P<size>[1-9]\d*)(?P<version>/v\d+)")
"""The id of a space for images of one size, such as ``ofa_mbv3/w1.0-r224/v1``: all else is as without the suffix."""
SIZES = range(32, 513, 4)
"""Sizes of images that a space can be made for, in pixels; the released networks use multiples of 4 from 128 to 260."""


def load(space_id: str, classes: int | None = None, in_channels: int | None = None) -> ElasticSpace:
    """The once-for-all space of this id, such as ``ofa_mbv3/w1.0/v1``, or at one size ``ofa_mbv3/w1.0-r224/v1``.

    `classes` and `in_channels` default to the space's own.

    Raises:
        InputError: no space has this id, or it cannot be made for such a size.
    """
    fixed = ONE_SIZE.fullmatch(space_id)
    name = space_id if fixed is None else fixed["width"] + fixed["version"]
    layout = next((family[name] for family in FAMILIES if name in family), None)
    if layout is None:
        raise InputError(f"no space is called {space_id!r}: choose one of {', '.join(known())}")
    if fixed is not None:
        size = int(fixed["size"])
        if size not in SIZES:
            raise InputError(
                f"{space_id} is for images of {size} x {size}: take a multiple of {SIZES.step} from {SIZES[0]} to "
                f"{SIZES[-1]}"
            )
        layout = replace(layout, resolutions=(size,))
    classes = layout.classes if classes is None else classes
    return layout.space(space_id, classes, layout.in_channels if in_channels is None else in_channels)


def load_bottlenecks(space_id: str, classes: int | None = None, in_channels: int | None = None) -> InvertedBottlenecks:
    """The same, of inverted bottlenecks.

    Raises:
        InputError: it has other blocks, or is none.
    """
    space = load(space_id, classes, in_channels)
    if not isinstance(space, InvertedBottlenecks):
        raise InputError(f"{space_id} has other blocks than inverted bottlenecks: choose a space that has them")
    return space


def load_units(space_id: str, classes: int | None = None, in_channels: int | None = None) -> UnitSpace:
    """The same, of units whose blocks are elastic in number: what can be trained here.

    Raises:
        InputError: it is made of something else.
    """
    space = load(space_id, classes, in_channels)
    if not isinstance(space, UnitSpace):
        able = [name for name in known() if isinstance(load(name), UnitSpace)]
        raise InputError(f"{space_id} cannot be trained here: choose one of {', '.join(able)}")
    return space


def known() -> tuple[str, ...]:
    """The ids of all once-for-all spaces."""
    return tuple(name for family in FAMILIES for name in family)


def nas_bench_201(space_id: str, classes: int = 10, in_channels: int = 3) -> NasBench201:
    """The cell space; there is one version of it."""
    return NasBench201(classes, in_channels, space_id)
