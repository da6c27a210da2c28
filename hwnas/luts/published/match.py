"""Which blocks of a once-for-all space a published table has, and which networks are whole in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from hwnas import spaces
from hwnas.core.additive import Additive, BlockIndex
from hwnas.core.errors import InputError
from hwnas.luts.published.once_for_all import Dialect, keys
from hwnas.luts.published.timing import Timing, total
from hwnas.spaces.ofa_mbv3 import OfaMbv3


@dataclass(frozen=True, eq=False)
class Match:
    """`timings` by our blocks' keys; `used` are the published keys behind them."""

    space: OfaMbv3
    timings: Mapping[str, Timing]
    used: frozenset[str]
    gap: str | None
    """Of the network that lacks the fewest rows, the first key that is missing; None where a network lacks none."""
    resolutions: tuple[int, ...]
    """Image sizes at which no network lacks a row."""


def match(space_id: str, dialect: Dialect, published: Mapping[str, Timing], resolution: int | None) -> Match:
    """Look for every block of a space, or of its networks at one image size.

    Raises:
        InputError: no space has this id, or it has no images of this size.
    """
    space = spaces.load(space_id)
    if resolution is not None:
        if resolution not in space.layout.resolutions:
            raise InputError(f"{space_id} has no images of {resolution} pixels: one of {space.layout.resolutions}")
        space = replace(space, layout=replace(space.layout, resolutions=(resolution,)))
    index = BlockIndex(space)
    ways = {net.key(): keys(net, dialect) for net in index.nets}
    whole = {row: way for row, way in ways.items() if published.keys() >= set(way)}
    lacking = index.additive(np.array([net.key() not in whole for net in index.nets], dtype=np.float64))
    nearest = space.lower(lacking.least())
    missing = (key for block in nearest.blocks().values() for key in ways[block.key()] if key not in published)
    return Match(
        space,
        {row: total([published[key] for key in way]) for row, way in whole.items()},
        frozenset(key for way in whole.values() for key in way),
        next(missing, None),
        _whole_sizes(space, lacking),
    )


def _whole_sizes(space: OfaMbv3, lacking: Additive) -> tuple[int, ...]:
    """The resolution is gene 0 and decides every slot."""
    return tuple(
        size
        for option, size in enumerate(space.layout.resolutions)
        if not any(table.take(option, axis=genes.index(0)).any() for genes, table in lacking.factors)
    )
