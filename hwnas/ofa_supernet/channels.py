"""Which channels of a network lie inside its blocks, who writes and who reads them, and in what order they belong.

A narrower block takes the first channels, so the best ones should come first (channel sorting: once-for-all, section
3.2). Whatever order they are in, the full network computes the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from hwnas.core.net import NetSpec, Op
from hwnas.spaces import inverted_bottlenecks
from hwnas.spaces.elastic import part_of


@dataclass(frozen=True)
class Middle:
    """Channels that operators of one block pass to each other."""

    writers: tuple[Op, ...]
    """Whose outputs they are, or are scaled by."""
    readers: tuple[Op, ...]
    """What the weights of the first make of a channel is how important it is."""
    width: Callable[[int], int] | None
    """How many of them an expansion takes; None where that is no choice of its own."""


def middles(net: NetSpec) -> Iterator[Middle]:
    """Of every elastic block of a once-for-all network, in the order in which they are to be sorted."""
    ops = {op.name: op for op in net.ops}
    for name in ops:
        block, _, last = name.rpartition(".")

        def named(*names: str, block: str = block) -> tuple[Op, ...]:
            return tuple(ops[f"{block}.{name}"] for name in names if f"{block}.{name}" in ops)

        expands = named("inverted_bottleneck")
        if last == "point_linear" and expands:
            channels = expands[0].in_channels
            yield Middle(
                (*expands, *named("depth_conv", "se.expand")),
                named("point_linear", "se.reduce"),
                partial(inverted_bottlenecks.middle_width, channels),
            )
            if named("se.expand"):
                yield Middle(named("se.reduce"), named("se.expand"), None)
        elif last == "conv3":
            width = partial(part_of, ops[name].out_shape[0])
            yield Middle(named("conv2"), named("conv3"), width)
            yield Middle(named("conv1"), named("conv2"), width)
        elif last == "conv2" and not named("conv3"):
            yield Middle(named("conv1"), named("conv2"), partial(part_of, ops[name].out_shape[0]))


def order_within(importance: Tensor, prefixes: Sequence[int]) -> Tensor:
    """Indices of C channels, most important first, none moved across the end of a prefix (a number of channels)."""
    ends = sorted({0, len(importance), *(end for end in prefixes if end < len(importance))})
    parts = [
        torch.argsort(importance[start:end], descending=True, stable=True) + start for start, end in pairwise(ends)
    ]
    return torch.cat(parts)
