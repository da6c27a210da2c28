"""Evolution within constraints, as once-for-all searches (Cai et al., ICLR 2020, section 3.4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hwnas.core.arch import ArchBatch
from hwnas.core.genetics import crossover, mutate
from hwnas.core.metrics import Floats
from hwnas.core.problem import Problem, Trial
from hwnas.strategies.sampling import Seen, feasible_sample, joined

ATTEMPTS = 4
"""Draws of children a generation, 4 x population each, before newcomers fill the places that are left."""


@dataclass(frozen=True, eq=False)
class ConstrainedEvolution:
    """The best quarter lives on; half the children are mutations, half crossings; the infeasible are never born.

    The defaults are once-for-all's own: population 100, a quarter of it parents, half the children by mutation, each
    gene with probability 0.1. It ran 500 generations; here the problem's budget ends the search. `seeds` are starting
    points for narrow bands, such as the cheapest architecture.
    """

    population: int = 100
    parents: float = 0.25
    mutation_share: float = 0.5
    mutation_probability: float = 0.1
    seeds: ArchBatch | None = None

    def search(self, problem: Problem, rng: np.random.Generator) -> Iterator[Trial]:
        """Yield trials, generation by generation, until the budget ends or no further architecture is found."""
        seen = Seen()
        keep = max(2, round(self.population * self.parents))
        elite = ArchBatch(problem.space.id, np.zeros((0, len(problem.space.choices)), dtype=np.int16))
        scores: Floats = np.zeros(0)
        while problem.left > 0:
            children = self._generation(problem, elite, rng, seen)
            if not len(children):
                return
            trials = problem.evaluate(children)
            yield from trials
            pool = joined([elite, children.take(np.arange(len(trials)))])
            pool_scores = np.concatenate([scores, [trial.score for trial in trials]])
            best = np.argsort(-pool_scores, kind="stable")[:keep]
            elite, scores = pool.take(best), pool_scores[best]

    def _generation(self, problem: Problem, elite: ArchBatch, rng: np.random.Generator, seen: Seen) -> ArchBatch:
        """Up to `population` feasible children not seen before; newcomers where the elite has too few."""
        wanted = min(self.population, problem.left)
        born: list[ArchBatch] = [elite.take(np.zeros(0, dtype=np.intp))]
        for _ in range(ATTEMPTS if len(elite) else 0):
            children = self._children(problem, elite, 4 * self.population, rng)
            new = children.take(problem.feasible(children))
            born.append(seen.fresh(new, wanted))
            wanted -= len(born[-1])
            if wanted <= 0:
                break
        if wanted > 0:
            seeds = self.seeds if self.seeds is not None else elite
            born.append(feasible_sample(problem, wanted, rng, seeds, seen))
        return joined(born)

    def _children(self, problem: Problem, elite: ArchBatch, count: int, rng: np.random.Generator) -> ArchBatch:
        """Mutations and crossings of random parents, shuffled so that a cut keeps the mixture."""
        mutations = round(count * self.mutation_share)
        mothers = elite.take(rng.integers(0, len(elite), count))
        fathers = elite.take(rng.integers(0, len(elite), count - mutations))
        changed = mutate(problem.space, mothers.take(np.arange(mutations)), self.mutation_probability, rng)
        crossed = crossover(problem.space, mothers.take(np.arange(mutations, count)), fathers, rng)
        return joined([changed, crossed]).take(rng.permutation(count))
