"""`StaticNet`: one network with its own weights, as extracted from a supernet; and exact BN recalibration."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from hwnas.core.net import NetSpec, Op
from hwnas.ofa_supernet.forward import BN_EPS, Norm, OpWeights, Weights, run

PART_BYTES = 1 << 20
"""What stays in a core's cache while a part of a tensor is read three times; half or twice as much does as well."""


class StaticNet(nn.Module):
    """A stand-alone network; its state dict is named by operator, as exporters expect.

    Keys: ``{op}.weight``, ``{op}.bias`` and ``{op}.norm.weight|bias|running_mean|running_var``.
    """

    def __init__(self, net: NetSpec, weights: Weights) -> None:
        super().__init__()
        self.net = net
        owners: dict[str, nn.Module] = {"": self}
        for op in net.ops:
            if op.weight_shape is not None:
                _own(_owner(owners, op.name), weights(op))

    def weights(self, op: Op) -> OpWeights:
        """This network's own weights of an operator."""
        return stored_weights(op, self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N x classes) of images (N x C x H x W), normalised with the running statistics."""
        return run(self.net, self.weights, images)


def stored_weights(op: Op, module: nn.Module) -> OpWeights:
    """The tensors of `op` found in `module` under the operator's name, at their stored shapes."""
    owner: Any = attrgetter(op.name)(module)
    norm = None
    if op.norm:
        held: Any = owner.norm
        norm = Norm(held.weight, held.bias, held.running_mean, held.running_var)
    return OpWeights(owner.weight, owner.bias if op.bias else None, norm)


def _owner(owners: dict[str, nn.Module], path: str) -> nn.Module:
    """The module at a dotted path, made where there is none; `owners` knows those that are made."""
    if path not in owners:
        before, _, name = path.rpartition(".")
        owners[path] = nn.Module()
        _owner(owners, before).add_module(name, owners[path])
    return owners[path]


def _own(owner: nn.Module, held: OpWeights) -> None:
    """Give a module copies of an operator's tensors."""
    owner.register_parameter("weight", nn.Parameter(_copy(held.weight)))
    if held.bias is not None:
        owner.register_parameter("bias", nn.Parameter(_copy(held.bias)))
    if held.norm is not None:
        inner = nn.Module()
        owner.add_module("norm", inner)
        inner.register_parameter("weight", nn.Parameter(_copy(held.norm.weight)))
        inner.register_parameter("bias", nn.Parameter(_copy(held.norm.bias)))
        inner.register_buffer("running_mean", _copy(held.norm.running_mean))
        inner.register_buffer("running_var", _copy(held.norm.running_var))


def _copy(value: Tensor) -> Tensor:
    return value.detach().clone(memory_format=torch.contiguous_format)


@torch.no_grad()
def recalibrate(net: NetSpec, weights: Weights, batches: Iterable[Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Exact statistics for each normalisation: {operator name: (mean, variance)}, C values each, float64.

    Each batch runs normalised by its own statistics; the mean and the biased variance of the batches are averaged,
    weighted by batch size, in float64 (the published procedure: once-for-all, appendix B, "BN recalibration").
    """
    sums: dict[str, tuple[Tensor, Tensor]] = {}
    images_seen = 0

    for batch in batches:
        count = len(batch)

        def by_batch(op: Op, value: Tensor, norm: Norm, count: int = count) -> Tensor:
            mean, var = moments(value)
            old = sums.get(op.name, (torch.zeros_like(mean), torch.zeros_like(var)))
            sums[op.name] = (old[0] + count * mean, old[1] + count * var)
            scale = norm.weight / torch.sqrt(var + BN_EPS)
            shift = (norm.bias - mean * scale).to(value.dtype)
            # In place: where activations are larger than the cache, the memory for another one is what costs most.
            return torch.addcmul(shift[:, None, None], value, scale.to(value.dtype)[:, None, None], out=value)

        run(net, weights, batch, norm=by_batch)
        images_seen += count
    if not images_seen:
        raise ValueError("recalibration wants at least one batch of images")
    return {name: (mean / images_seen, var / images_seen) for name, (mean, var) in sums.items()}


def moments(value: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel of N x C x H x W, C values each, in float64.

    Part by part, each small enough for the cache, and the parts put together in float64 (Chan, Golub and LeVeque, 1983,
    formula 2.1): as exact as one sum in double precision, and it reads a large tensor from memory only once.
    """
    pixels = value.permute(0, 2, 3, 1).reshape(-1, value.shape[1])
    rows, channels = pixels.shape
    size = rows
    if value.device.type == "cpu":
        size = min(rows, max(1, PART_BYTES // (channels * value.element_size())))
    deviations = value.new_empty(size, channels)
    means, squares, counts = [], [], []
    for start in range(0, rows, size):
        part = pixels[start : start + size]
        inside = deviations[: len(part)]
        means.append(part.mean(0))  # torch sums by cascade here; products with ones are faster and three times as far off
        torch.sub(part, means[-1], out=inside)
        squares.append(inside.square_().mean(0))
        counts.append(len(part))
    weight = torch.tensor(counts, dtype=torch.float64, device=value.device)[:, None] / rows
    centres = torch.stack(means).double()
    mean = (weight * centres).sum(0)
    return mean, (weight * (torch.stack(squares).double() + (centres - mean).square())).sum(0)


@torch.no_grad()
def set_statistics(network: StaticNet, statistics: dict[str, tuple[Tensor, Tensor]]) -> None:
    """Write recalibrated statistics into a stand-alone network."""
    for name, (mean, var) in statistics.items():
        inner = network.get_submodule(f"{name}.norm")
        inner.get_buffer("running_mean").copy_(mean)
        inner.get_buffer("running_var").copy_(var)
