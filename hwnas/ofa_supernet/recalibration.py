"""Exact statistics for batch normalisations, in about the time of a plain forward pass over the same images.

Where activations are larger than the cache, what costs is memory: new tensors above all, then reading. So values are
normalised in place, sums are taken part by part, and where a 1x1 convolution widens much, its output is never looked
at: its mean and variance follow from its input, which is smaller, and are in its weights before it runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from hwnas.core.net import NetSpec, Op
from hwnas.ofa_supernet.forward import OpWeights, Weights, convolution, run
from hwnas.ofa_supernet.static import StaticNet

PART_BYTES = 1 << 19
"""What stays in a core's cache while it is read three times; with a quarter or four times as much, sums take half as
long again (`benchmarks/full_width.py`)."""

WORTH_READING = 20
"""Multiply-accumulates in the time in which one output value is read for its moments and normalised: about half a
nanosecond on a core of an Intel Xeon. With 15 or 30 recalibration takes as long (`benchmarks/full_width.py`)."""

Moments = tuple[Tensor, Tensor]
"""Mean and biased variance, C values each, float64."""


@torch.no_grad()
def recalibrate(net: NetSpec, weights: Weights, batches: Iterable[Tensor]) -> dict[str, Moments]:
    """Exact statistics for each normalisation, by the operator's name.

    Each batch runs normalised by its own statistics; the mean and the biased variance of the batches are averaged,
    weighted by batch size, in float64 (the published procedure: once-for-all, appendix B, "BN recalibration").
    """
    sums: dict[str, Moments] = {}
    images_seen = 0

    for batch in batches:
        count = len(batch)

        def by_batch(op: Op, source: Tensor, held: OpWeights, count: int = count) -> Tensor:
            value, (mean, var) = _normalised(op, source, held)
            old = sums.get(op.name, (torch.zeros_like(mean), torch.zeros_like(var)))
            sums[op.name] = (old[0] + count * mean, old[1] + count * var)
            return value

        run(net, weights, batch, by_batch)
        images_seen += count
    if not images_seen:
        raise ValueError("recalibration wants at least one batch of images")
    return {name: (mean / images_seen, var / images_seen) for name, (mean, var) in sums.items()}


@torch.no_grad()
def set_statistics(network: StaticNet, statistics: dict[str, Moments]) -> None:
    """Write recalibrated statistics into a stand-alone network."""
    for name, (mean, var) in statistics.items():
        inner = network.get_submodule(f"{name}.norm")
        inner.get_buffer("running_mean").copy_(mean)
        inner.get_buffer("running_var").copy_(var)


def _normalised(op: Op, source: Tensor, held: OpWeights) -> tuple[Tensor, Moments]:
    """What the convolution makes of `source`, normalised by its own statistics, and those."""
    assert held.norm is not None
    value = None if _projects(op) else convolution(op, source, held.weight, held.bias)
    mean, var = projected_moments(source, held.weight) if value is None else moments(value)
    wide = held.norm.weight / torch.sqrt(var + op.norm_eps)
    scale, shift = wide.to(source.dtype), (held.norm.bias - mean * wide).to(source.dtype)
    if value is None:
        value = convolution(op, source, held.weight * scale[:, None, None, None], shift)
    else:
        torch.addcmul(shift[:, None, None], value, scale[:, None, None], out=value)
    return value, (mean, var)


def _projects(op: Op) -> bool:
    """Is it less work to multiply the inputs by themselves than to read the outputs again?"""
    pointwise = op.kernel == op.stride == op.groups == 1
    return pointwise and op.in_channels**2 < WORTH_READING * op.out_shape[0]


def moments(value: Tensor) -> Moments:
    """Of each channel of N x C x H x W.

    Each part is summed around its own mean, and the parts are put together in float64 (Chan, Golub and LeVeque, The
    American Statistician, 1983, formula 2.1).
    """
    pixels = value.permute(0, 2, 3, 1).reshape(-1, value.shape[1])
    means, squares, shares = [], [], []
    for part, deviations in _parts(pixels):
        means.append(part.mean(0))  # by cascade; a product with ones is faster here, and three times as far off
        squares.append(torch.sub(part, means[-1], out=deviations).square_().mean(0))
        shares.append(len(part) / len(pixels))
    share = torch.tensor(shares, dtype=torch.float64, device=value.device)[:, None]
    centres = torch.stack(means).double()
    mean = (share * centres).sum(0)
    return mean, (share * (torch.stack(squares).double() + (centres - mean).square())).sum(0)


def projected_moments(source: Tensor, weight: Tensor) -> Moments:
    """Moments of a 1x1 convolution's C outputs, from the covariance of its inputs; `weight` is C x C' x 1 x 1."""
    pixels = source.permute(0, 2, 3, 1).reshape(-1, source.shape[1])
    origin = pixels[: len(pixels) // 8 + 1].mean(0)  # any point near the mean will do; sums around it cancel little
    first = torch.zeros(len(origin), dtype=torch.float64, device=source.device)
    second = first.new_zeros(len(origin), len(origin))
    for part, deviations in _parts(pixels):
        torch.sub(part, origin, out=deviations)
        first += deviations.sum(0)
        second += deviations.T @ deviations
    first /= len(pixels)
    covariance = second / len(pixels) - torch.outer(first, first)
    matrix = weight.flatten(1).double()
    return matrix @ (origin + first), ((matrix @ covariance) * matrix).sum(1)


def _parts(pixels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Parts of P x C that fit the cache, each with memory of its size, the same for all; elsewhere the whole of it."""
    rows, channels = pixels.shape
    size = max(1, PART_BYTES // (channels * pixels.element_size())) if pixels.device.type == "cpu" else rows
    memory = pixels.new_empty(min(size, rows), channels)
    for start in range(0, rows, size):
        part = pixels[start : start + size]
        yield part, memory[: len(part)]
