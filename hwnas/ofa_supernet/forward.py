"""Runs a `NetSpec` in torch, whoever owns the weights: one forward pass for shared and for stand-alone networks.

Shapes: N images, C channels, H x W. Since a subnet and its extracted copy go through the same calls on the same
numbers, their outputs are equal bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hwnas.core.net import INPUT, NetSpec, Op


@dataclass(frozen=True, eq=False)
class Norm:
    """Scale, shift and running statistics of one batch normalisation, C values each."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor


@dataclass(frozen=True, eq=False)
class OpWeights:
    """What one operator needs, sliced to its shape; absent parts are None."""

    weight: Tensor
    bias: Tensor | None
    norm: Norm | None

    def tensors(self) -> list[Tensor]:
        """All that there are; each has the operator's outputs first."""
        norm = self.norm
        normed = [] if norm is None else [norm.weight, norm.bias, norm.running_mean, norm.running_var]
        return [self.weight, *([] if self.bias is None else [self.bias]), *normed]


Weights = Callable[[Op], OpWeights]
NormFunction = Callable[[Op, Tensor, Norm], Tensor]
Convolve = Callable[[Op, Tensor, OpWeights], Tensor]
"""A convolution and the normalisation of its output, in place of both."""
Drop = Callable[[Tensor], Tensor]
"""Takes out some values while training (dropout)."""


def normalise(op: Op, value: Tensor, norm: Norm) -> Tensor:
    """Batch normalisation with the running statistics."""
    return F.batch_norm(value, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=op.norm_eps)


def convolution(op: Op, source: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution of an operator, by whichever weights."""
    return F.conv2d(source, weight, bias, op.stride, op.kernel // 2, 1, op.groups)


def normalised_by(norm: NormFunction) -> Convolve:
    """Convolutions whose outputs `norm` normalises."""

    def convolve(op: Op, source: Tensor, held: OpWeights) -> Tensor:
        assert held.norm is not None
        return norm(op, convolution(op, source, held.weight, held.bias), held.norm)

    return convolve


plain = normalised_by(normalise)


def run(net: NetSpec, weights: Weights, images: Tensor, convolve: Convolve = plain, drop: Drop | None = None) -> Tensor:
    """Logits (N x classes) of `images` (N x C x H x W).

    `convolve` computes the convolutions that are normalised; `drop` acts before the classifier.
    """
    values: list[Tensor] = []
    for op in net.ops:
        inputs = [images if index == INPUT else values[index] for index in op.inputs]
        values.append(_activate(op, _apply(op, inputs, weights, convolve, drop)))
    return values[-1].flatten(1)


def _apply(op: Op, inputs: list[Tensor], weights: Weights, convolve: Convolve, drop: Drop | None) -> Tensor:
    source = inputs[0]
    if op.kind == "add":
        return inputs[0] + inputs[1]
    if op.kind == "mul":
        return inputs[0] * inputs[1]
    if op.kind == "global_pool":
        return source.mean((2, 3), keepdim=True)
    if op.kind == "avg_pool":
        return F.avg_pool2d(source, op.kernel, op.stride, (op.kernel - 1) // 2, op.ceil_mode, count_include_pad=False)
    if op.kind == "max_pool":
        return F.max_pool2d(source, op.kernel, op.stride, (op.kernel - 1) // 2, ceil_mode=op.ceil_mode)
    if op.kind == "act":
        return source.clone()  # activations run in place, and others may read this value
    if op.kind == "zero":
        return torch.zeros_like(source)
    held = weights(op)
    if op.kind == "linear":
        if drop is not None:
            source = drop(source)
        return F.linear(source.flatten(1), held.weight, held.bias)[:, :, None, None]
    return convolution(op, source, held.weight, held.bias) if held.norm is None else convolve(op, source, held)


def _activate(op: Op, value: Tensor) -> Tensor:
    if op.act == "relu":
        return F.relu(value, inplace=True)
    if op.act == "relu6":
        return F.relu6(value, inplace=True)
    if op.act == "h_swish":
        return F.hardswish(value, inplace=not torch.is_grad_enabled())  # its derivative wants the value from before
    if op.act == "h_sigmoid":
        return F.hardsigmoid(value)
    return value
