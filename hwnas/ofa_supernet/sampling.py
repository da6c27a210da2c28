"""Which subnets a training step draws."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hwnas.core.arch import Arch
from hwnas.ofa_supernet.recipe import Stage
from hwnas.spaces.units import UnitSpace


class Sampler(Protocol):
    """What one stage draws; a resolution is an option index."""

    def resolution(self, rng: np.random.Generator) -> int:
        """A step's resolution."""
        ...

    def step(self, rng: np.random.Generator, resolution: int) -> list[Arch]:
        """The subnets of a step; where the others learn from one of them, it is the first."""
        ...


class StageSampler:
    """Draws architectures from the options that are elastic in one stage."""

    def __init__(self, space: UnitSpace, stage: Stage) -> None:
        self.space = space
        elastic = {"kernel": stage.kernels, "expansion": stage.expansions, "depth": stage.depths}
        self._allowed: list[NDArray[np.int64]] = []
        for choice in space.choices:
            if choice.name == "resolution":
                values = stage.resolutions or list(choice.options)
            else:
                values = elastic[choice.name.rsplit(".", 1)[1]] or [choice.options[-1]]
            self._allowed.append(np.array(sorted(choice.options.index(value) for value in values)))
        self._stage = stage
        sizes = np.array(space.choices[0].options, dtype=np.float64)[self._allowed[0]]
        weights = sizes**-stage.resolution_bias
        self._resolution_weights = weights / weights.sum()

    def step(self, rng: np.random.Generator, resolution: int) -> list[Arch]:
        """The stage's largest and smallest subnets first where they are trained in every step, then drawn ones."""
        ends = [self._end(resolution, -1), self._end(resolution, 0)] if self._stage.sandwich else []
        return ends + [self.draw(rng, resolution) for _ in range(self._stage.subnets)]

    def draw(self, rng: np.random.Generator, resolution: int) -> Arch:
        """One architecture; every gene is uniform over the stage's options, save in the share of extremes."""
        if self._stage.extremes and rng.random() < self._stage.extremes:
            return self._end(resolution, -1 if rng.random() < 0.5 else 0)
        return self._arch([resolution, *(int(rng.choice(allowed)) for allowed in self._allowed[1:])])

    def resolution(self, rng: np.random.Generator) -> int:
        """The option index of a batch's resolution."""
        return int(rng.choice(self._allowed[0], p=self._resolution_weights))

    def _end(self, resolution: int, end: int) -> Arch:
        return self._arch([resolution, *(int(allowed[end]) for allowed in self._allowed[1:])])

    def _arch(self, genes: list[int]) -> Arch:
        canonical = self.space.canonical(np.array([genes], dtype=np.int16))[0]
        return Arch(self.space.id, tuple(int(gene) for gene in canonical))


class OneArch:
    """Always the same architecture, at its own resolution."""

    def __init__(self, arch: Arch) -> None:
        self.arch = arch

    def resolution(self, rng: np.random.Generator) -> int:
        return self.arch.genes[0]

    def step(self, rng: np.random.Generator, resolution: int) -> list[Arch]:
        return [self.arch]
