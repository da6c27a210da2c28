"""One architecture trained by itself, from random weights or from a subnet's: what subnets are held against."""

from __future__ import annotations

import copy
from pathlib import Path

from torch import Tensor, nn

from hwnas.core.arch import Arch
from hwnas.core.net import NetSpec
from hwnas.core.progress import Progress, silent
from hwnas.ofa_supernet.datasets import Splits
from hwnas.ofa_supernet.forward import Convolve, Drop, plain, run
from hwnas.ofa_supernet.network import OfaSupernet
from hwnas.ofa_supernet.recipe import Recipe, Stage
from hwnas.ofa_supernet.sampling import OneArch
from hwnas.ofa_supernet.static import StaticNet
from hwnas.ofa_supernet.train import keep_large_blocks
from hwnas.ofa_supernet.trainer import CHECKPOINT, Trainer


class Alone(nn.Module):
    """A network that is its only subnet."""

    def __init__(self, network: StaticNet) -> None:
        super().__init__()
        self.network = network

    def net(self, arch: Arch) -> NetSpec:
        return self.network.net

    def forward(
        self, images: Tensor, net: NetSpec | None = None, convolve: Convolve = plain, drop: Drop | None = None
    ) -> Tensor:
        """Logits (N x classes)."""
        return run(self.network.net, self.network.weights, images, convolve, drop)

    def extract(self, arch: Arch) -> StaticNet:
        return copy.deepcopy(self.network).eval()


def train_alone(
    recipe: Recipe, splits: Splits, arch: Arch, out: Path, start: StaticNet | None = None, progress: Progress = silent
) -> StaticNet:
    """Train one architecture on labels as long as a recipe's stages; a checkpoint in `out` is gone on with.

    Without a `start` its weights are random, by the recipe's seed. Its statistics want recalibration, as a subnet's do.

    Raises:
        InputError: the data is wrong, or the checkpoint in `out` is damaged or of another training.
    """
    keep_large_blocks()
    recipe = recipe.model_copy(update={"stage": [_of_one(stage) for stage in recipe.stage]})
    network = OfaSupernet(recipe.open_space(), recipe.seed).extract(arch) if start is None else copy.deepcopy(start)
    trainer = Trainer(
        recipe,
        splits,
        Alone(network),
        out,
        progress,
        samplers=lambda stage: OneArch(arch),
        probed={"alone": arch},
        identity=f"{recipe.identity} {arch.genes}",
    )
    if (out / CHECKPOINT).exists():
        trainer.restore(out / CHECKPOINT)
    trainer.run()
    trainer.network.load_state_dict(trainer.result())
    return network.eval()


def _of_one(stage: Stage) -> Stage:
    """A stage without what wants other subnets."""
    return stage.model_copy(update={"sandwich": False, "distill": 0.0, "sort_channels": False})
