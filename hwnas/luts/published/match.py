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
from hwnas.spaces.inverted_bottlenecks import InvertedBottlenecks


@dataclass(frozen=True, eq=False)
class Match:
    """`timings` by our blocks' keys, of the image sizes that have whole networks; `used` are the keys behind them."""

    space: str
    timings: Mapping[str, Timing]
    used: frozenset[str]
    gap: str | None
    """The first key that the network which lacks the fewest rows does; None where a network is whole."""
    resolutions: tuple[int, ...] = ()
    """Image sizes at which no network lacks a row."""


def match(space_id: str, dialect: Dialect, published: Mapping[str, Timing], resolution: int | None) -> Match:
    """Look for every block of a space, or of its networks at one image size.

    Raises:
        InputError: no space of inverted bottlenecks has this id, or it has no images of this size.
    """
    space = spaces.load_bottlenecks(space_id)
    sizes = space.layout.resolutions if resolution is None else (resolution,)
    if resolution not in (None, *space.layout.resolutions):
        raise InputError(f"{space_id} has no images of {resolution} pixels: one of {space.layout.resolutions}")
    lacking = {size: _ends_lacking(space, size, dialect, published) for size in sizes}
    able = [size for size in sizes if not lacking[size]]
    if not able:
        return Match(space_id, {}, frozenset(), min(lacking.values(), key=len)[0])
    return _at(space, able, dialect, published)


def _ends_lacking(
    space: InvertedBottlenecks, size: int, dialect: Dialect, published: Mapping[str, Timing]
) -> list[str]:
    """Keys of stem and head that are missing: every network at this size has both, so most sizes are soon told."""
    option = space.layout.resolutions.index(size)
    ends = [space.block(slot, (option,)) for slot in space.slots() if slot.genes == (0,)]
    return [key for net in ends if net is not None for key in keys(net, dialect) if key not in published]


def _at(space: InvertedBottlenecks, sizes: list[int], dialect: Dialect, published: Mapping[str, Timing]) -> Match:
    space = replace(space, layout=replace(space.layout, resolutions=tuple(sizes)))
    index = BlockIndex(space)
    ways = {net.key(): keys(net, dialect) for net in index.nets}
    whole = {row: way for row, way in ways.items() if published.keys() >= set(way)}
    lacking = index.additive(np.array([net.key() not in whole for net in index.nets], dtype=np.float64))
    nearest = space.lower(lacking.least())
    missing = (key for block in nearest.blocks().values() for key in ways[block.key()] if key not in published)
    return Match(
        space.id,
        {row: total([published[key] for key in way]) for row, way in whole.items()},
        frozenset(key for way in whole.values() for key in way),
        next(missing, None),
        _whole_sizes(space, lacking),
    )


def _whole_sizes(space: InvertedBottlenecks, lacking: Additive) -> tuple[int, ...]:
    """The resolution is gene 0 and decides every slot."""
    return tuple(
        size
        for option, size in enumerate(space.layout.resolutions)
        if not any(table.take(option, axis=genes.index(0)).any() for genes, table in lacking.factors)
    )
