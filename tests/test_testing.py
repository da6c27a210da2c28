"""The contract suites hold for the toy parts that they bring."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hwnas.core.additive import compile_additive
from hwnas.core.count import macs
from hwnas.core.genetics import sample
from hwnas.core.problem import Problem, Trial
from hwnas.core.protocols import Estimator, SearchSpace, Strategy
from hwnas.testing import EstimatorContract, ExactCost, SpaceContract, StrategyContract, ToySpace


class TestToySpace(SpaceContract):
    def space(self) -> SearchSpace:
        return ToySpace()


class TestExactCost(EstimatorContract):
    def space(self) -> SearchSpace:
        return ToySpace()

    def estimator(self) -> Estimator:
        return ExactCost(compile_additive(ToySpace(), macs))


class OneDraw:
    """The plainest strategy: draw once, try what is feasible."""

    def search(self, problem: Problem, rng: np.random.Generator) -> Iterator[Trial]:
        draws = sample(problem.space, 1000, rng)
        yield from problem.evaluate(draws.take(problem.feasible(draws)))


class TestOneDraw(StrategyContract):
    def strategy(self) -> Strategy:
        return OneDraw()
