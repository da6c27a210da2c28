"""Writes a `NetSpec` operator by operator; every method returns the index of the value that it adds."""

from __future__ import annotations

from typing import Literal

from hwnas.core.net import INPUT, NORM_EPS, Activation, NetSpec, Op, Shape


class Builder:
    """Appends operators; each reads the newest value (`last`) unless it is told another `source`.

    Operators carry the `block` that is set when they are added.
    """

    def __init__(self, input_shape: Shape, norm_eps: float = NORM_EPS) -> None:
        self._input_shape = input_shape
        self._norm_eps = norm_eps
        self._ops: list[Op] = []
        self.block = ""

    @property
    def last(self) -> int:
        """Index of the newest value; the network's input at first."""
        return len(self._ops) - 1 if self._ops else INPUT

    @property
    def shape(self) -> Shape:
        """Shape of the newest value."""
        return self.shape_of(self.last)

    def shape_of(self, value: int) -> Shape:
        """Shape of a value."""
        return self._input_shape if value == INPUT else self._ops[value].out_shape

    def conv(
        self,
        name: str,
        filters: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        norm: bool = True,
        bias: bool = False,
        act: Activation = "none",
        source: int | None = None,
    ) -> int:
        entry = self._entry(source)
        channels, height, width = self.shape_of(entry)
        out = (filters, -(-height // stride), -(-width // stride))
        shape = (kernel, stride, groups)
        return self._append(
            Op("conv", name, (entry,), channels, out, *shape, bias, norm, act, self.block, self._norm_eps)
        )

    def squeeze_excite(self, name: str, middle: int) -> int:
        """Scale the newest value's channels by what a small network makes of their means (Hu et al., CVPR 2018)."""
        source, (channels, _, _) = self.last, self.shape
        self.global_pool(f"{name}.pool")
        self.conv(f"{name}.reduce", middle, norm=False, bias=True, act="relu")
        self.conv(f"{name}.expand", channels, norm=False, bias=True, act="h_sigmoid")
        inputs, shape = (source, self.last), self.shape_of(source)
        return self._append(Op("mul", f"{name}.scale", inputs, channels, shape, block=self.block))

    def pool(
        self, name: str, kind: Literal["avg_pool", "max_pool"], kernel: int, stride: int = 1, source: int | None = None
    ) -> int:
        entry = self._entry(source)
        channels, height, width = self.shape_of(entry)
        out = (channels, -(-height // stride), -(-width // stride))
        return self._append(Op(kind, name, (entry,), channels, out, kernel, stride, block=self.block))

    def global_pool(self, name: str) -> int:
        channels = self.shape[0]
        return self._append(Op("global_pool", name, (self.last,), channels, (channels, 1, 1), block=self.block))

    def linear(self, name: str, features: int) -> int:
        channels, out = self.shape[0], (features, 1, 1)
        return self._append(Op("linear", name, (self.last,), channels, out, bias=True, block=self.block))

    def add(self, name: str, first: int, second: int | None = None, act: Activation = "none") -> int:
        entry = self._entry(second)
        shape = self.shape_of(entry)
        return self._append(Op("add", name, (first, entry), shape[0], shape, act=act, block=self.block))

    def act(self, name: str, act: Activation, source: int | None = None) -> int:
        return self._elementwise("act", name, source, act)

    def zero(self, name: str, source: int | None = None) -> int:
        return self._elementwise("zero", name, source, "none")

    def build(self) -> NetSpec:
        return NetSpec(self._input_shape, tuple(self._ops))

    def _entry(self, source: int | None) -> int:
        return self.last if source is None else source

    def _elementwise(self, kind: Literal["act", "zero"], name: str, source: int | None, act: Activation) -> int:
        entry = self._entry(source)
        shape = self.shape_of(entry)
        return self._append(Op(kind, name, (entry,), shape[0], shape, act=act, block=self.block))

    def _append(self, op: Op) -> int:
        self._ops.append(op)
        return self.last
