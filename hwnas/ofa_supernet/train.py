"""`train`: a recipe's supernet into a folder, from the start or from where a kill left it."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import torch

from hwnas.core.errors import InputError
from hwnas.core.files import write_atomic
from hwnas.core.progress import Progress, silent
from hwnas.ofa_supernet import checkpoint, curve
from hwnas.ofa_supernet.datasets import Splits
from hwnas.ofa_supernet.folder import RECIPE, WEIGHTS, SupernetFolder
from hwnas.ofa_supernet.network import OfaSupernet
from hwnas.ofa_supernet.ranks import OneProcess, Ranks
from hwnas.ofa_supernet.recipe import Recipe, parse_recipe
from hwnas.ofa_supernet.trainer import CHECKPOINT, Trainer


def train(
    text: str,
    splits: Splits,
    out: Path,
    resume: bool = False,
    progress: Progress = silent,
    ranks: Ranks | None = None,
    hardware: str = "",
) -> OfaSupernet:
    """Train the supernet of a recipe's text into the folder `out`: weights, curve, recipe; returns it trained.

    Where the weights are there already they are read, and the recipe may differ from theirs in how subnets are measured
    (its [predictor] table), which takes the place of what it was. `hardware` goes into the curve, beside the seconds.

    Raises:
        InputError: the recipe or data is wrong, `out` holds another training, or its checkpoint is damaged.
    """
    recipe = parse_recipe(text, out / RECIPE)
    ranks = OneProcess() if ranks is None else ranks
    target = out / CHECKPOINT
    if target.exists() and not resume:
        raise InputError(f"{out} holds an unfinished training: go on with --resume, or remove {target}")
    if (out / WEIGHTS).exists() and not resume:
        raise InputError(f"{out} holds a trained supernet: name another folder with --out")
    trained = (out / WEIGHTS).exists() and not target.exists()
    _refuse_apart(ranks, trained, target.exists())
    if trained:
        return _trained(out, recipe, text, ranks)
    keep_large_blocks()
    network = OfaSupernet(recipe.open_space(), recipe.seed)
    trainer = Trainer(recipe, splits, network, out, progress, ranks, hardware=hardware)
    if target.exists():
        trainer.restore(target)
    _refuse_apart(ranks, trainer.state.stage, trainer.state.epoch, trainer.state.step)
    if ranks.rank == 0:
        write_atomic(out / RECIPE, text)
    trainer.run()
    supernet: OfaSupernet = trainer.network
    supernet.load_state_dict(trainer.result())
    if ranks.rank == 0:
        curve.write_csv(out, trainer.state.curve)  # a kill may have come before its last row
        checkpoint.save_weights(out / WEIGHTS, supernet.state_dict(), {"space": recipe.open_space().id})
        target.unlink(missing_ok=True)
    ranks.wait()
    return supernet


def _refuse_apart(ranks: Ranks, *here: int) -> None:
    """All processes are to go on from the same place; not so where each has a folder of its own.

    Raises:
        InputError: this process stands elsewhere than others.
    """
    own = torch.tensor(here, dtype=torch.float64, device=ranks.device)
    total = own.clone()
    ranks.add_up([total])
    if not torch.equal(total, own * ranks.world):
        raise InputError("the processes find different things at --out: name a folder that all of them share")


def _trained(out: Path, recipe: Recipe, text: str, ranks: Ranks) -> OfaSupernet:
    """The supernet in `out`, if it is the one that `recipe` asks for."""
    folder = SupernetFolder(out)
    if not folder.recipe.trains_like(recipe):
        raise InputError(
            f"{out} was trained with another recipe: only [predictor] may change now; use {out / RECIPE}, "
            "or name another folder with --out"
        )
    supernet: OfaSupernet = folder.load().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if ranks.rank == 0:
        write_atomic(out / RECIPE, text)
    return supernet


def keep_large_blocks() -> None:
    """Tell glibc to keep freed activations instead of handing them back to the kernel.

    Page faults on fresh blocks cost a quarter of a training step here (118 images a second, 155 with it).
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        m_trim_threshold, m_mmap_threshold = -1, -3  # from glibc's malloc.h
        libc.mallopt(m_mmap_threshold, 1 << 30)
        libc.mallopt(m_trim_threshold, (1 << 31) - 1)
