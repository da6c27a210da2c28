"""Feasible architectures, found in a bounded number of attempts even where they are one in a million.

First plain rejection, which keeps the draw uniform; where that yields too little, a pool of architectures walks towards
the constraints by mutation and crossover, each step kept only if it violates them no more than before.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hwnas.core.arch import ArchBatch
from hwnas.core.genetics import crossover, mutate, sample
from hwnas.core.metrics import Floats
from hwnas.core.problem import Constraint, Problem

REJECTION_ROUNDS = 8
"""Draws of 4 x count before repair takes over: enough when one in 32 is feasible."""
REPAIR_ROUNDS = 200
"""Steps of the walking pool at most: a bound on time, some 0.3 s on the once-for-all spaces."""
IDLE_ROUNDS = 25
"""Steps without a new feasible architecture, or one nearer to it, after which the band counts as exhausted.

Measured on MACs of ofa_mbv3/w1.0/v1 and of ofa_mbv3/small/v1: 2,000 candidates in bands of 10% anywhere, the very ends
of the range with them, in at most 0.25 s on one core; nothing feasible at all is known after 0.06 s.
"""
POOL = 256
"""Walkers: some hundred children a call, where one call costs little more than a single architecture."""


@dataclass
class Seen:
    """Which architectures were proposed already, so that none is scored twice."""

    _keys: set[bytes] = field(default_factory=set)

    def fresh(self, batch: ArchBatch, count: int | None = None) -> ArchBatch:
        """The first `count` of those not met before (all, if None), each once; from now on they are met."""
        rows: list[int] = []
        for row, genes in enumerate(np.ascontiguousarray(batch.genes)):
            if len(rows) == count:
                break
            key = genes.tobytes()
            if key not in self._keys:
                self._keys.add(key)
                rows.append(row)
        return batch.take(np.array(rows, dtype=np.intp))


def violation(problem: Problem, batch: ArchBatch) -> Floats:
    """How far each architecture is from meeting every constraint: 0 where it does, else relative excess, summed."""
    total = np.zeros(len(batch))
    for constraint in problem.constraints:
        values = constraint.values(batch)
        excess = np.maximum(values - constraint.at_most, 0) + np.maximum(constraint.at_least - values, 0)
        total += excess / _scale(constraint)
    return total


def feasible_sample(
    problem: Problem, count: int, rng: np.random.Generator, seeds: ArchBatch | None = None, seen: Seen | None = None
) -> ArchBatch:
    """Up to `count` distinct feasible architectures not in `seen`; fewer where the bounded search finds no more.

    `seeds`, such as the cheapest architecture, give the search for a narrow band its starting points.
    """
    seen = seen if seen is not None else Seen()
    none = ArchBatch(problem.space.id, np.zeros((0, len(problem.space.choices)), dtype=np.int16))
    known = none if seeds is None else seeds
    found = [_feasible(problem, known, seen, count)]
    missing = count - len(found[0])
    for _ in range(REJECTION_ROUNDS):
        if missing > 0:
            found.append(_feasible(problem, sample(problem.space, 4 * count, rng), seen, missing))
            missing -= len(found[-1])
    if missing > 0:
        found.append(_repair(problem, missing, rng, joined([known, *found]), seen))
    return joined(found)


def _feasible(problem: Problem, batch: ArchBatch, seen: Seen, count: int) -> ArchBatch:
    """At most `count` of those that meet every constraint and were not met before."""
    if not len(batch):
        return batch
    return seen.fresh(batch.take(problem.feasible(batch)), count)


def _repair(problem: Problem, count: int, rng: np.random.Generator, known: ArchBatch, seen: Seen) -> ArchBatch:
    """Walk a pool towards the constraints; once there it walks on inside, and what it passes through is the answer."""
    space = problem.space
    pool = joined([known.take(rng.permutation(len(known))[: POOL // 2]), sample(space, POOL, rng)])
    excess = violation(problem, pool)
    found = [known.take(np.zeros(0, dtype=np.intp))]
    missing, idle = count, 0
    for _ in range(REPAIR_ROUNDS):
        if missing <= 0 or idle == IDLE_ROUNDS:
            break
        idle += 1
        for children in _children(problem, pool, excess, rng):
            theirs = violation(problem, children)
            new = _feasible(problem, children.take(theirs == 0), seen, missing)
            found.append(new)
            missing -= len(new)
            if len(new) or (theirs < excess).any():
                idle = 0
            better = theirs <= excess
            pool = ArchBatch(space.id, np.where(better[:, None], children.genes, pool.genes))
            excess = np.where(better, theirs, excess)
    return joined(found)


def _children(problem: Problem, pool: ArchBatch, excess: Floats, rng: np.random.Generator) -> list[ArchBatch]:
    """One child a walker by a small step (about one gene), and one by crossing with a walker that is nearer."""
    space = problem.space
    nearest = np.argsort(excess, kind="stable")[: max(2, len(pool) // 4)]
    mates = pool.take(rng.choice(nearest, len(pool)))
    steps = 1.5 / pool.genes.shape[1]
    return [mutate(space, pool, steps, rng), mutate(space, crossover(space, pool, mates, rng), steps, rng)]


def joined(batches: list[ArchBatch]) -> ArchBatch:
    """The architectures of all batches, in order."""
    return ArchBatch(batches[0].space_id, np.concatenate([batch.genes for batch in batches]))


def _scale(constraint: Constraint) -> float:
    """What a violation is relative to: the limit, where it is a number above zero."""
    limits = [abs(limit) for limit in (constraint.at_most, constraint.at_least) if np.isfinite(limit) and limit != 0]
    return limits[0] if limits else 1.0
