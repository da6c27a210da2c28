"""Elastic layers as they are usually written: one module a layer, which slices its weights as the subnet says.

Written for `train_throughput.py`, to be what a careful user would write first: active widths and kernels, slices made
contiguous, kernels through learnt matrices (Cai et al., ICLR 2020, section 3.2), torch's own functions for all else.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hwnas.core.net import INPUT, NetSpec, Op

ACTIVATIONS = {
    "none": nn.Identity,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "h_swish": nn.Hardswish,
    "h_sigmoid": nn.Hardsigmoid,
}


class ElasticConv(nn.Module):
    """A convolution and, maybe, the normalisation of its output, of which a part is active."""

    def __init__(self, op: Op, kernels: list[int]) -> None:
        super().__init__()
        assert op.weight_shape is not None
        self.weight = nn.Parameter(torch.randn(op.weight_shape) * 0.05)
        self.bias = nn.Parameter(torch.zeros(op.weight_shape[0])) if op.bias else None
        self.norm = nn.BatchNorm2d(op.weight_shape[0], eps=op.norm_eps) if op.norm else None
        self.kernels = kernels if op.kind == "conv" and op.kernel == kernels[-1] else []
        for size in self.kernels[:-1]:
            self.register_parameter(f"to_{size}", nn.Parameter(torch.eye(size * size)))

    def active_weight(self, op: Op) -> Tensor:
        assert op.weight_shape is not None
        weight = self.weight[: op.weight_shape[0], : op.weight_shape[1]]
        for size in reversed(self.kernels[:-1]):
            if op.kernel <= size:
                edge = (weight.shape[-1] - size) // 2
                centre = weight[:, :, edge : edge + size, edge : edge + size].reshape(weight.shape[0], -1)
                weight = (centre @ getattr(self, f"to_{size}").t()).view(weight.shape[0], -1, size, size)
        return weight.contiguous()

    def forward(self, value: Tensor, op: Op) -> Tensor:
        bias = None if self.bias is None else self.bias[: op.out_shape[0]]
        if op.kind == "linear":
            return F.linear(value.flatten(1), self.active_weight(op), bias)[:, :, None, None]
        value = F.conv2d(value, self.active_weight(op), bias, op.stride, op.kernel // 2, 1, op.groups)
        if self.norm is None:
            return value
        width, norm = op.out_shape[0], self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        means, variances = norm.running_mean[:width], norm.running_var[:width]
        return F.batch_norm(value, means, variances, norm.weight[:width], norm.bias[:width], True, 0.1, norm.eps)


class NaiveSupernet(nn.Module):
    """The full network as such layers; a subnet is the description of what is active."""

    def __init__(self, full: NetSpec, kernels: list[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(
            {op.name.replace(".", "/"): ElasticConv(op, kernels) for op in full.ops if op.weight_shape is not None}
        )
        self.activations = nn.ModuleDict({name: make() for name, make in ACTIVATIONS.items()})

    def forward(self, images: Tensor, net: NetSpec) -> Tensor:
        """Logits (N x classes)."""
        values: list[Tensor] = []
        for op in net.ops:
            inputs = [images if index == INPUT else values[index] for index in op.inputs]
            if op.kind == "add":
                value = inputs[0] + inputs[1]
            elif op.kind == "mul":
                value = inputs[0] * inputs[1]
            elif op.kind == "global_pool":
                value = inputs[0].mean((2, 3), keepdim=True)
            elif op.kind == "max_pool":
                value = F.max_pool2d(inputs[0], op.kernel, op.stride, (op.kernel - 1) // 2, ceil_mode=op.ceil_mode)
            else:
                value = self.layers[op.name.replace(".", "/")](inputs[0], op)
            values.append(self.activations[op.act](value))
        return values[-1].flatten(1)
