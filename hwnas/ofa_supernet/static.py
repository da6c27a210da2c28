"""`StaticNet`: one network with its own weights, as extracted from a supernet."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from hwnas.core.net import NetSpec, Op
from hwnas.ofa_supernet.forward import Norm, OpWeights, Weights, run


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
