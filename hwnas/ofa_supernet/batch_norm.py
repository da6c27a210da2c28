"""Batch normalisation while a supernet is trained: by the batch's own statistics, over all processes that share it."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from hwnas.core.net import Op
from hwnas.ofa_supernet import depthwise
from hwnas.ofa_supernet.forward import Convolve, Norm, OpWeights, convolution

MOMENTUM = 0.1
"""As published (once-for-all, train_ofa_net.py)."""


def by_batch(images: int | None = None) -> Convolve:
    """Convolutions normalised by the batch's own statistics; the shared running ones are updated in place.

    `images` is how many there are in the whole batch where several processes have a part of it each.
    """

    def convolve(op: Op, source: Tensor, held: OpWeights) -> Tensor:
        assert held.norm is not None
        if op.groups == op.in_channels > 1 and held.bias is None:
            value = depthwise.convolve(source, held.weight, op.stride)
        else:
            value = convolution(op, source, held.weight, held.bias)
        if images is None:
            norm = held.norm
            return F.batch_norm(
                value, norm.running_mean, norm.running_var, norm.weight, norm.bias, True, MOMENTUM, op.norm_eps
            )
        return _synchronised(value, held.norm, op.norm_eps, images)

    return convolve


def _synchronised(value: Tensor, norm: Norm, eps: float, images: int) -> Tensor:
    """The same over all processes, of which each has some of the `images`; sums are float32."""
    kind, value = value.dtype, value.float()
    count = images * value.shape[2] * value.shape[3]
    total = _summed(value.sum((0, 2, 3)))
    mean = total / count
    centred = value - mean[:, None, None]
    variance = _summed(centred.square().sum((0, 2, 3))) / count
    with torch.no_grad():
        norm.running_mean.lerp_(mean, MOMENTUM)
        norm.running_var.lerp_(variance * (count / max(1, count - 1)), MOMENTUM)
    scale = norm.weight * torch.rsqrt(variance + eps)
    return (centred * scale[:, None, None] + norm.bias[:, None, None]).to(kind)


def _summed(value: Tensor) -> Tensor:
    total: Tensor = _Summed.apply(value)  # type: ignore[no-untyped-call]
    return total


class _Summed(torch.autograd.Function):
    """The sum over all processes; each process's value acts on the loss of all."""

    @staticmethod
    def forward(ctx: object, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total
