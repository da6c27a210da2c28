"""Random search over the feasible architectures: the baseline every other strategy must beat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hwnas.core.arch import ArchBatch
from hwnas.core.problem import Problem, Trial
from hwnas.strategies.sampling import Seen, feasible_sample


@dataclass(frozen=True, eq=False)
class RandomSearch:
    """Scores distinct feasible architectures, uniform where rejection finds enough of them.

    `seeds` are starting points for narrow bands, such as the cheapest architecture; feasible ones are scored first.
    """

    seeds: ArchBatch | None = None
    chunk: int = 1000

    def search(self, problem: Problem, rng: np.random.Generator) -> Iterator[Trial]:
        """Yield trials until the budget ends or no further feasible architecture is found."""
        seen = Seen()
        while problem.left > 0:
            batch = feasible_sample(problem, min(self.chunk, problem.left), rng, self.seeds, seen)
            if not len(batch):
                return
            yield from problem.evaluate(batch)
