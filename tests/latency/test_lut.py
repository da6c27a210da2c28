"""Latency models on a synthetic device whose truth is known."""

import json
from dataclasses import replace

import numpy as np
import pytest
from synthetic_device import SPACE, TABLE, TEST, TRAIN, measure, truth

from hwnas.core.additive import distinct_blocks
from hwnas.core.arch import ArchBatch
from hwnas.core.errors import InputError
from hwnas.core.genetics import sample
from hwnas.core.metrics import Measurement
from hwnas.core.problem import Constraint, Problem
from hwnas.latency import CorrectedTable, TableSum
from hwnas.luts import LatencyTable, Row
from hwnas.luts.table import Imported
from hwnas.strategies.evolution import ConstrainedEvolution
from hwnas.testing import EstimatorContract


@pytest.fixture(scope="module")
def fitted() -> CorrectedTable:
    return CorrectedTable.fit(SPACE, TABLE, TRAIN, measure(TRAIN))


class TestTableSum(EstimatorContract):
    def space(self):
        return SPACE

    def estimator(self):
        return TableSum(SPACE, TABLE)


class TestCorrectedTable(EstimatorContract):
    def space(self):
        return SPACE

    def estimator(self):
        return CorrectedTable.fit(SPACE, TABLE, TRAIN, measure(TRAIN))


def test_the_plain_sum_is_the_sum_of_rows():
    prediction = TableSum(SPACE, TABLE).estimate(TEST.take(np.arange(5)))
    for arch, median, p90 in zip(TEST, prediction.median, prediction.p90, strict=False):
        rows = [TABLE.row(block) for block in SPACE.lower(arch).blocks().values()]
        assert median == pytest.approx(sum(row.median_ms for row in rows))
        assert p90 == pytest.approx(sum(row.p90_ms for row in rows))


def test_held_out_networks(fitted):
    prediction = fitted.estimate(TEST)
    off = np.abs(prediction.median / truth(TEST) - 1)
    assert off.max() < 0.05
    assert off.mean() < 0.3 * np.abs(TableSum(SPACE, TABLE).estimate(TEST).median / truth(TEST) - 1).mean()
    assert np.abs(prediction.p90 / (1.08 * truth(TEST)) - 1).max() < 0.05
    assert np.all(prediction.p90 >= prediction.median)


def test_the_interval_covers_new_measurements(fitted):
    prediction = fitted.estimate(TEST)
    measured = np.array([m.median for m in measure(TEST, seed=9)])
    assert np.mean((measured >= prediction.lower) & (measured <= prediction.upper)) > 0.8
    assert fitted.coefficients.interval < 0.06


def test_outliers_among_the_networks(fitted):
    measured = measure(TRAIN)
    for row in range(5):
        measured[row] = Measurement(3 * measured[row].samples_ms)
    spoilt = CorrectedTable.fit(SPACE, TABLE, TRAIN, measured)
    assert np.abs(spoilt.estimate(TEST).median / truth(TEST) - 1).mean() < 0.03


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_few_networks_are_better_than_none(count):
    few = TRAIN.take(np.arange(count))
    model = CorrectedTable.fit(SPACE, TABLE, few, measure(few))
    assert np.all(np.isfinite(model.estimate(TEST).p90))
    plain = np.abs(TableSum(SPACE, TABLE).estimate(TEST).median / truth(TEST) - 1).mean()
    assert np.abs(model.estimate(TEST).median / truth(TEST) - 1).mean() < plain


@pytest.mark.parametrize("statistic", ["median", "p90"])
def test_the_reachable_range_is_exact(fitted, statistic):
    many = sample(SPACE, 20_000, np.random.default_rng(3))
    for model in (fitted, TableSum(SPACE, TABLE)):
        low, high = model.reachable(statistic)
        values = getattr(model.estimate(many), statistic)
        assert low <= values.min() * (1 + 1e-12)
        assert high >= values.max() * (1 - 1e-12)
        least = ArchBatch.of([model.least(statistic)])
        assert getattr(model.estimate(least), statistic)[0] == pytest.approx(low)


