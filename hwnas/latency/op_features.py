"""What a network does, as sums over its operators: counts, work and traffic by class of operator.

A class is what runtimes have a kernel of its own for: the kind, the kernel size, the stride, depthwise or not. These
sums are what an additive model of latency is linear in, whatever the space.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hwnas.core.metrics import Floats
from hwnas.core.net import COMPARISONS, NetSpec, Op

View = Literal["written", "read"]
VIEWS: tuple[View, ...] = ("written", "read")
"""Runtimes differ in what they drop: some run a network as it is written, others only what its output depends on."""
MILLION = 1e6


def operator_class(op: Op) -> str:
    """The class of an operator."""
    if op.kind == "conv":
        depthwise = op.groups == op.in_channels == op.out_shape[0] and op.groups > 1
        kind = "depthwise" if depthwise else "grouped" if op.groups > 1 else "conv"
        pixel = "" if op.out_shape[1] > 1 else " of a pixel"  # as in squeeze-and-excitation: matrix times vector
        return f"{kind} {op.kernel}x{op.kernel}{_stride(op)}{pixel}"
    if op.kind in ("avg_pool", "max_pool"):
        return f"{op.kind} {op.kernel}x{op.kernel}{_stride(op)}"
    return op.kind


def measures(net: NetSpec, op: Op) -> dict[str, float]:
    """Of one operator: 1, and millions of multiply-accumulates, of values read and written, of weights."""
    written = math.prod(op.out_shape)
    weights = math.prod(op.weight_shape or (0,))
    return {
        "count": 1.0,
        "macs": weights * op.out_shape[1] * op.out_shape[2] / MILLION,
        "read": sum(math.prod(net.shape(source)) for source in op.inputs) / MILLION,
        "written": written / MILLION,
        "weights": weights / MILLION,
    }


def needed(net: NetSpec) -> list[int]:
    """Indices of the operators on which the output depends, in order; zeros depend on nothing."""
    wanted = {len(net.ops) - 1}
    for index in range(len(net.ops) - 1, -1, -1):
        if index in wanted and net.ops[index].kind != "zero":
            wanted.update(net.ops[index].inputs)
    return sorted(index for index in wanted if index >= 0)


def totals(net: NetSpec, view: View = "read") -> dict[str, float]:
    """Sums over the operators by ``class: measure``; activations that take more than a comparison count as well."""
    found: dict[str, float] = {}
    for index in needed(net) if view == "read" else range(len(net.ops)):
        op = net.ops[index]
        own = {f"{operator_class(op)}: {name}": value for name, value in measures(net, op).items()}
        if op.act not in ("none", *COMPARISONS):
            own |= {f"{op.act}: count": 1.0, f"{op.act}: written": math.prod(op.out_shape) / MILLION}
        for name, value in own.items():
            found[name] = found.get(name, 0.0) + value
    return found


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over operators of N networks, F of them in alphabetical order; made once, and then cut to size."""

    names: tuple[str, ...]
    values: Floats
    """N x F."""
    present: NDArray[np.bool_]
    """N x F: which networks have the sum at all, be it 0."""

    @classmethod
    def of(cls, nets: Sequence[NetSpec], view: View = "read") -> Sums:
        """Every sum that some of the networks has."""
        rows = [totals(net, view) for net in nets]
        names = tuple(sorted({name for row in rows for name in row}))
        shape = (len(rows), len(names))
        values = np.array([[row.get(name, 0.0) for name in names] for row in rows], dtype=np.float64).reshape(shape)
        present = np.array([[name in row for name in names] for row in rows], dtype=np.bool_).reshape(shape)
        return cls(names, values, present)

    def take(self, rows: NDArray[np.intp]) -> Sums:
        """Of some of the networks, without the sums that none of these has."""
        held = np.flatnonzero(self.present[rows].any(0))
        grid = np.ix_(rows, held)
        return Sums(tuple(self.names[column] for column in held), self.values[grid], self.present[grid])

    def onto(self, names: Sequence[str]) -> Floats:
        """N x len(names) values; what is not among `names` is left out, and what no network has is 0."""
        place = {name: column for column, name in enumerate(self.names)}
        padded = np.concatenate([self.values, np.zeros((len(self.values), 1))], axis=1)
        return np.take(padded, np.array([place.get(name, -1) for name in names], dtype=np.intp), axis=1)


def _stride(op: Op) -> str:
    return "" if op.stride == 1 else f" / {op.stride}"
