"""Strategies hit narrow bands, propose nothing infeasible, score nothing twice, and end."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas import spaces
from hwnas.core.additive import Additive, compile_additive
from hwnas.core.arch import ArchBatch
from hwnas.core.count import macs, params
from hwnas.core.genetics import sample
from hwnas.core.metrics import LATENCY, Floats, Prediction
from hwnas.core.problem import Constraint, Problem, Trial
from hwnas.core.protocols import Strategy
from hwnas.spaces.ofa_mbv3 import OfaMbv3
from hwnas.spaces.units import Unit
from hwnas.strategies.evolution import ConstrainedEvolution
from hwnas.strategies.random import RandomSearch
from hwnas.strategies.sampling import Seen, feasible_sample, violation
from hwnas.testing import StrategyContract

UNITS = (Unit(16, 2, "relu", False), Unit(32, 2, "h_swish", True), Unit(48, 2, "h_swish", True))
LAYOUT = replace(spaces.load("ofa_mbv3/small/v1").layout, stem=16, first_width=16, units=UNITS)
SPACE = OfaMbv3("toy/v1", LAYOUT, 10, 1)
MACS = compile_additive(SPACE, lambda block: macs(block) / 1e6)
PARAMS = compile_additive(SPACE, lambda block: params(block) / 1e3)


class Cost:
    """An estimator that knows an additive cost exactly."""

    metric = LATENCY

    def __init__(self, cost: Additive, tail: float = 1.2) -> None:
        self.cost, self.tail = cost, tail

    def estimate(self, batch: ArchBatch) -> Prediction:
        values = self.cost(batch)
        return Prediction(values, values * self.tail, values, values)


class GeneSum:
    """An evaluator whose best architecture is hard to hit by chance."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.weights = [np.sort(rng.random(len(choice))) for choice in SPACE.choices]

    def evaluate(self, batch: ArchBatch) -> Floats:
        total: Floats = sum((w[batch.genes[:, i]] for i, w in enumerate(self.weights)), np.zeros(len(batch)))
        return total / len(self.weights)


def _problem(at_most: float, at_least: float = 0.0, budget: int = 2000) -> Problem:
    return Problem(SPACE, GeneSum(), (Constraint(Cost(MACS), at_most, at_least),), budget)


def _check(problem: Problem, trials: list[Trial]) -> None:
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert len({trial.arch for trial in trials}) == len(trials)
    if trials:
        batch = ArchBatch.of([trial.arch for trial in trials])
        assert problem.feasible(batch).all()
        np.testing.assert_array_equal(SPACE.canonical(batch.genes), batch.genes)
        np.testing.assert_allclose(problem.evaluator.evaluate(batch), [trial.score for trial in trials])


STRATEGIES: list[Callable[[], Strategy]] = [RandomSearch, ConstrainedEvolution]


@pytest.mark.parametrize("make", STRATEGIES)
@pytest.mark.parametrize("place", [0.05, 0.3, 0.7, 1.0])
def test_narrow_bands_fill_the_budget(make: Callable[[], Strategy], place: float) -> None:
    low, high = MACS.range()
    top = low + place * (high - low)
    problem = _problem(top, 0.9 * top)
    trials = list(make().search(problem, np.random.default_rng(0)))
    assert len(trials) == 2000
    _check(problem, trials)


@pytest.mark.parametrize("make", STRATEGIES)
def test_at_the_very_ends(make: Callable[[], Strategy]) -> None:
    """Within 2% of either end: the extreme is handed over as a seed, and its neighbourhood is found."""
    low, high = MACS.range()
    for problem, seed in ((_problem(low * 1.02), MACS.least()), (_problem(high, high * 0.98), MACS.greatest())):
        strategy = type(make())(seeds=ArchBatch.of([seed]))  # type: ignore[call-arg]
        trials = list(strategy.search(problem, np.random.default_rng(0)))
        assert seed in {trial.arch for trial in trials}
        assert len(trials) >= 5
        _check(problem, trials)


@pytest.mark.parametrize("make", STRATEGIES)
def test_nothing_feasible_ends(make: Callable[[], Strategy]) -> None:
    assert list(make().search(_problem(1e-6), np.random.default_rng(0))) == []


@pytest.mark.parametrize("make", STRATEGIES)
def test_same_generator_same_trials(make: Callable[[], Strategy]) -> None:
    runs = [list(make().search(_problem(3.0, budget=300), np.random.default_rng(5))) for _ in range(2)]
    assert runs[0] == runs[1]


