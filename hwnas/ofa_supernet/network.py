"""`OfaSupernet`: the full network's weights, and every subnet as slices of them.

Slicing is one rule for all operators: the first output and input channels. Kernels shrink by the published elastic
kernel (Cai et al., ICLR 2020, section 3.2): the centre crop goes through a learnt matrix, 7 -> 5 and 5 -> 3, one pair
of matrices a layer, shared by its channels and identity at the start.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hwnas.core.arch import Arch
from hwnas.core.net import INPUT, NetSpec, Op
from hwnas.ofa_supernet.channels import middles, order_within
from hwnas.ofa_supernet.forward import Convolve, Drop, Norm, OpWeights, plain, run
from hwnas.ofa_supernet.static import StaticNet, stored_weights
from hwnas.spaces.elastic import ElasticSpace


class OfaSupernet(nn.Module):
    """Shared weights of every subnet in a space; which subnet runs is an argument, never a hidden state."""

    def __init__(self, space: ElasticSpace, seed: int = 0) -> None:
        super().__init__()
        self.space = space
        generator = torch.Generator().manual_seed(seed)
        full = space.lower(space.largest)
        self._full_kernel = {op.name: op.kernel for op in full.ops}
        self.full = StaticNet(full, lambda op: _fresh(op, generator))
        self._kernels = sorted(space.kernels)
        for op in full.ops:
            if op.kind == "conv" and op.kernel == self._kernels[-1]:
                owner = self.full.get_submodule(op.name)
                for target in self._kernels[:-1]:
                    owner.register_parameter(f"to_{target}", nn.Parameter(torch.eye(target * target)))

    def net(self, arch: Arch) -> NetSpec:
        """The lowered network of an architecture, at its own resolution."""
        return self.space.lower(arch)

    def weights(self, op: Op) -> OpWeights:
        """The slice of the shared weights that `op` uses, as operators run fastest on it: contiguous."""
        held = self._slice(op)
        return replace(held, weight=held.weight.contiguous())

    def _slice(self, op: Op) -> OpWeights:
        """The slice as it lies in the shared weights, unless the kernel shrinks."""
        held = stored_weights(op, self.full)
        shape = op.weight_shape
        assert shape is not None
        weight = held.weight[: shape[0], : shape[1]]
        if op.kind == "conv" and op.kernel < self._full_kernel[op.name]:
            weight = self._shrink(op, weight)
        norm = held.norm
        if norm is not None:
            size = shape[0]
            norm = Norm(norm.weight[:size], norm.bias[:size], norm.running_mean[:size], norm.running_var[:size])
        return OpWeights(weight, None if held.bias is None else held.bias[: shape[0]], norm)

    def _shrink(self, op: Op, weight: Tensor) -> Tensor:
        owner = self.full.get_submodule(op.name)
        size = self._full_kernel[op.name]
        for target in reversed(self._kernels):
            if not op.kernel <= target < size:
                continue
            edge = (size - target) // 2
            crop = weight[:, :, edge : edge + target, edge : edge + target]
            flat = F.linear(crop.reshape(-1, target * target), owner.get_parameter(f"to_{target}"))
            weight = flat.view(*crop.shape)
            size = target
        return weight

    def forward(
        self, images: Tensor, net: NetSpec | None = None, convolve: Convolve = plain, drop: Drop | None = None
    ) -> Tensor:
        """Logits (N x classes) of `images` under the subnet `net`; the full network where none is given."""
        return run(self.full.net if net is None else net, self.weights, images, convolve, drop)

    def subnet(self, arch: Arch) -> Subnet:
        """A module that runs one architecture on the shared weights."""
        return Subnet(self, self.net(arch))

    @torch.no_grad()
    def extract(self, arch: Arch) -> StaticNet:
        """A stand-alone copy of one architecture, equal to its subnet bit for bit."""
        return StaticNet(self.net(arch), self._slice).eval()

    @torch.no_grad()
    def sort_channels(self, elastic: Sequence[int] = ()) -> None:
        """Reorder the middle channels of every block by importance, without changing the full network.

        Importance is the L1 norm of the weights that read a channel, as published (once-for-all, section 3.2). Channels
        stay inside the prefixes of the expansions in `elastic`, so that what those were trained on stays theirs; those
        inside squeeze-and-excitation are sorted as a whole, as in the published code.
        """
        for middle in middles(self.full.net):
            importance = stored_weights(middle.readers[0], self.full).weight.abs().sum((0, 2, 3))
            ends = [] if middle.width is None else [middle.width(expansion) for expansion in elastic]
            order = order_within(importance, ends)
            for op in middle.writers:
                for tensor in stored_weights(op, self.full).tensors():
                    tensor.copy_(tensor[order])
            for op in middle.readers:
                weight = stored_weights(op, self.full).weight
                weight.copy_(weight[:, order])


class Subnet(nn.Module):
    """One architecture on a supernet's shared weights; it owns nothing."""

    def __init__(self, supernet: OfaSupernet, net: NetSpec) -> None:
        super().__init__()
        self._shared = (supernet,)  # in a tuple, so that the weights are not registered as this module's own
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N x classes) of images (N x C x H x W)."""
        return run(self.net, self._shared[0].weights, images)


def _fresh(op: Op, generator: torch.Generator) -> OpWeights:
    """He initialisation by fan-out, as published; linear layers uniform by fan-in; normalisation at identity.

    Full convolutions inside the network hand on their first channels as they come, which trains sooner (Jordan, "94% on
    CIFAR-10 in 3.29 seconds", 2024, section 3.2, after Zagoruyko and Komodakis, "DiracNets", 2017).
    """
    shape = op.weight_shape
    assert shape is not None
    if op.kind == "conv":
        fan_out = op.kernel * op.kernel * shape[0] / op.groups
        weight = torch.randn(shape, generator=generator) * math.sqrt(2.0 / fan_out)
        if op.kernel > 1 and op.groups == 1 and op.inputs != (INPUT,) and shape[0] >= shape[1]:
            nn.init.dirac_(weight[: shape[1]])
    else:
        weight = (torch.rand(shape, generator=generator) * 2 - 1) / math.sqrt(shape[1])
    channels = shape[0]
    norm = None
    if op.norm:
        norm = Norm(torch.ones(channels), torch.zeros(channels), torch.zeros(channels), torch.ones(channels))
    return OpWeights(weight, torch.zeros(channels) if op.bias else None, norm)
