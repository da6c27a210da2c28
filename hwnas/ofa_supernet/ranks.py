"""The processes of one training: alone, or one of several that `torchrun` started, joined by Lightning Fabric.

Every process draws the same subnets and the same views of the same images, and takes each its part of every batch; what
they add up is then what one process would have.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from hwnas.core.errors import InputError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Ranks(Protocol):
    """What a training asks of the processes that run it."""

    @property
    def rank(self) -> int: ...

    @property
    def world(self) -> int:
        """How many processes there are."""
        ...

    @property
    def device(self) -> torch.device: ...

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Each tensor becomes its sum over all processes, in place."""
        ...

    def wait(self) -> None:
        """Until all processes are here."""
        ...


class OneProcess:
    """All of the training in this process."""

    rank, world = 0, 1

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        return

    def wait(self) -> None:
        return


class Joined:
    """One of several processes."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self.rank, self.world = fabric.global_rank, fabric.world_size
        self.device = fabric.device

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        if not tensors:
            return
        flat: Any = self._fabric.all_reduce(torch.cat([value.flatten() for value in tensors]), reduce_op="sum")
        for value, part in zip(tensors, flat.split([value.numel() for value in tensors]), strict=True):
            value.copy_(part.view_as(value))

    def wait(self) -> None:
        self._fabric.barrier()


def open_ranks(accelerator: str = "auto") -> Ranks:
    """The processes that this one belongs to, as `torchrun` tells in the environment, on "cpu", "cuda" or "auto".

    Raises:
        InputError: there is no such accelerator, or Lightning Fabric is missing.
    """
    cuda = torch.cuda.is_available()
    if accelerator == "cuda" and not cuda:
        raise InputError("torch sees no CUDA device here: leave --accelerator out, or install a torch with CUDA")
    kind = "cuda" if cuda and accelerator != "cpu" else "cpu"
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return OneProcess(kind)
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
        from lightning_fabric.strategies.ddp import DDPStrategy
    except ImportError as error:
        raise InputError(
            "training in several processes needs Lightning Fabric: run 'pip install hwnas[distributed]'"
        ) from error
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    strategy = DDPStrategy(
        process_group_backend="nccl" if kind == "cuda" else "gloo", cluster_environment=TorchElasticEnvironment()
    )
    fabric = Fabric(accelerator=kind, strategy=strategy, devices=local, num_nodes=world // local)
    fabric.launch()
    return Joined(fabric)