def test_one_verdict_corrects_most_of_a_miss(fitted):
    """The device became 10% slower than when the networks were measured."""
    chosen = TEST.take(np.array([0]))
    limit = float(1.08 * truth(chosen)[0])
    updated = fitted.update(chosen, measure(chosen, scale=1.1, noise=0.0), limit_ms=limit)
    actual = 1.08 * truth(chosen, 1.1)[0]
    before, after = fitted.estimate(chosen).p90[0], updated.estimate(chosen).p90[0]
    assert abs(after / actual - 1) < 0.5 * abs(before / actual - 1)


def test_a_machine_that_became_five_times_slower(fitted):
    """Measurements far beyond the limit, of networks that were expected at it, still correct the model."""
    pool = sample(SPACE, 800, np.random.default_rng(4))
    limit = float(np.median(1.08 * truth(pool)))
    near = pool.take(np.argsort(np.abs(fitted.estimate(pool).p90 - limit))[:4])
    updated = fitted.update(near, measure(near, scale=5.0, noise=0.0), limit_ms=limit)
    ratio = updated.estimate(near).p90 / (1.08 * truth(near, 5.0))
    assert np.all((ratio > 0.7) & (ratio < 1.4))


def test_the_latest_verdicts_count_most(fitted):
    """A machine that was 10% slower yesterday and is not today."""
    chosen = TEST.take(np.arange(8))
    limit = float(np.median(1.08 * truth(chosen)))
    slow, now = measure(chosen, scale=1.1, noise=0.0), measure(chosen, noise=0.0)
    later = fitted.update(chosen, slow, limit_ms=limit).update(chosen, now, limit_ms=limit)
    earlier = fitted.update(chosen, now, limit_ms=limit).update(chosen, slow, limit_ms=limit)
    assert later.coefficients.correction.p90_scale < earlier.coefficients.correction.p90_scale


def test_the_closed_loop_converges(fitted):
    """Propose what the model puts just under the limit, verify, correct: the misses end soon."""
    pool = sample(SPACE, 800, np.random.default_rng(4))
    limit = float(np.median(1.08 * truth(pool, 1.15)))
    model = fitted
    for number in range(6):
        p90 = model.estimate(pool).p90
        best = int(np.argmax(np.where(p90 <= limit, p90, -1)))
        chosen = pool.take(np.array([best]))
        verdict = measure(chosen, scale=1.15, seed=number)
        if verdict[0].p90 <= limit:
            assert verdict[0].p90 > 0.9 * limit
            return
        model = model.update(chosen, verdict, limit_ms=limit)
    pytest.fail("no network held in six rounds")


def test_the_models_are_immutable(fitted):
    before = fitted.estimate(TEST).p90
    fitted.update(TEST.take(np.arange(3)), measure(TEST.take(np.arange(3)), 2.0), limit_ms=0.2)
    assert np.array_equal(fitted.estimate(TEST).p90, before)
    assert len(fitted.points.median) == len(TRAIN)


def test_save_and_load(tmp_path, fitted):
    path = tmp_path / "model.json"
    model = fitted.update(TEST.take(np.arange(2)), measure(TEST.take(np.arange(2))), limit_ms=0.1, statistic="median")
    model.save(path)
    loaded = CorrectedTable.load(SPACE, TABLE, path)
    for field in ("median", "p90", "lower", "upper"):
        assert np.array_equal(getattr(loaded.estimate(TEST), field), getattr(model.estimate(TEST), field))
    assert loaded.points.to_json() == model.points.to_json()
    assert (loaded.limit.ms, loaded.limit.statistic) == (0.1, "median")
    assert json.loads(path.read_text())["space"] == SPACE.id


def test_a_new_table_is_fitted_anew_from_the_kept_networks(tmp_path, fitted):
    fitted.save(tmp_path / "model.json")
    rows = {key: Row(2 * row.median_ms, 2 * row.p90_ms, row.spread, 100) for key, row in TABLE.rows.items()}
    doubled = LatencyTable(rows, TABLE.provenance)
    loaded = CorrectedTable.load(SPACE, doubled, tmp_path / "model.json")
    np.testing.assert_allclose(loaded.estimate(TEST).median, fitted.estimate(TEST).median, rtol=1e-6)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"points": 3}'])
def test_a_damaged_model(tmp_path, text):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(InputError, match=r"run `hwnas profile --device .*` again"):
        CorrectedTable.load(SPACE, TABLE, tmp_path / "model.json")


