"""`Trainer`: the steps of a training, each a function of the recipe's seed and its own number.

A step draws its subnets and its images' views with a generator of its own, adds up the gradients of all subnets and
moves the weights once. Progressive shrinking (Cai et al., ICLR 2020, section 3.2) and the sandwich rule (Yu et al.,
ECCV 2020, section 3.1) differ in what a stage draws and in whose answers the subnets learn from.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from hwnas.core.arch import Arch
from hwnas.core.errors import InputError
from hwnas.core.genetics import sample
from hwnas.core.net import NetSpec
from hwnas.core.progress import Progress, silent
from hwnas.ofa_supernet import augment, checkpoint, curve
from hwnas.ofa_supernet.average import MovingAverage
from hwnas.ofa_supernet.batch_norm import by_batch
from hwnas.ofa_supernet.datasets import Splits
from hwnas.ofa_supernet.evaluate import accuracy, inputs
from hwnas.ofa_supernet.forward import Convolve, Drop, plain
from hwnas.ofa_supernet.ranks import OneProcess, Ranks
from hwnas.ofa_supernet.recalibration import recalibrate, set_statistics
from hwnas.ofa_supernet.recipe import Recipe, Stage
from hwnas.ofa_supernet.sampling import Sampler, StageSampler
from hwnas.ofa_supernet.static import StaticNet
from hwnas.ofa_supernet.stores import store_of

CHECKPOINT = "checkpoint.safetensors"
CHECKPOINT_SECONDS = 60.0
"""At most so much work is lost to a kill; one takes a tenth of a second."""
PROBE_IMAGES, PROBE_CALIBRATION = 1000, 512
"""Enough for a curve (standard error 1 point at 90%), cheap enough for every epoch."""
TEACHER_CALIBRATION = 200
"""Images a batch, as published for batch normalisation (once-for-all, appendix B)."""


class Trained(Protocol):
    """What is trained: a supernet, or one network that answers for each of its subnets."""

    def net(self, arch: Arch) -> NetSpec: ...

    def forward(
        self, images: Tensor, net: NetSpec | None = None, convolve: Convolve = plain, drop: Drop | None = None
    ) -> Tensor: ...

    def extract(self, arch: Arch) -> StaticNet: ...


@dataclass(frozen=True, eq=False)
class Step:
    """The images of a step, as rows of the training images, and their resolution, an option index."""

    resolution: int
    rows: NDArray[np.int64]


class Trainer:
    """One training: a network, the data, and the state that a checkpoint holds.

    `samplers` makes what draws the subnets of a stage; `probed` names the subnets whose held-out accuracy each epoch
    tells; None is the smallest, a middle and the largest of the space. `hardware` goes into the curve, beside the
    seconds. Checkpoints of another `identity` than this training's are refused; by default, of another recipe.

    Raises:
        InputError: the data has a label that the recipe does not name.
    """

    def __init__(
        self,
        recipe: Recipe,
        splits: Splits,
        network: nn.Module,
        out: Path,
        progress: Progress = silent,
        ranks: Ranks | None = None,
        samplers: Callable[[Stage], Sampler] | None = None,
        probed: Mapping[str, Arch] | None = None,
        *,
        hardware: str = "",
        identity: str | None = None,
    ) -> None:
        self.recipe, self.out, self.progress, self.held = recipe, out, progress, splits.held
        self.space = recipe.open_space()
        self.ranks = OneProcess() if ranks is None else ranks
        self.train = splits.train
        last = int(self.train.labels.max())
        if last >= len(recipe.labels):
            raise InputError(
                f"{recipe.dataset} has {last + 1} classes, labels in the recipe name {len(recipe.labels)}: name each"
            )
        if recipe.train_images is not None:
            self.train = self.train.first(recipe.train_images)
        self.store = store_of(self.train, self.ranks.device)
        self.network: Any = network.to(self.ranks.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.samplers = samplers or (lambda stage: StageSampler(self.space, stage))
        self.probed = self._three() if probed is None else probed
        self.augmentation = augment.Augmentation(**recipe.augment.model_dump())
        self.state = checkpoint.Progressed(identity=recipe.identity if identity is None else identity)
        self.optimizer: torch.optim.SGD | None = None
        self.teacher: StaticNet | None = None
        self.average: MovingAverage | None = None
        self.scaler = torch.amp.GradScaler(self.ranks.device.type, enabled=recipe.precision == "float16")
        self.events: curve.Events | None = None
        self.hardware = hardware
        self._saved_at = time.monotonic()

    def restore(self, path: Path) -> None:
        """Go back to a checkpoint of the same training.

        Raises:
            InputError: the checkpoint is damaged, or another recipe's.
        """
        parts, state = checkpoint.load(path)
        if state.identity != self.state.identity:
            raise InputError(f"{path} was trained with another recipe: use that one, or name another folder with --out")
        self.network.load_state_dict(parts["weights"])
        self.state = state
        if state.epoch or state.step:
            self.optimizer = self._new_optimizer(self.recipe.stage[state.stage])
            for name, parameter in self.network.named_parameters():
                if name in parts.get("momentum", {}):
                    buffer = torch.empty_like(parameter).copy_(parts["momentum"][name])
                    self.optimizer.state[parameter] = {"momentum_buffer": buffer}
        if "average" in parts:
            self.average = MovingAverage(self.network, self.recipe.average, state.averaged)
            for name, value in self.average.tensors.items():
                value.copy_(parts["average"][name])
        if "teacher" in parts:
            self.teacher = self._empty_teacher()
            self.teacher.load_state_dict(parts["teacher"])
        if state.scaler:
            self.scaler.load_state_dict(state.scaler)

    def run(self) -> None:
        """Train what is left of every stage."""
        if self.ranks.rank == 0:
            self.events = curve.Events(self.out, self.state.curve)
        try:
            while self.state.stage < len(self.recipe.stage):
                stage = self.recipe.stage[self.state.stage]
                if stage.distill and not stage.sandwich and self.teacher is None:
                    self.teacher = self._new_teacher()
                if self.optimizer is None:
                    self._begin(stage)
                self._epoch(stage)
        finally:
            if self.events is not None:
                self.events.close()

    def result(self) -> dict[str, Tensor]:
        """What is kept of the network: its state, averaged if the recipe says so."""
        state: dict[str, Tensor] = self.network.state_dict()
        return state if self.average is None else self.average.state_dict()

    def _begin(self, stage: Stage) -> None:
        if stage.sort_channels:
            self.network.sort_channels(self._elastic_expansions())
        self.optimizer = self._new_optimizer(stage)
        if self.recipe.average:
            self.average = MovingAverage(self.network, self.recipe.average)

    def _elastic_expansions(self) -> list[int]:
        """The expansion ratios that earlier stages have trained, the largest aside."""
        earlier = self.recipe.stage[: self.state.stage]
        trained = {ratio for stage in earlier for ratio in stage.expansions or ()}
        return sorted(trained - {self.space.layout.expansions[-1]})

    def _new_optimizer(self, stage: Stage) -> torch.optim.SGD:
        """SGD with Nesterov momentum; no decay on biases and normalisations, as published."""
        decay = self.recipe.weight_decay if stage.weight_decay is None else stage.weight_decay
        named = dict(self.network.named_parameters())
        shifts = [name for name, p in named.items() if p.ndim == 1 and name.endswith(".norm.bias")]
        weights = [name for name, p in named.items() if p.ndim > 1]
        groups = [
            {"params": [named.pop(name) for name in weights], "weight_decay": decay},
            {"params": [named.pop(name) for name in shifts], "weight_decay": 0.0, "rate": self.recipe.bias_rate},
            {"params": list(named.values()), "weight_decay": 0.0},
        ]
        return torch.optim.SGD(groups, lr=stage.learning_rate, momentum=self.recipe.momentum, nesterov=True)

    def _generator(self, *numbers: int) -> np.random.Generator:
        """Of the draws of a stage's epoch, or of a step in it."""
        return np.random.default_rng([self.recipe.seed, self.state.stage, *numbers])

    def _plan(self, sampler: Sampler, stage: Stage) -> list[Step]:
        """The steps of the epoch to come."""
        rng = self._generator(self.state.epoch)
        order = rng.permutation(len(self.train))[: stage.images]
        steps: list[Step] = []
        start = 0
        while True:
            resolution = sampler.resolution(rng)
            size = min(self.recipe.batch_at(self.space.layout.resolutions[resolution]), len(order))
            if start + size > len(order):
                return steps
            steps.append(Step(resolution, order[start : start + size]))
            start += size

    def _epoch(self, stage: Stage) -> None:
        assert self.optimizer is not None
        sampler = self.samplers(stage)
        plan = self._plan(sampler, stage)
        told = f"{stage.name} {self.state.epoch + 1}/{stage.epochs}{self._last_accuracies()}"
        loss = torch.tensor(self.state.loss, dtype=torch.float64, device=self.ranks.device)
        started = time.monotonic() - self.state.seconds
        for index in range(self.state.step, len(plan)):
            rate = _learning_rate(stage, self.state.epoch * len(plan) + index, stage.epochs * len(plan))
            for group in self.optimizer.param_groups:
                group["lr"] = rate * group.get("rate", 1.0)
            rng = self._generator(self.state.epoch, index)
            loss += self._step(stage, sampler, plan[index], rng, plan[index + 1 : index + 2])
            self.state.step = index + 1
            self.progress(told, index + 1, len(plan))
            if time.monotonic() - self._saved_at > CHECKPOINT_SECONDS:
                self.state.loss, self.state.seconds = float(loss), time.monotonic() - started
                self._save()
        entry: curve.Row = {"stage": stage.name, "epoch": self.state.epoch + 1, "loss": float(loss) / len(plan)}
        entry |= self._probe() | {"seconds": round(time.monotonic() - started, 1), "hardware": self.hardware}
        self.state.curve.append(entry)
        if self.events is not None:
            self.events.add(entry)
        self.state.epoch, self.state.step, self.state.loss, self.state.seconds = self.state.epoch + 1, 0, 0.0, 0.0
        if self.state.epoch == stage.epochs:
            self.state.stage, self.state.epoch = self.state.stage + 1, 0
            self.optimizer = None
        self._save()

    def _step(
        self, stage: Stage, sampler: Sampler, step: Step, rng: np.random.Generator, following: Sequence[Step] = ()
    ) -> Tensor:
        """One update from the gradients of several subnets on one batch; their mean loss."""
        assert self.optimizer is not None
        resolution = self.space.layout.resolutions[step.resolution]
        archs = sampler.step(rng, step.resolution)
        views = augment.draw(self.augmentation, len(step.rows), self.store.size, rng)
        mine = np.arange(self.ranks.rank, len(step.rows), self.ranks.world)
        drop = self._drop(int(rng.integers(2**31)), len(step.rows), mine)

        def seen(size: int) -> Tensor:
            return augment.inputs(
                lambda rows: self.store.take(step.rows[rows]), views, mine, size, self.recipe.mean, self.recipe.std
            )

        images = seen(resolution)
        labels = self.train.labels[step.rows].astype(np.int64)
        wanted = augment.targets(labels, views, mine, len(self.recipe.labels), self.recipe.label_smoothing)
        hard = torch.from_numpy(wanted).to(self.ranks.device)
        soft = None
        if stage.distill and not stage.sandwich and self.teacher is not None:
            with torch.no_grad(), self._autocast():
                size = self.teacher.net.input_shape[1]
                soft = self.teacher(images if size == resolution else seen(size)).float().softmax(1)
        for other in following:
            self.store.expect(other.rows if views.mixes else other.rows[self.ranks.rank :: self.ranks.world])
        convolve = by_batch(None if self.ranks.world == 1 else len(step.rows))
        total = torch.zeros((), dtype=torch.float64, device=self.ranks.device)
        self.optimizer.zero_grad(set_to_none=True)
        for place, arch in enumerate(archs):
            with self._autocast():
                logits = self.network(images, self.network.net(arch), convolve, drop).float()
            loss = _loss(logits, hard, soft, stage, first=place == 0) / (len(step.rows) * len(archs))
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            if stage.sandwich and place == 0:
                soft = logits.detach().softmax(1)
            total += loss.detach()
        self._move()
        self.ranks.add_up([total])
        return total

    def _move(self) -> None:
        """Take the step that the gradients of all processes say."""
        assert self.optimizer is not None
        parameters = [parameter for parameter in self.network.parameters() if parameter.grad is not None]
        self.ranks.add_up([parameter.grad for parameter in parameters])
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(parameters, self.recipe.gradient_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update()

    def _autocast(self) -> AbstractContextManager[None]:
        precision = self.recipe.precision
        kind: torch.dtype = getattr(torch, precision)
        return torch.autocast(self.ranks.device.type, kind, enabled=precision != "float32")

    def _drop(self, seed: int, images: int, mine: NDArray[np.int64]) -> Drop | None:
        """Dropout whose mask is drawn for the whole batch, anew for each subnet."""
        if not self.recipe.dropout:
            return None
        keep = 1 - self.recipe.dropout
        generator = torch.Generator().manual_seed(seed)
        rows = torch.from_numpy(mine)

        def drop(value: Tensor) -> Tensor:
            mask = torch.rand((images, *value.shape[1:]), generator=generator)[rows] < keep
            return value * (mask.to(value) / keep)

        return drop

    def _teacher_arch(self) -> Arch:
        options = self.space.layout.resolutions
        resolution = options.index(self.recipe.teacher_resolution or options[-1])
        return Arch(self.space.id, (resolution, *self.space.largest.genes[1:]))

    def _empty_teacher(self) -> StaticNet:
        network: StaticNet = self.network.extract(self._teacher_arch())
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    @torch.no_grad()
    def _new_teacher(self) -> StaticNet:
        """The full network as it is now, with statistics of its own; on the images a batch that were published."""
        network = self._empty_teacher()
        calibration = inputs(self.held["calibration"].images, network.net.input_shape[1], self.recipe)
        batches = torch.split(calibration.to(self.ranks.device), TEACHER_CALIBRATION)
        set_statistics(network, recalibrate(network.net, network.weights, batches))
        return network

    def _three(self) -> dict[str, Arch]:
        """The smallest, a middle and the largest subnet, all at one middle resolution."""
        options = self.space.layout.resolutions
        resolution = options.index(self.recipe.teacher_resolution or options[len(options) // 2])
        middle = sample(self.space, 1, np.random.default_rng(0))[0]
        archs = {"smallest": self.space.smallest, "middle": middle, "largest": self.space.largest}
        return {name: Arch(self.space.id, (resolution, *arch.genes[1:])) for name, arch in archs.items()}

    def _probe(self) -> dict[str, float]:
        """Held-out accuracy of the probed subnets, with the weights that would be kept."""
        split = self.held["predictor"].first(PROBE_IMAGES)
        calibration = self.held["calibration"].images[:PROBE_CALIBRATION]
        own = self.network.state_dict()
        if self.average is not None:
            own = {name: value.clone() for name, value in own.items()}
            self.network.load_state_dict(self.result())
        found = {
            name: accuracy(self.network, arch, split, calibration, self.recipe) for name, arch in self.probed.items()
        }
        if self.average is not None:
            self.network.load_state_dict(own)
        return found

    def _last_accuracies(self) -> str:
        if not self.state.curve:
            return ""
        return f" ({', '.join(f'{name} {self.state.curve[-1][name]:.1%}' for name in self.probed)})"

    def _save(self) -> None:
        """Write a checkpoint and the curve; of several processes, the first does."""
        self._saved_at = time.monotonic()
        if self.ranks.rank:
            return
        parts: dict[str, checkpoint.Tensors] = {"weights": self.network.state_dict()}
        if self.optimizer is not None:
            buffers = {
                name: self.optimizer.state[parameter].get("momentum_buffer")
                for name, parameter in self.network.named_parameters()
                if parameter in self.optimizer.state
            }
            parts["momentum"] = {name: buffer for name, buffer in buffers.items() if buffer is not None}
        if self.average is not None:
            parts["average"] = self.average.tensors
            self.state.averaged = self.average.steps
        if self.teacher is not None:
            parts["teacher"] = self.teacher.state_dict()
        self.state.scaler = self.scaler.state_dict()
        checkpoint.save(self.out / CHECKPOINT, parts, self.state)
        curve.write_csv(self.out, self.state.curve)


def _loss(logits: Tensor, hard: Tensor, soft: Tensor | None, stage: Stage, first: bool) -> Tensor:
    """Summed over images: against the labels (`hard`) and the better network's answers (`soft`), both N x classes."""
    if stage.sandwich:
        if first or not stage.distill or soft is None:
            return F.cross_entropy(logits, hard, reduction="sum")
        return F.cross_entropy(logits, soft, reduction="sum")
    loss = F.cross_entropy(logits, hard, reduction="sum")
    return loss if soft is None else loss + stage.distill * F.cross_entropy(logits, soft, reduction="sum")


def _learning_rate(stage: Stage, step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine to zero."""
    warmup = min(stage.warmup_steps, steps // 5)
    if step < warmup:
        return stage.learning_rate * (step + 1) / warmup
    return stage.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
