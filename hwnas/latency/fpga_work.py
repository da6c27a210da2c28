"""One operator cut into tile tasks: how long a task computes, and what it moves.

Sources: Zhang et al., "Optimizing FPGA-based accelerator design for deep convolutional neural networks", FPGA 2015,
section 3 (cycles of a tile) and 4.3 (transfers hidden behind computation by double buffers); FNAS (Jiang et al., DAC
2019, arXiv 1901.11211), its part FNAS-Sched, for the two orders of reuse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from hwnas.core.metrics import Floats
from hwnas.core.net import Op, Shape
from hwnas.latency.fpga_schedule import Cut, Steps, Tiling, Window


@dataclass(frozen=True)
class Work:
    """What of an operator decides its tasks."""

    kind: str
    in_shape: Shape
    out_shape: Shape
    kernel: int
    stride: int
    groups: int
    inputs: int
    """Values of `in_shape` that it reads; the factors of a `mul` are too few to count."""
    addends: int
    """Values of `out_shape` that are added to its own."""
    weights: int
    """Learnt values, the normalisation folded in."""

    @classmethod
    def of(cls, op: Op, in_shape: Shape, addends: int) -> Work:
        weight = op.weight_shape
        weights = 0 if weight is None else math.prod(weight) + op.out_shape[0] * (op.bias or op.norm)
        groups = op.groups if op.kind == "conv" else 1
        inputs = len(op.inputs) if op.kind == "add" else 1
        return cls(op.kind, in_shape, op.out_shape, op.kernel, op.stride, groups, inputs, addends, weights)

    @property
    def multiplies(self) -> bool:
        """Whether it has weights to multiply with."""
        return self.kind in ("conv", "linear")

    @property
    def depthwise(self) -> bool:
        """A convolution of each channel for itself."""
        return self.kind == "conv" and self.groups == self.in_shape[0] == self.out_shape[0] > 1

    @property
    def sums_channels(self) -> bool:
        """Whether an array of input by output channels can compute it."""
        return self.multiplies and not self.depthwise

    @property
    def group(self) -> tuple[int, int]:
        """Input and output channels of each group."""
        return self.in_shape[0] // self.groups, self.out_shape[0] // self.groups

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return math.prod(self.out_shape) * self.kernel**2 * self.group[0] if self.multiplies else 0

    @property
    def additions(self) -> int:
        """Additions (multiplications of a `mul`) beside the multiply-accumulates."""
        own = math.prod(self.in_shape if self.kind == "global_pool" else self.out_shape) * self.kernel**2
        return math.prod(self.out_shape) * self.addends + (0 if self.multiplies else own)

    @property
    def window(self) -> Window:
        """What the tasks read of the rows and columns of their input; those of a mean over everything walk over it."""
        pad = self.kernel // 2 if self.kind == "conv" else (self.kernel - 1) // 2
        return Window(self.kernel, self.stride, pad)


@dataclass(frozen=True)
class Element:
    """A processing element: the rows, input and output channels that it takes in a cycle, and its clock."""

    rows: int
    inputs: int
    outputs: int
    clock_mhz: float
    line_buffers: bool = False
    """Whether a pool's whole window is taken in one cycle."""


@dataclass(frozen=True)
class Plan:
    """How an operator is run.

    `by_output`: an output tile is finished before the next, else an input tile is used up. `fetched` counts the inputs,
    `fetched_addends` the addends that come from external memory; `stored`: the output goes there. Weights are fetched
    `weight_loads` times: never, once, or for each tile of rows and columns. Tiles have at most `tile` rows and columns,
    and what comes and goes of them (everything, where `pipelined`) fits twice into `room` bytes, so that one is moved
    while another is computed.
    """

    by_output: bool
    fetched: int
    fetched_addends: int
    stored: bool
    weight_loads: Literal["never", "once", "each"]
    pipelined: bool
    room: int
    tile: int | None
    bytes_per_value: int
    batch: int


@dataclass(frozen=True, eq=False)
class Part:
    """An operator's tasks, and what it moves for one image.

    `compute_us` is one task's time, and `transfer` the bytes that all tasks of a tile of rows and columns move over the
    external memory for the whole batch: R x C each.
    """

    tiling: Tiling
    compute_us: Floats
    transfer: Floats
    on_chip_bytes: float
    off_chip_bytes: float


