"""Which subnet a training step draws."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwnas.core.arch import Arch
from hwnas.ofa_supernet.recipe import Stage
from hwnas.spaces.inverted_bottlenecks import InvertedBottlenecks


class StageSampler:
    """Draws architectures from the options that are elastic in one stage."""

    def __init__(self, space: InvertedBottlenecks, stage: Stage) -> None:
        self.space = space
        elastic = {"kernel": stage.kernels, "expansion": stage.expansions, "depth": stage.depths}
        self._allowed: list[NDArray[np.int64]] = []
        for choice in space.choices:
            if choice.name == "resolution":
                values = stage.resolutions or list(choice.options)
            else:
                values = elastic[choice.name.rsplit(".", 1)[1]] or [choice.options[-1]]
            self._allowed.append(np.array(sorted(choice.options.index(value) for value in values)))
        self._extremes = stage.extremes
        sizes = np.array(space.choices[0].options, dtype=np.float64)[self._allowed[0]]
        weights = sizes**-stage.resolution_bias
        self._resolution_weights = weights / weights.sum()

    def draw(self, rng: np.random.Generator, resolution: int) -> Arch:
        """One architecture at a resolution (an option index).

        Every other gene is uniform over the stage's options, save in the share of extremes.
        """
        if self._extremes and rng.random() < self._extremes:
            end = -1 if rng.random() < 0.5 else 0
            genes = [resolution, *(int(allowed[end]) for allowed in self._allowed[1:])]
        else:
            genes = [resolution, *(int(rng.choice(allowed)) for allowed in self._allowed[1:])]
        canonical = self.space.canonical(np.array([genes], dtype=np.int16))[0]
        return Arch(self.space.id, tuple(int(gene) for gene in canonical))

    def resolution(self, rng: np.random.Generator) -> int:
        """The option index of a batch's resolution."""
        return int(rng.choice(self._allowed[0], p=self._resolution_weights))
