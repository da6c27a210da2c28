"""Depthwise convolutions that are trained in a fraction of the time that torch takes for kernels above 3 x 3.

What is slow is the gradient of the weights: on a CPU, torch 2.13's kernel for it (oneDNN 3.x) keeps a row of at most
three weights in registers; for wider ones it takes a path for full convolutions, ten times slower or more. The gradient
of each column of weights is a sum of its own, however, so a wide kernel is done three columns at a time, on images that
are shifted by as many pixels. With stride 2, every other row and column of the images makes four images of stride 1, on
which a kernel of five is one of three. Images smaller than the kernel are left to torch, since for them the fast kernel
does not run, and so are wider kernels with stride 2, for which nothing is won.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

WIDEST = 3
"""Columns of weights that the fast kernel takes."""
STRIDED = 5
"""Of kernels with stride 2, the one that is worth dividing."""


def convolve(source: Tensor, weight: Tensor, stride: int) -> Tensor:
    """`F.conv2d` of N x C x H x W by C x 1 x k x k, padding k // 2 and a group a channel, with the same gradients."""
    kernel, least = weight.shape[-1], min(source.shape[2:])
    wide = WIDEST < kernel <= least if stride == 1 else (stride, kernel) == (2, STRIDED) and least >= 2 * WIDEST
    if wide and source.device.type == "cpu" and weight.requires_grad and not torch.is_autocast_enabled("cpu"):
        result: Tensor = _Wide.apply(source, weight, stride)  # type: ignore[no-untyped-call]
        return result
    return F.conv2d(source, weight, None, stride, kernel // 2, 1, weight.shape[0])


class _Wide(torch.autograd.Function):
    """Stride 1 and a kernel wider than `WIDEST`, or stride 2 and one of `STRIDED`."""

    @staticmethod
    def forward(ctx: Any, source: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(source, weight)
        ctx.stride = stride
        return F.conv2d(source, weight, None, stride, weight.shape[-1] // 2, 1, weight.shape[0])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        source, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        wants_source, wants_weight, _ = ctx.needs_input_grad
        of_source = of_weight = None
        if wants_source:
            of_source = _gradient(gradient, source, weight, weight.shape[-1] // 2, 0, ctx.stride)
        if wants_weight:
            strided = ctx.stride == 2
            of_weight = (strided_weight_gradient if strided else weight_gradient)(gradient, source, weight.shape[-1])
        return of_source, of_weight, None


def strided_weight_gradient(gradient: Tensor, source: Tensor, kernel: int) -> Tensor:
    """Of C x 1 x 5 x 5 weights from that of the outputs, with stride 2; of other kernels, too, but no faster.

    Row i of the weights reads, for row h of the outputs, row 2 h + i - 2 of the source: row h + u of its even rows or
    of its odd ones, with u from -1 to 1. So it is with columns.
    """
    channels, height, width = source.shape[1:]
    source = F.pad(source, (0, width % 2, 0, height % 2))
    edge, weights = kernel // 2, source.new_empty(channels, 1, kernel, kernel)
    reach = (edge + 1) // 2  # the greatest u

    def read(odd: int) -> tuple[list[int], list[int]]:
        """Rows of the weights that read even or odd rows, and their u, counted from the least."""
        rows = [row for row in range(kernel) if (row - edge) % 2 == odd]
        return rows, [(row - edge - odd) // 2 + reach for row in rows]

    for down in (0, 1):
        for right in (0, 1):
            part = source[:, :, down::2, right::2].contiguous(memory_format=torch.channels_last)
            found = weight_gradient(gradient, part, 2 * reach + 1)
            (rows, above), (columns, aside) = read(down), read(right)
            weights[:, :, rows[0] :: 2, columns[0] :: 2] = found[:, :, above][..., aside]
    return weights


def weight_gradient(gradient: Tensor, source: Tensor, kernel: int) -> Tensor:
    """Of C x 1 x k x k weights, k odd, from that of the outputs, with stride 1.

    Both arguments are N x C x H x W, of at least k x k pixels.
    Column j of the weights reads the source j - k // 2 pixels to the right of the output.
    """
    channels, width = source.shape[1], source.shape[3]
    edge = kernel // 2
    three = source.new_empty(channels, 1, kernel, WIDEST)
    columns = [source.new_zeros(channels, 1, kernel, 1)] * kernel
    columns[edge - 1 : edge + 2] = _gradient(gradient, source, three, 1, 1).split(1, dim=3)  # type: ignore[no-untyped-call]
    # Shifted by s pixels, three columns read s - 1, s and s + 1 pixels aside; the first of them is wrong at the image's
    # edge, and known already.
    for shift in range(2, edge + 1, 2):
        right = _gradient(_part(gradient, 0, width - shift), _part(source, shift, width), three, 1, 1)
        left = _gradient(_part(gradient, shift, width), _part(source, 0, width - shift), three, 1, 1)
        for further in range(min(2, edge - shift + 1)):
            columns[edge + shift + further] = right[..., 1 + further : 2 + further]
            columns[edge - shift - further] = left[..., 1 - further : 2 - further]
    return torch.cat(columns, dim=3)


def _part(value: Tensor, start: int, end: int) -> Tensor:
    """Columns `start` to `end` of N x C x H x W."""
    return value[..., start:end].contiguous(memory_format=torch.channels_last)


def _gradient(gradient: Tensor, source: Tensor, weight: Tensor, padding: int, which: int, stride: int = 1) -> Tensor:
    """Of the source (0) or of the weights (1) of a depthwise convolution; `padding` is that of columns."""
    pads, mask = [weight.shape[2] // 2, padding], [which == 0, which == 1, False]
    result: Tensor = torch.ops.aten.convolution_backward(
        gradient, source, weight, None, [stride, stride], pads, [1, 1], False, [0, 0], source.shape[1], mask
    )[which]
    return result