def test_no_model_and_another_space(tmp_path, fitted):
    with pytest.raises(InputError, match="no latency model"):
        CorrectedTable.load(SPACE, TABLE, tmp_path / "model.json")
    fitted.save(tmp_path / "model.json")
    document = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**document, "space": "other/v1"}))
    with pytest.raises(InputError, match="other/v1"):
        CorrectedTable.load(SPACE, TABLE, tmp_path / "model.json")


@pytest.mark.parametrize("estimator", [TableSum, lambda s, t: CorrectedTable.fit(s, t, TRAIN, measure(TRAIN))])
def test_a_missing_row_is_named(estimator):
    key = next(iter(TABLE.rows))
    rows = {other: row for other, row in TABLE.rows.items() if other != key}
    with pytest.raises(InputError) as caught:
        estimator(SPACE, LatencyTable(rows, TABLE.provenance))
    assert key in str(caught.value)


def partial_table() -> LatencyTable:
    """Imported, of 32 and 80 pixels alone, and without one block of kernel 7 at 80."""
    full = replace(SPACE, layout=replace(SPACE.layout, resolutions=(32, 80)))
    wide = SPACE.network([3, 7] + [3] * 18, [3] * 20, [2] * 5, 80).blocks()["unit0.block1"]
    rows = {key: TABLE.rows[key] for key in distinct_blocks(full) if key != wide.key()}
    origin = Imported(format="ofa", files=(), statistics="")
    return LatencyTable(rows, TABLE.provenance.model_copy(update={"imported": origin}))


def test_an_imported_table_may_cover_a_part_of_its_space():
    part = TableSum(SPACE, partial_table())
    resolutions = np.array(SPACE.layout.resolutions)[TEST.genes[:, 0]]
    small = TEST.take(resolutions == 32)
    np.testing.assert_array_equal(part.estimate(small).median, TableSum(SPACE, TABLE).estimate(small).median)
    other = TEST.take(resolutions == 128)[0]
    stem = SPACE.lower(other).blocks()["stem"].key()
    with pytest.raises(InputError, match="imported latency table of synthetic has no row") as caught:
        part.estimate(ArchBatch.of([small[0], other]))
    assert stem in str(caught.value)
    lacking = SPACE.arch([3, 7] + [3] * 18, [3] * 20, [2] * 5, 80)
    with pytest.raises(InputError, match="k7s1"):
        part.estimate(ArchBatch.of([lacking]))
    with pytest.raises(InputError, match="has no row"):
        CorrectedTable.fit(SPACE, partial_table(), TRAIN, measure(TRAIN))


def test_its_range_is_of_what_it_covers():
    part, whole = TableSum(SPACE, partial_table()), TableSum(SPACE, TABLE)
    for statistic in ("median", "p90"):
        least, greatest = part.reachable(statistic)
        assert least == pytest.approx(whole.reachable(statistic)[0])
        assert least < greatest < whole.reachable(statistic)[1]
    assert np.isfinite(part.estimate(ArchBatch.of([part.least(), part.median.greatest()])).median).all()


def test_a_search_proposes_none_that_it_does_not_cover():
    part = TableSum(SPACE, partial_table(), missing="infinite")
    prediction = part.estimate(TEST)
    assert np.isinf(prediction.median).any()
    assert np.all(prediction.lower <= prediction.upper)
    limit = float(np.mean(part.reachable("p90")))
    problem = Problem(SPACE, Largest(), (Constraint(part, limit, 0.8 * limit, "p90"),), 200)
    trials = list(ConstrainedEvolution(population=20).search(problem, np.random.default_rng(0)))
    assert len(trials) == 200
    assert {SPACE.values(trial.arch)[0] for trial in trials} <= {32, 80}
    assert TableSum(SPACE, partial_table()).estimate(ArchBatch.of([t.arch for t in trials])).p90.max() <= limit


class Largest:
    """An evaluator that likes large networks."""

    def evaluate(self, batch: ArchBatch) -> np.ndarray:
        return batch.genes.sum(1).astype(np.float64)


def test_as_many_measurements_as_networks():
    with pytest.raises(ValueError, match="40 architectures but 3"):
        CorrectedTable.fit(SPACE, TABLE, TRAIN, measure(TRAIN)[:3])
    with pytest.raises(ValueError, match="at least one"):
        CorrectedTable.fit(SPACE, TABLE, TRAIN.take(np.arange(0)), [])