@lru_cache(maxsize=1 << 14)
def cut(work: Work, element: Element, plan: Plan) -> Part:
    """Cut an operator for a processing element."""
    tiling = _tiling(work, element, plan)
    high, wide = tiling.tasks_cut.row_sizes(), tiling.tasks_cut.column_sizes()
    # Rows of outputs are computed side by side; a mean over everything has one row.
    high_us = (high if tiling.gathers else -(-high // element.rows)) / element.clock_mhz
    compute_us = high_us[:, None] * wide * (1 if element.line_buffers and not work.multiplies else work.kernel**2)
    _, height, width = work.in_shape
    seen = tiling.window.span(high, height)[:, None] * tiling.window.span(wide, width)
    read = plan.bytes_per_value * work.in_shape[0] * work.inputs * seen
    written = plan.bytes_per_value * work.out_shape[0] * high[:, None] * wide
    if tiling.gathers:
        written[:] = 0
        written[-1, -1] = plan.bytes_per_value * work.out_shape[0]
    weight_bytes = plan.bytes_per_value * work.weights
    weights = np.full(compute_us.shape, weight_bytes if plan.weight_loads == "each" else 0)
    if plan.weight_loads == "once":
        weights[0, 0] = weight_bytes
    values = read * plan.fetched / work.inputs + written * (plan.fetched_addends + plan.stored)
    near = _on_chip(work, element, plan, tiling, float(read.sum()), float(written.sum()))
    return Part(
        tiling,
        compute_us,
        values * plan.batch + weights,
        near + compute_us.size * weight_bytes,
        float(values.sum() + weights.sum() / plan.batch),
    )


def _tiling(work: Work, element: Element, plan: Plan) -> Tiling:
    rows, columns = _tile(work, element, plan)
    if work.sums_channels:
        made = Cut(work.out_shape, min(element.outputs, work.group[1]), rows, columns, work.groups)
        return Tiling(made, made, work.window, _sum_steps(work, element, made, plan.by_output))
    channels = min(element.outputs, work.out_shape[0])
    if work.kind == "global_pool":
        made, tasks = Cut(work.out_shape, channels, 1, 1), Cut(work.in_shape, channels, rows, columns)
        return Tiling(made, tasks, work.window, _channel_steps(made), gathers=True)
    made = Cut(work.out_shape, channels, rows, columns)
    return Tiling(made, made, work.window, _channel_steps(made))


def _tile(work: Work, element: Element, plan: Plan) -> tuple[int, int]:
    """Rows and columns of a tile, of all channels: as many as fit, at least one of each."""
    gathers, window = work.kind == "global_pool", work.window
    _, height, width = work.in_shape if gathers else work.out_shape
    reads = work.in_shape[0] * (work.inputs if plan.pipelined else plan.fetched)
    beside = work.addends if plan.pipelined else plan.fetched_addends
    writes = 0 if gathers else work.out_shape[0] * (beside + (plan.pipelined or plan.stored))
    values = plan.room // (2 * plan.bytes_per_value)

    def most(limit: int, other: int) -> int:
        """Rows (columns) of a tile of `other` columns (rows) that fit."""
        spread = (other - 1) * window.stride + window.kernel
        each = reads * window.stride * spread + writes * other
        fits = (values - reads * (window.kernel - window.stride) * spread) // each if each else limit
        return max(1, min(limit, fits))

    columns = min(width, plan.tile or width)
    rows = most(min(height, plan.tile or height), columns)
    if rows == 1:
        columns = most(columns, 1)
    if element.rows < rows < height:  # no row of multipliers idle
        rows -= rows % element.rows
    return rows, columns


def _on_chip(work: Work, element: Element, plan: Plan, tiling: Tiling, read: float, written: float) -> float:
    """Bytes of values between tile buffers and processing element (FNAS-Sched).

    By output, partial sums stay in the element and inputs are read for each of its output tiles; by input, inputs are
    read once and partial sums are written, and read again, for each input tile but the first.
    """
    beside = written * work.addends
    if not work.sums_channels:
        return read + written + beside
    n, m = work.group
    if plan.by_output:
        return read * -(-m // tiling.cut.channels) + written + beside
    return read + written * (2 * -(-n // element.inputs) - 1) + beside


def _channel_steps(made: Cut) -> Steps:
    """One task for each tile of channels."""
    count = made.channel_tiles
    tiles = np.arange(count)
    last = np.minimum((tiles + 1) * made.channels, made.shape[0]) - 1
    return Steps(last, np.ones(count, dtype=np.intp), tiles, np.zeros(count, dtype=np.intp))


def _sum_steps(work: Work, element: Element, made: Cut, by_output: bool) -> Steps:
    """A task for each pair of input and output tiles of each group: M output tiles, N input tiles.

    By output, only the first output tile's tasks wait for inputs; the other M - 1 have them, and follow the last of
    those. By input, each input tile is waited for once, by its first of M tasks.
    """
    channels, _ = work.group
    m, n = made.channel_tiles // work.groups, -(-channels // element.inputs)
    last = np.minimum((np.arange(n) + 1) * element.inputs, channels) - 1
    tasks = np.ones(n, dtype=np.intp) if by_output else np.full(n, m, dtype=np.intp)
    if by_output:
        tasks[-1] += (m - 1) * n
    after = np.arange(m)[::-1] * (n if by_output else 1)
    group = np.arange(work.groups)
    return Steps(
        (last + group[:, None] * channels).ravel(),
        np.tile(tasks, work.groups),
        np.repeat(group * n + n - 1, m),
        np.tile(after, work.groups),
    )
