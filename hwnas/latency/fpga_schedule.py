"""The graph of tile tasks that an FPGA accelerator runs, and the walk that finds when each is done.

As in FNAS (Jiang et al., DAC 2019, arXiv 1901.11211: FNAS-GG, FNAS-Sched): every layer is cut into tiles, a task makes
from input tiles and weights a part of an output tile, and it starts when its processing element is free and the tiles
that it reads are complete. Each processing element takes its tasks in a fixed order (list scheduling): layer by layer,
in a layer tile by tile over rows and columns, and there by one of two orders of reuse.

A layer's tasks are walked in steps. Tasks that follow one another and wait for nothing new are one step of several
times the length: the times are those of a walk task by task, exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwnas.core.metrics import Floats
from hwnas.core.net import Shape

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Cut:
    """How a value is cut into tiles: each `channels` x `rows` x `columns`, less at the far edges.

    A grouped convolution cuts each of its `groups` of channels apart.
    """

    shape: Shape
    channels: int
    rows: int
    columns: int
    groups: int = 1

    @property
    def channel_tiles(self) -> int:
        return self.groups * -(-(self.shape[0] // self.groups) // self.channels)

    def channel_tile(self, channel: Indices) -> Indices:
        """The tile that holds each channel."""
        width = self.shape[0] // self.groups
        return (channel // width) * (self.channel_tiles // self.groups) + (channel % width) // self.channels

    def row_sizes(self) -> Indices:
        """Rows of each tile, from the top."""
        return _sizes(self.shape[1], self.rows)

    def column_sizes(self) -> Indices:
        """Columns of each tile, from the left."""
        return _sizes(self.shape[2], self.columns)


@dataclass(frozen=True)
class Window:
    """What a row or column of outputs reads: `kernel` inputs at a distance of `stride`, padded by `pad`."""

    kernel: int
    stride: int
    pad: int

    def last(self, sizes: Indices, inputs: int) -> Indices:
        """The last row (or column) of `inputs` that each tile of outputs reads."""
        ends: Indices = (np.cumsum(sizes) - 1) * self.stride + (self.kernel - 1 - self.pad)
        last: Indices = np.minimum(ends, inputs - 1)
        return last

    def span(self, sizes: Indices, inputs: int) -> Indices:
        """How many rows (or columns) of `inputs` each tile of outputs reads."""
        first: Indices = np.maximum((np.cumsum(sizes) - sizes) * self.stride - self.pad, 0)
        return self.last(sizes, inputs) + 1 - np.minimum(first, inputs - 1)


@dataclass(frozen=True, eq=False)
class Steps:
    """What a processing element does for one tile of rows and columns: K steps, which end M tiles of output channels.

    Step k waits for input channels up to `last_channel[k]` and runs `tasks[k]` tasks. Output tile m is complete
    `after[m]` tasks before the end of step `ends[m]`.
    """

    last_channel: Indices
    tasks: Indices
    ends: Indices
    after: Indices

    @cached_property
    def total(self) -> int:
        """Tasks for one tile of rows and columns."""
        return int(self.tasks.sum())


@dataclass(frozen=True, eq=False)
class Tiling:
    """How an operator becomes tasks: for each tile of rows and columns of `tasks_cut` its `steps`, from what `window`
    reads. That is the cut of its value, save where it `gathers`: then tasks walk over its input, and end in one pixel.
    """

    cut: Cut
    tasks_cut: Cut
    window: Window
    steps: Steps
    gathers: bool = False


@dataclass(frozen=True, eq=False)
class Layer:
    """The tasks of one operator on one processing element. `task_us` is the time of one, R x C over rows and columns.

    `sources` are the layers whose values it reads through its window, `addends` those whose values are added to its
    own: their tile is there before the first task of a tile of rows and columns. What else it reads is there from the
    start.
    """

    engine: int
    sources: tuple[int, ...]
    addends: tuple[int, ...]
    tiling: Tiling
    task_us: Floats


def walk(layers: Sequence[Layer], *, stalls: bool = True) -> list[Floats]:
    """When each tile of each layer's value is complete, in µs: rows x columns x channels of tiles, one array a layer.

    Without `stalls` no task waits for another layer's tiles; only for its processing element.
    """
    free: dict[int, float] = {}
    done: list[Floats] = []
    for layer in layers:
        steps, task_us = layer.tiling.steps, layer.task_us[:, :, None]
        ready = _ready(layer, layers, done) if stalls else np.zeros((*layer.task_us.shape, len(steps.tasks)))
        ends = _run(ready, task_us * steps.tasks, free.get(layer.engine, 0.0))
        free[layer.engine] = float(ends[-1, -1, -1])
        complete = ends[:, :, steps.ends] - task_us * steps.after
        done.append(complete[-1:, -1:] if layer.tiling.gathers else complete)
    return done


def _ready(layer: Layer, layers: Sequence[Layer], done: list[Floats]) -> Floats:
    """When what each step reads is complete: R x C x K."""
    tiling = layer.tiling
    ready = np.zeros((*layer.task_us.shape, len(tiling.steps.tasks)))
    for source in layer.sources:
        cut = layers[source].tiling.cut
        np.maximum(ready, _known(tiling, tiling.window, tiling.steps.last_channel, cut, done[source]), out=ready)
    for source in layer.addends:
        cut, last = layers[source].tiling.cut, np.array([tiling.cut.shape[0] - 1])
        first = ready[:, :, :1]
        np.maximum(first, _known(tiling, Window(1, 1, 0), last, cut, done[source]), out=first)
    return ready


def _known(tiling: Tiling, window: Window, last_channel: Indices, cut: Cut, done: Floats) -> Floats:
    """When what each tile of rows and columns reads of a value, up to some channels, is complete: R x C x channels.

    Tiles are complete in the order of rows, columns and channels, so that the last one that is read is the latest.
    """
    channels, height, width = cut.shape
    row = window.last(tiling.tasks_cut.row_sizes(), height) // cut.rows
    column = window.last(tiling.tasks_cut.column_sizes(), width) // cut.columns
    channel = cut.channel_tile(np.minimum(last_channel, channels - 1))
    return done[row[:, None, None], column[:, None], channel]


def _run(ready: Floats, times: Floats, free: float) -> Floats:
    """Ends of steps that run one after the other from `free` on: end[t] = max(end[t - 1], ready[t]) + times[t].

    Unrolled, end[t] is the greatest, over u <= t, of ready[u] plus the times from u to t.
    """
    total = np.cumsum(times.ravel())
    before = total - times.ravel()
    return (total + np.maximum.accumulate(np.maximum(ready.ravel(), free) - before)).reshape(times.shape)


def _sizes(length: int, tile: int) -> Indices:
    sizes = np.full(-(-length // tile), tile, dtype=np.intp)
    sizes[-1] = length - tile * (len(sizes) - 1)
    return sizes
