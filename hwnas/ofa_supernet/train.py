"""Progressive shrinking (Cai et al., ICLR 2020, section 3.2), a checkpoint an epoch, resumable without a difference.

Every stage starts a fresh optimizer over the weights so far. Stages after the first may distil from the full network
as the first stage left it: its logits are computed once for each training image and its mirror image, the only
augmentation, so that a step of distillation costs no forward pass of the teacher.
"""

from __future__ import annotations

import contextlib
import csv
import ctypes
import io
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor

from hwnas.core.arch import Arch
from hwnas.core.errors import InputError
from hwnas.core.files import write_atomic
from hwnas.core.genetics import sample
from hwnas.core.net import Op
from hwnas.core.progress import Progress, silent
from hwnas.ofa_supernet import checkpoint
from hwnas.ofa_supernet.data import READERS, Split
from hwnas.ofa_supernet.evaluate import accuracy, inputs
from hwnas.ofa_supernet.folder import CURVE, RECIPE, WEIGHTS, SupernetFolder
from hwnas.ofa_supernet.forward import Norm, normalised_by
from hwnas.ofa_supernet.network import OfaSupernet
from hwnas.ofa_supernet.recalibration import recalibrate, set_statistics
from hwnas.ofa_supernet.recipe import Recipe, Stage, read_recipe
from hwnas.ofa_supernet.sampling import StageSampler

CHECKPOINT = "checkpoint.safetensors"
TEACHER = "teacher.safetensors"
BN_MOMENTUM = 0.1
"""As published (once-for-all, train_ofa_net.py)."""
PROBE_IMAGES, PROBE_CALIBRATION = 1000, 512
"""Enough for a curve (standard error under 1 point), cheap enough for every epoch."""


def train(recipe_path: Path, out: Path, resume: bool = False, progress: Progress = silent) -> OfaSupernet:
    """Train the recipe's supernet into the folder `out`: weights, curve, recipe; returns the trained supernet.

    Where the weights are there already they are read, and the recipe may differ from theirs in how subnets are measured
    (its [predictor] table), which takes the place of what it was.

    Raises:
        InputError: the recipe or data is wrong, `out` holds another training, or its checkpoint is damaged.
    """
    recipe = read_recipe(recipe_path)
    text = recipe_path.read_text()
    target = out / CHECKPOINT
    if target.exists() and not resume:
        raise InputError(f"{out} holds an unfinished training: go on with --resume, or remove {target}")
    if (out / WEIGHTS).exists() and not resume:
        raise InputError(f"{out} holds a trained supernet: name another folder with --out")
    if not target.exists():
        # Of a training whose checkpoint was removed, by its end or by hand. Where it cannot go, nothing can be written
        # either, which is told below.
        with contextlib.suppress(OSError):
            (out / TEACHER).unlink()
        if (out / WEIGHTS).exists():
            return _trained(out, recipe, text)
    _keep_large_blocks()
    trainer = Trainer(recipe, READERS[recipe.dataset](recipe.data), out, progress)
    trainer.state.recipe = text
    if target.exists():
        trainer.restore(target, text)
    write_atomic(out / RECIPE, text)
    trainer.run()
    trainer.finish()
    return trainer.supernet


def _trained(out: Path, recipe: Recipe, text: str) -> OfaSupernet:
    """The supernet in `out`, if it is the one that `recipe` asks for."""
    folder = SupernetFolder(out)
    if folder.recipe.model_copy(update={"predictor": recipe.predictor}) != recipe:
        raise InputError(
            f"{out} was trained with another recipe: only [predictor] may change now; use {out / RECIPE}, "
            "or name another folder with --out"
        )
    supernet: OfaSupernet = folder.load().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    write_atomic(out / RECIPE, text)
    return supernet


