"""A problem counts its budget, and measurements summarise their samples."""

from __future__ import annotations

import numpy as np
import pytest

from hwnas.core.additive import compile_additive
from hwnas.core.arch import ArchBatch
from hwnas.core.count import macs
from hwnas.core.errors import DeviceError, HwnasError, InfeasibleError, InputError
from hwnas.core.genetics import sample
from hwnas.core.metrics import ACCURACY, LATENCY, Floats, Measurement, Metric, Prediction
from hwnas.core.problem import Constraint, Problem, Trial
from hwnas.testing import ExactCost, ToySpace, WeightedGenes

SPACE = ToySpace()
BATCH = sample(SPACE, 30, np.random.default_rng(0))
COST = compile_additive(SPACE, macs)


class Tail:
    """An estimator whose p90 is twice its median."""

    metric: Metric = LATENCY

    def estimate(self, batch: ArchBatch) -> Prediction:
        values: Floats = COST(batch)
        return Prediction(values, 2 * values, values, values)


def problem(*constraints: Constraint, budget: int = 12) -> Problem:
    return Problem(SPACE, WeightedGenes(), constraints, budget)


def test_feasible_is_within_every_limit_and_is_free() -> None:
    values = COST(BATCH)
    low, high = float(np.quantile(values, 0.2)), float(np.quantile(values, 0.8))
    asked = problem(Constraint(ExactCost(COST), high, at_least=low), Constraint(ExactCost(COST), high - 1))
    np.testing.assert_array_equal(asked.feasible(BATCH), (values >= low) & (values <= high - 1))
    assert asked.left == 12


def test_without_constraints_all_is_feasible() -> None:
    assert problem().feasible(BATCH).all()


def test_the_statistic_is_the_one_asked_for() -> None:
    limit = float(np.median(COST(BATCH)))
    np.testing.assert_array_equal(problem(Constraint(Tail(), limit)).feasible(BATCH), COST(BATCH) <= limit)
    tail = Constraint(Tail(), limit, statistic="p90")
    np.testing.assert_array_equal(problem(tail).feasible(BATCH), 2 * COST(BATCH) <= limit)
    assert tail.metric is LATENCY


def test_the_budget_ends() -> None:
    told: list[Trial] = []
    asked = Problem(SPACE, WeightedGenes(), (), 12, journal=told.extend)
    trials = asked.evaluate(BATCH.take(np.arange(5))) + asked.evaluate(BATCH) + asked.evaluate(BATCH)
    assert [trial.number for trial in trials] == list(range(12))
    assert (asked.trials, asked.left) == (12, 0)
    assert told == trials
    np.testing.assert_allclose([trial.score for trial in trials[:5]], WeightedGenes().evaluate(BATCH)[:5])


def test_a_measurement_summarises_its_samples() -> None:
    measurement = Measurement(np.arange(1.0, 12.0))
    assert measurement.median == 6
    assert measurement.p90 == 10
    assert measurement.spread == pytest.approx(5 / 6)


def test_metric_keys_carry_units() -> None:
    assert (LATENCY.key, ACCURACY.key) == ("latency_ms", "accuracy")


def test_each_error_has_its_exit_code() -> None:
    infeasible = InfeasibleError("nothing fits", {"latency_ms": (1.0, 2.0)})
    assert isinstance(infeasible, HwnasError)
    assert (infeasible.exit_code, InputError.exit_code, DeviceError.exit_code) == (1, 2, 3)
    assert infeasible.reachable == {"latency_ms": (1.0, 2.0)}
    assert infeasible.nearest is None
