"""How a data flow lays an operator over an array of processing elements: folds, their cycles, and what moves.

A convolution is a product of two matrices: `pixels` x `window` (each output pixel's inputs, im2col) by `window` x
`filters`. What does not fit the array is cut into folds, which run one after the other in two loops, `outer` passes of
`inner` folds. The data flow says what stays in the array for a fold, and so what has to be fetched again.

For ws and is the cycles of a fold are those of Samajdar et al., "A Systematic Methodology for Characterizing
Scalability of DNN Accelerators using SCALE-Sim", ISPASS 2020, section III: the array fills and drains as a wave, one
row and one column a cycle, and a fold that uses part of the array still takes the whole array's wave. For os the same
less the rows that drain, which SCALE-Sim 3.0.0 lets overlap with the next fold. Row stationary is that of Chen et al.,
"Eyeriss: A Spatial Architecture for Energy-Efficient Dataflow for Convolutional Neural Networks", ISCA 2016, section V.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from hwnas.core.net import Op, Shape

Dataflow = Literal["ws", "os", "is", "rs"]
"""Weight, output, input and row stationary."""


@dataclass(frozen=True)
class Work:
    """`groups` equal convolutions, one after the other; each maps `channels` to `filters`."""

    channels: int
    filters: int
    kernel: int
    height: int
    """Of the output, in pixels; so is `width`."""
    width: int
    inputs: int
    """Values of one group's input."""
    groups: int = 1

    @classmethod
    def of(cls, op: Op, in_shape: Shape) -> Work:
        """A convolution, a linear layer (one of a single pixel), or a pooling as a dense convolution of its window."""
        filters, height, width = op.out_shape
        groups = op.groups
        inputs = math.prod(in_shape) // groups
        return cls(op.in_channels // groups, filters // groups, op.kernel, height, width, inputs, groups)

    @property
    def pixels(self) -> int:
        return self.height * self.width

    @property
    def window(self) -> int:
        return self.channels * self.kernel**2

    @property
    def weights(self) -> int:
        """Values of one group's weights."""
        return self.window * self.filters

    @property
    def outputs(self) -> int:
        """Values of one group's output."""
        return self.pixels * self.filters

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all groups; at the borders those with padding count too, as they take their cycle."""
        return self.groups * self.pixels * self.weights


@dataclass(frozen=True)
class Array:
    """What the data flows ask about the hardware: the array, and how many values the half of each buffer holds.

    Buffers are double: while the array works from one half, the other is filled or emptied.
    """

    rows: int
    columns: int
    held_inputs: float
    held_weights: float
    held_outputs: float


@dataclass(frozen=True)
class Nest:
    """`repeats` times the same two loops: `outer` passes of `inner` folds of `cycles` each.

    `first_tile` are the values that must be in the array before the very first fold; `once` and `each` the values that
    cross to or from DRAM in the first pass, and in every pass; `buffered` the buffer accesses of one repeat, in values.
    """

    repeats: int
    outer: int
    inner: int
    cycles: int
    first_tile: int
    once: int
    each: float
    buffered: int

    @property
    def compute_cycles(self) -> int:
        return self.repeats * self.outer * self.inner * self.cycles

    @property
    def dram_values(self) -> float:
        return self.repeats * (self.once + self.outer * self.each)

    def stall_cycles(self, values_per_cycle: float) -> float:
        """Cycles in which the array waits for a DRAM of this bandwidth.

        The first tile is waited for; after it, a fold's values move while the fold before it is computed, and only
        what takes longer than that stalls.
        """
        first = self._late((self.once + self.each) / self.inner, values_per_cycle)
        later = self._late(self.each / self.inner, values_per_cycle)
        folds = self.inner * (first + (self.outer - 1) * later)
        return self.first_tile / values_per_cycle + self.repeats * folds

    def _late(self, values: float, values_per_cycle: float) -> float:
        return max(0.0, values / values_per_cycle - self.cycles)


def weight_stationary(work: Work, array: Array) -> Nest:
    """A tile of weights, window x filters, stays; pixels stream past it and partial sums run down the columns.

    A fold loads its weights (rows), then lets every pixel through, skewed by rows and columns. Filters are the outer
    loop: the inputs come again for each of its passes, unless they stay in their buffer. Partial sums of the windows'
    parts meet in the output buffer, or go to DRAM and back where it does not hold them.
    """
    outer, inner = _ceil(work.filters, array.columns), _ceil(work.window, array.rows)
    cycles = 2 * array.rows + array.columns + work.pixels - 2
    inputs_again = work.inputs > array.held_inputs
    spilt = _spills(inner, work.pixels * min(work.filters, array.columns), array)
    return Nest(
        repeats=work.groups,
        outer=outer,
        inner=inner,
        cycles=cycles,
        first_tile=min(work.window, array.rows) * min(work.filters, array.columns),
        once=0 if inputs_again else work.inputs,
        each=(work.weights + spilt * work.outputs) / outer + (work.inputs if inputs_again else 0),
        buffered=work.weights + work.pixels * work.window * outer + _accumulated(inner) * work.outputs,
    )


def output_stationary(work: Work, array: Array) -> Nest:
    """A tile of outputs, pixels x filters, stays; inputs come from the left and weights from the top.

    A fold takes the window and the skew of both; results leave while the next fold fills, as SCALE-Sim has it. Filters
    are the outer loop: their weights come again for each tile of pixels, and the inputs for each pass, unless the
    buffers hold them.
    """
    outer, inner = _ceil(work.filters, array.columns), _ceil(work.pixels, array.rows)
    inputs_again = work.inputs > array.held_inputs
    weights_again = work.window * min(work.filters, array.columns) > array.held_weights
    weights = work.weights * (inner if weights_again else 1)
    return Nest(
        repeats=work.groups,
        outer=outer,
        inner=inner,
        cycles=array.rows + array.columns + work.window - 2,
        first_tile=0,  # both operands stream from the first cycle
        once=0 if inputs_again else work.inputs,
        each=(weights + work.outputs) / outer + (work.inputs if inputs_again else 0),
        buffered=work.pixels * work.window * outer + work.weights * inner + work.outputs,
    )


def input_stationary(work: Work, array: Array) -> Nest:
    """A tile of inputs, window x pixels, stays; filters stream past it. Otherwise as weight stationary."""
    outer, inner = _ceil(work.pixels, array.columns), _ceil(work.window, array.rows)
    cycles = 2 * array.rows + array.columns + work.filters - 2
    weights_again = work.weights > array.held_weights
    spilt = _spills(inner, work.filters * min(work.pixels, array.columns), array)
    return Nest(
        repeats=work.groups,
        outer=outer,
        inner=inner,
        cycles=cycles,
        first_tile=min(work.window, array.rows) * min(work.pixels, array.columns),
        once=0 if weights_again else work.weights,
        each=(work.inputs + spilt * work.outputs) / outer + (work.weights if weights_again else 0),
        buffered=work.pixels * work.window + work.weights * outer + _accumulated(inner) * work.outputs,
    )


def row_stationary(work: Work, array: Array) -> Nest:
    """A processing element convolves one row of a filter with one row of an input (Chen et al., ISCA 2016, section V).

    A set of `kernel` x `strip` elements makes `strip` output rows of one filter and one channel; as many sets as fit
    the array run side by side, and the output rows are cut into the fewest strips, of nearly equal height. A fold is
    one row for each element: output width x kernel cycles. Strips are the outer loop. What row stationary is made for
    is taken as given: partial sums of the channels meet in the elements, so inputs and outputs cross to DRAM once, and
    the weights once more for each strip unless their buffer holds them. Filling and draining is left out: sets hand
    over while they work.
    """
    outer = _ceil(work.height, array.columns)
    strip = _ceil(work.height, outer)
    parts = _ceil(work.kernel, array.rows)  # a filter higher than the array takes its rows in parts
    sets = (array.rows // _ceil(work.kernel, parts)) * (array.columns // strip)
    pairs = work.groups * work.filters * work.channels
    weights, inputs = work.groups * work.weights, work.groups * work.inputs
    weights_again = weights > array.held_weights
    return Nest(
        repeats=1,  # sets of different groups run side by side as well
        outer=outer,
        inner=_ceil(pairs, sets) * parts,
        cycles=work.width * work.kernel,
        first_tile=work.kernel**2 * min(pairs, sets),
        once=0 if weights_again else weights,
        each=(inputs + work.groups * work.outputs) / outer + (weights if weights_again else 0),
        buffered=weights * outer + inputs * _ceil(work.filters, sets) + work.groups * work.outputs,
    )


FLOWS: dict[Dataflow, Callable[[Work, Array], Nest]] = {
    "ws": weight_stationary,
    "os": output_stationary,
    "is": input_stationary,
    "rs": row_stationary,
}


def _ceil(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


def _accumulated(parts: int) -> int:
    """Accesses to one output whose sum comes in parts: each writes it, and all but the first read it."""
    return 2 * parts - 1


def _spills(parts: int, values: int, array: Array) -> int:
    """How often each output crosses to or from DRAM where a pass works on `values` of them."""
    return _accumulated(parts) if values > array.held_outputs else 1
