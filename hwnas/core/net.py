"""`NetSpec`: the one description of a network, read by counters, builders, tables and simulators alike.

A network is a list of operators in the order they run. Each names its inputs by index into that list (-1 is the
network's input), its weights by `name`, and the block it belongs to, so that a network can be cut into blocks.
Batch normalisation belongs to its convolution (`norm`), as does the activation, because they fold and fuse.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

OpKind = Literal["conv", "linear", "avg_pool", "max_pool", "global_pool", "add", "mul", "act", "zero"]
Activation = Literal["none", "relu", "relu6", "h_swish", "h_sigmoid"]
COMPARISONS: tuple[Activation, ...] = ("relu", "relu6")
"""Activations that only compare: runtimes make them on the way out of the operator before."""
Shape = tuple[int, int, int]
"""Channels, height, width of one image's activation."""

NORM_EPS = 1e-5
"""What is added to a variance before its root is taken; torch's default for BatchNorm2d."""
INPUT = -1
"""Index that stands for the network's input."""


@dataclass(frozen=True)
class Op:
    """One operator.

    conv: `out_shape[0]` filters of `kernel` x `kernel` over `in_channels / groups` channels, padded by kernel // 2;
    linear: C x 1 x 1 to C' x 1 x 1; avg_pool, max_pool: over `kernel` x `kernel`, padded by (kernel - 1) // 2, where
    the mean counts what lies inside alone, and an even kernel's last window may reach beyond an odd size;
    global_pool: the mean over height and width; add: of two equal shapes; mul: the first input scaled by the second,
    which is C x 1 x 1; act: an activation that follows no other operator directly, as before a convolution; zero: zeros
    of the input's shape.
    """

    kind: OpKind
    name: str
    inputs: tuple[int, ...]
    in_channels: int
    out_shape: Shape
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    bias: bool = False
    norm: bool = False
    act: Activation = "none"
    block: str = ""
    norm_eps: float = NORM_EPS
    """Of the normalisation, where there is one."""

    @property
    def weight_shape(self) -> tuple[int, ...] | None:
        """Shape of the weight tensor, or None where there is none."""
        if self.kind == "conv":
            return (self.out_shape[0], self.in_channels // self.groups, self.kernel, self.kernel)
        if self.kind == "linear":
            return (self.out_shape[0], self.in_channels)
        return None

    @property
    def ceil_mode(self) -> bool:
        """Whether a pool's last window may reach beyond the image, so that sizes round up as convolutions' do."""
        return self.kernel % 2 == 0

    def code(self) -> str:
        """A short text that two operators share exactly when they compute the same function of weights and input."""
        parts = [self.kind, "x".join(map(str, self.out_shape))]
        if self.kind == "conv":
            parts.append(f"k{self.kernel}s{self.stride}g{self.groups}")
        elif self.kind in ("avg_pool", "max_pool"):
            parts.append(f"k{self.kernel}s{self.stride}")
        if self.bias or self.norm:
            parts.append("b")
        if self.act != "none":
            parts.append(self.act)
        return "-".join(parts) + "@" + ",".join(map(str, self.inputs))


@dataclass(frozen=True)
class NetSpec:
    """A network: the shape of one input image and the operators in order; the last one's value is the output."""

    input_shape: Shape
    ops: tuple[Op, ...]

    def shape(self, index: int) -> Shape:
        """Shape of the value at `index`; -1 is the input."""
        return self.input_shape if index == INPUT else self.ops[index].out_shape

    @property
    def out_shape(self) -> Shape:
        return self.ops[-1].out_shape

    def key(self) -> str:
        """What this network computes, as text: equal for equal work, whatever the weights are called.

        After folding, a bias and a normalisation are the same work, and are written the same.
        """
        return self._key

    @cached_property
    def _key(self) -> str:
        return "x".join(map(str, self.input_shape)) + "|" + "|".join(op.code() for op in self.ops)

    def blocks(self) -> dict[str, NetSpec]:
        """Cut into blocks, in order: each a network of its own that starts from the block's one input value."""
        parts: dict[str, NetSpec] = {}
        start = 0
        while start < len(self.ops):
            name = self.ops[start].block
            stop = start
            while stop < len(self.ops) and self.ops[stop].block == name:
                stop += 1
            if name in parts:
                raise ValueError(f"block {name!r} is not contiguous")
            parts[name] = self._cut(start, stop)
            start = stop
        return parts

    def _cut(self, start: int, stop: int) -> NetSpec:
        entries = {i for op in self.ops[start:stop] for i in op.inputs if i < start}
        if len(entries) != 1:
            raise ValueError(f"block {self.ops[start].block!r} wants one input value, has {len(entries)}")
        entry = entries.pop()

        def moved(op: Op) -> Op:
            return replace(op, inputs=tuple(INPUT if i == entry else i - start for i in op.inputs))

        return NetSpec(self.shape(entry), tuple(moved(op) for op in self.ops[start:stop]))