@settings(max_examples=20, deadline=None)
@given(
    places=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    limit=st.floats(0, 1),
    seed=st.integers(0, 1000),
    evolve=st.booleans(),
)
def test_any_limits_are_kept(places: tuple[float, float], limit: float, seed: int, evolve: bool) -> None:
    low, high = MACS.range()
    least, most = sorted(low + place * (high - low) for place in places)
    bounds = PARAMS.range()
    constraints = (
        Constraint(Cost(MACS), 1.2 * most, 1.2 * least, "p90"),
        Constraint(Cost(PARAMS), bounds[0] + limit * (bounds[1] - bounds[0])),
    )
    problem = Problem(SPACE, GeneSum(), constraints, 60)
    strategy: Strategy = ConstrainedEvolution(population=20) if evolve else RandomSearch()
    trials = list(strategy.search(problem, np.random.default_rng(seed)))
    assert len(trials) <= 60
    _check(problem, trials)


def test_evolution_beats_random_search() -> None:
    def best(strategy: Strategy, seed: int) -> float:
        problem = _problem(6.0, budget=1000)
        return max(trial.score for trial in strategy.search(problem, np.random.default_rng(seed)))

    pairs = [(best(ConstrainedEvolution(), seed), best(RandomSearch(), seed)) for seed in range(5)]
    assert all(evolved > drawn for evolved, drawn in pairs)


def test_everything_that_exists_is_found() -> None:
    """In a band small enough to count by hand, random search finds each member: none is out of its reach."""
    low, _ = MACS.range()
    problem = _problem(low * 1.04)
    least = MACS.least().genes
    first = len(SPACE.choices) - 24
    kept = [first + 8 * unit + gene for unit in range(3) for gene in range(4)]  # genes of the blocks always there
    rows = np.tile(np.array(least, dtype=np.int16), (3 ** len(kept), 1))
    rows[:, kept] = list(itertools.product(range(3), repeat=len(kept)))
    everything = ArchBatch(SPACE.id, rows)
    members = set(everything.take(problem.feasible(everything)))
    found = {trial.arch for trial in RandomSearch().search(problem, np.random.default_rng(0))}
    assert len(members) > 20
    assert members <= found


def test_seeds_come_first_and_the_journal_hears_all() -> None:
    heard: list[Trial] = []
    problem = Problem(SPACE, GeneSum(), (Constraint(Cost(MACS), 9.0),), 150, heard.extend)
    seeds = ArchBatch.of([MACS.least(), MACS.greatest()])
    trials = list(ConstrainedEvolution(seeds=seeds).search(problem, np.random.default_rng(0)))
    assert trials[0].arch == MACS.least()
    assert MACS.greatest() not in {trial.arch for trial in trials}
    assert heard == trials


def test_no_constraint_at_all() -> None:
    problem = Problem(SPACE, GeneSum(), (), 250)
    assert len(list(ConstrainedEvolution().search(problem, np.random.default_rng(0)))) == 250


def test_violation_worked_by_hand() -> None:
    batch = ArchBatch.of([MACS.least(), MACS.greatest()])
    low, high = MACS.range()
    constraints = (Constraint(Cost(MACS), high / 2), Constraint(Cost(MACS), float("inf"), 2 * low))
    got = violation(Problem(SPACE, GeneSum(), constraints, 1), batch)
    np.testing.assert_allclose(got, [0.5, 1.0])


def test_seen_counts_only_what_it_hands_out() -> None:
    batch = sample(SPACE, 5, np.random.default_rng(0))
    twice = ArchBatch(SPACE.id, np.concatenate([batch.genes, batch.genes]))
    seen = Seen()
    assert len(seen.fresh(twice, 3)) == 3
    assert list(seen.fresh(twice)) == list(batch)[3:]
    assert len(seen.fresh(twice)) == 0


def test_feasible_sample_is_exact_in_number() -> None:
    problem = _problem(100.0)
    assert len(feasible_sample(problem, 37, np.random.default_rng(0))) == 37


class TestRandomContract(StrategyContract):
    def strategy(self) -> Strategy:
        return RandomSearch()


class TestEvolutionContract(StrategyContract):
    def strategy(self) -> Strategy:
        return ConstrainedEvolution(population=20)
