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

BN_EPS = 1e-5
"""Batch normalisation's epsilon in the published networks."""


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


Weights = Callable[[Op], OpWeights]
NormFunction = Callable[[Op, Tensor, Norm], Tensor]


def normalise(op: Op, value: Tensor, norm: Norm) -> Tensor:
    """Batch normalisation with the running statistics."""
    return F.batch_norm(value, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=BN_EPS)


def run(net: NetSpec, weights: Weights, images: Tensor, norm: NormFunction = normalise, dropout: float = 0.0) -> Tensor:
    """Logits (N x classes) of `images` (N x C x H x W); `dropout` acts before the classifier."""
    values: list[Tensor] = []
    for op in net.ops:
        inputs = [images if index == INPUT else values[index] for index in op.inputs]
        values.append(_activate(op, _apply(op, inputs, weights, norm, dropout)))
    return values[-1].flatten(1)


def _apply(op: Op, inputs: list[Tensor], weights: Weights, norm: NormFunction, dropout: float) -> Tensor:
    source = inputs[0]
    if op.kind == "add":
        return inputs[0] + inputs[1]
    if op.kind == "mul":
        return inputs[0] * inputs[1]
    if op.kind == "global_pool":
        return source.mean((2, 3), keepdim=True)
    if op.kind == "avg_pool":
        return F.avg_pool2d(source, op.kernel, op.stride, (op.kernel - 1) // 2, count_include_pad=False)
    if op.kind == "max_pool":
        return F.max_pool2d(source, op.kernel, op.stride, (op.kernel - 1) // 2)
    if op.kind == "act":
        return source.clone()  # activations run in place, and others may read this value
    if op.kind == "zero":
        return torch.zeros_like(source)
    held = weights(op)
    if op.kind == "linear":
        if dropout:
            source = F.dropout(source, dropout)
        return F.linear(source.flatten(1), held.weight, held.bias)[:, :, None, None]
    value = F.conv2d(source, held.weight, held.bias, op.stride, op.kernel // 2, 1, op.groups)
    return value if held.norm is None else norm(op, value, held.norm)


def _activate(op: Op, value: Tensor) -> Tensor:
    if op.act == "relu":
        return F.relu(value, inplace=True)
    if op.act == "h_swish":
        return F.hardswish(value, inplace=not torch.is_grad_enabled())  # its derivative wants the value from before
    if op.act == "h_sigmoid":
        return F.hardsigmoid(value)
    return value