class Trainer:
    """One training: the supernet, the data, and the state that a checkpoint holds.

    Raises:
        InputError: the data has a label that the recipe does not name.
    """

    def __init__(self, recipe: Recipe, splits: dict[str, Split], out: Path, progress: Progress) -> None:
        self.recipe = recipe
        self.out = out
        self.progress = progress
        self.splits = splits
        self.train = splits["train"]
        last = int(self.train.labels.max())
        if last >= len(recipe.labels):
            raise InputError(
                f"{recipe.dataset} has {last + 1} classes, labels in the recipe name {len(recipe.labels)}: name each"
            )
        if recipe.train_images is not None:
            self.train = self.train.take(np.arange(min(recipe.train_images, len(self.train))))
        self.space = recipe.open_space()
        self.supernet: OfaSupernet = OfaSupernet(self.space, recipe.seed).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.rng = np.random.default_rng(recipe.seed)
        self.state = checkpoint.Progressed()
        self.teacher: Tensor | None = None
        self.optimizer: torch.optim.SGD | None = None

    def restore(self, path: Path, recipe_text: str) -> None:
        """Go back to a checkpoint of the same recipe."""
        weights, momentum, state = checkpoint.load(path)
        if state.recipe != recipe_text:
            raise InputError(f"{path} was trained with another recipe: use that one, or name another folder with --out")
        self.supernet.load_state_dict(weights)
        self.state = state
        self.rng.bit_generator.state = state.rng
        if state.epoch:
            self.optimizer = self._new_optimizer(self.recipe.stage[state.stage])
            for name, parameter in self.supernet.named_parameters():
                if name in momentum:
                    self.optimizer.state[parameter] = {"momentum_buffer": momentum[name]}

    def run(self) -> None:
        """Train what is left of every stage."""
        while self.state.stage < len(self.recipe.stage):
            stage = self.recipe.stage[self.state.stage]
            if stage.distill and self.teacher is None:
                self.teacher = self._teacher_logits()
            if self.optimizer is None:
                if stage.sort_channels:
                    self.supernet.sort_channels(self._elastic_expansions())
                self.optimizer = self._new_optimizer(stage)
            self._epoch(stage, self.optimizer)

    def _elastic_expansions(self) -> list[int]:
        """The expansion ratios that earlier stages have trained, the largest aside."""
        earlier = self.recipe.stage[: self.state.stage]
        trained = {ratio for stage in earlier for ratio in stage.expansions or ()}
        return sorted(trained - {self.space.layout.expansions[-1]})

    def _epoch(self, stage: Stage, optimizer: torch.optim.SGD) -> None:
        started = time.monotonic()
        torch.manual_seed(int(self.rng.integers(2**31)))
        sampler = StageSampler(self.space, stage)
        batches = list(self._batches(stage, sampler))
        total_loss = 0.0
        for index, (resolution, rows) in enumerate(batches):
            step = self.state.epoch * len(batches) + index
            for group in optimizer.param_groups:
                group["lr"] = _learning_rate(stage, step, stage.epochs * len(batches))
            total_loss += self._step(stage, sampler, optimizer, resolution, rows)
            self.progress(f"{stage.name} {self.state.epoch + 1}/{stage.epochs}", index + 1, len(batches))
        self.state.epoch += 1
        entry: dict[str, Any] = {"stage": stage.name, "epoch": self.state.epoch, "loss": total_loss / len(batches)}
        entry |= self._probe() | {"seconds": round(time.monotonic() - started, 1)}
        self.state.curve.append(entry)
        if self.state.epoch == stage.epochs:
            self.state.stage += 1
            self.state.epoch = 0
            self.optimizer = None
        self._save()

    def _step(
        self,
        stage: Stage,
        sampler: StageSampler,
        optimizer: torch.optim.SGD,
        resolution: int,
        rows: np.ndarray[Any, Any],
    ) -> float:
        """One update from the gradients of `stage.subnets` subnets on one batch; returns their mean loss."""
        batch = self.train.take(rows)
        flips = self.rng.random(len(rows)) < 0.5
        pixels = np.where(flips[:, None, None, None], batch.images[:, :, ::-1], batch.images)
        images = inputs(pixels, self.space.layout.resolutions[resolution], self.recipe)
        labels = torch.from_numpy(batch.labels.astype(np.int64))
        soft = None
        if stage.distill and self.teacher is not None:
            soft = self.teacher[torch.from_numpy(flips.astype(np.int64)), torch.from_numpy(rows)].float().softmax(1)
        optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for _ in range(stage.subnets):
            net = self.supernet.net(sampler.draw(self.rng, resolution))
            logits = self.supernet(images, net, BY_BATCH, self.recipe.dropout)
            loss = F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
            if soft is not None:
                loss = loss + stage.distill * F.cross_entropy(logits, soft)
            loss = loss / stage.subnets
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(self.supernet.parameters(), self.recipe.gradient_clip)
        optimizer.step()
        return total

    def _batches(self, stage: Stage, sampler: StageSampler) -> Iterator[tuple[int, np.ndarray[Any, Any]]]:
        """An epoch's steps: the option index of the resolution, and the rows of the images."""
        order = self.rng.permutation(len(self.train))[: stage.images]
        start = 0
        while start < len(order):
            resolution = sampler.resolution(self.rng)
            size = min(self.recipe.batch_at(self.space.layout.resolutions[resolution]), len(order))
            if start + size > len(order):
                return
            yield resolution, order[start : start + size]
            start += size

    def _new_optimizer(self, stage: Stage) -> torch.optim.SGD:
        """SGD with Nesterov momentum; no decay on biases and normalisations, as published."""
        decayed = [p for p in self.supernet.parameters() if p.ndim > 1]
        others = [p for p in self.supernet.parameters() if p.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": self.recipe.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        return torch.optim.SGD(groups, lr=stage.learning_rate, momentum=self.recipe.momentum, nesterov=True)

    @torch.no_grad()
    def _teacher_logits(self) -> Tensor:
        """The full network's logits of every training image and of its mirror image: 2 x N x classes, float16."""
        path = self.out / TEACHER
        with contextlib.suppress(FileNotFoundError, SafetensorError, KeyError):  # a damaged file is made again
            return safetensors.torch.load(path.read_bytes())["logits"]
        options = self.space.layout.resolutions
        resolution = self.recipe.teacher_resolution or options[-1]
        genes = (options.index(resolution), *self.space.largest.genes[1:])
        network = self.supernet.extract(Arch(self.space.id, genes)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        calibration = inputs(self.splits["calibration"].images, resolution, self.recipe)
        set_statistics(network, recalibrate(network.net, network.weights, torch.split(calibration, 200)))
        sides = []
        for side, pixels in enumerate((self.train.images, self.train.images[:, :, ::-1])):
            parts = []
            for start in range(0, len(pixels), 256):
                part = pixels[start : start + 256]
                parts.append(network(inputs(part, resolution, self.recipe)))
                self.progress("teacher", side * len(pixels) + start + len(part), 2 * len(pixels))
            sides.append(torch.cat(parts))
        logits = torch.stack(sides).half()
        write_atomic(path, safetensors.torch.save({"logits": logits}))
        return logits

    def _probe(self) -> dict[str, float]:
        """Held-out accuracy of the smallest, a middle and the largest subnet, all at one middle resolution."""
        options = self.space.layout.resolutions
        resolution = options.index(self.recipe.teacher_resolution or options[len(options) // 2])
        middle = sample(self.space, 1, np.random.default_rng(0))[0]
        probed = {"smallest": self.space.smallest, "middle": middle, "largest": self.space.largest}
        split = self.splits["predictor"].take(np.arange(PROBE_IMAGES))
        calibration = self.splits["calibration"].images[:PROBE_CALIBRATION]
        return {
            name: accuracy(
                self.supernet, Arch(self.space.id, (resolution, *arch.genes[1:])), split, calibration, self.recipe
            )
            for name, arch in probed.items()
        }

    def _save(self) -> None:
        self.state.rng = dict(self.rng.bit_generator.state)
        momentum = {}
        if self.optimizer is not None:
            for name, parameter in self.supernet.named_parameters():
                buffer = self.optimizer.state.get(parameter, {}).get("momentum_buffer")
                if buffer is not None:
                    momentum[name] = buffer
        checkpoint.save(self.out / CHECKPOINT, self.supernet.state_dict(), momentum, self.state)
        write_atomic(self.out / CURVE, _curve_csv(self.state.curve))

    def finish(self) -> None:
        """Write curve and trained weights, then drop what only training needed."""
        write_atomic(self.out / CURVE, _curve_csv(self.state.curve))  # a kill may have come before its last row
        checkpoint.save_weights(self.out / WEIGHTS, self.supernet.state_dict(), {"space": self.space.id})
        for name in (CHECKPOINT, TEACHER):
            (self.out / name).unlink(missing_ok=True)


def training_norm(op: Op, value: Tensor, norm: Norm) -> Tensor:
    """Batch normalisation by the batch's own statistics; the shared running ones are updated in place."""
    return F.batch_norm(
        value,
        norm.running_mean,
        norm.running_var,
        norm.weight,
        norm.bias,
        training=True,
        momentum=BN_MOMENTUM,
        eps=op.norm_eps,
    )


BY_BATCH = normalised_by(training_norm)


def _learning_rate(stage: Stage, step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine to zero."""
    warmup = min(stage.warmup_steps, steps // 5)
    if step < warmup:
        return stage.learning_rate * (step + 1) / warmup
    return stage.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _curve_csv(curve: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(curve[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {key: round(value, 5) if isinstance(value, float) else value for key, value in row.items()} for row in curve
    )
    return text.getvalue()


def _keep_large_blocks() -> None:
    """Tell glibc to keep freed activations instead of handing them back to the kernel.

    Page faults on fresh blocks cost a tenth of a training step here (118 to 155 images a second with it).
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        m_trim_threshold, m_mmap_threshold = -1, -3  # from glibc's malloc.h
        libc.mallopt(m_mmap_threshold, 1 << 30)
        libc.mallopt(m_trim_threshold, (1 << 31) - 1)
