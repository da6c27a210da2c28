"""The accuracy predictor ranks what it has not seen, repeats itself, survives its file, and is fast."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from hwnas import spaces
from hwnas.core.arch import ArchBatch
from hwnas.core.errors import InputError
from hwnas.core.genetics import option_counts, sample
from hwnas.core.metrics import Floats
from hwnas.evaluators.features import Encoder
from hwnas.evaluators.predictor import AccuracyPredictor

SPACE = spaces.load("ofa_mbv3/small/v1")
ENCODER = Encoder.of(SPACE)


def accuracies(batch: ArchBatch, noise: float = 0.0) -> Floats:
    """A smooth truth with diminishing returns of size, gene effects and one interaction, around 0.9."""
    rng = np.random.default_rng(0)
    features = ENCODER(batch).astype(np.float64)
    effect = features[:, :-2] @ rng.normal(0, 0.002, features.shape[1] - 2)
    size = features[:, -2]
    truth = 0.9 - 0.05 * np.exp(-size / 4) + effect * (1 + 0.1 * size)
    return truth + np.random.default_rng(1).normal(0, noise, len(batch))


@pytest.fixture(scope="module")
def batch() -> ArchBatch:
    return sample(SPACE, 200, np.random.default_rng(3))


@pytest.fixture(scope="module")
def predictor(batch: ArchBatch) -> AccuracyPredictor:
    return AccuracyPredictor.fit(SPACE, batch, accuracies(batch, 0.0005), seed=0)


def test_ranks_the_unseen_and_says_how_well(predictor: AccuracyPredictor) -> None:
    unseen = sample(SPACE, 500, np.random.default_rng(4))
    truth, predicted = accuracies(unseen), predictor.evaluate(unseen)
    tau = kendalltau(predicted, truth).statistic
    assert tau > 0.8
    assert predictor.report.samples == 200
    assert abs(predictor.report.kendall_tau - tau) < 0.08
    assert predictor.report.rmse < 0.3 * np.std(truth)
    assert np.sqrt(np.mean((predicted - truth) ** 2)) < 0.3 * np.std(truth)


def test_spread_is_positive_and_of_the_size_of_the_error(predictor: AccuracyPredictor) -> None:
    spread = predictor.spread(sample(SPACE, 500, np.random.default_rng(4)))
    assert (spread > 0).all()
    assert 0.1 < spread.mean() / predictor.report.rmse < 3


def test_same_seed_same_model(batch: ArchBatch) -> None:
    few = batch.take(np.arange(60))
    models = [AccuracyPredictor.fit(SPACE, few, accuracies(few), seed) for seed in (1, 1, 2)]
    first, same, other = (model.evaluate(batch) for model in models)
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_file_reads_back_exactly(predictor: AccuracyPredictor, batch: ArchBatch, tmp_path: Path) -> None:
    path = tmp_path / "predictor.safetensors"
    predictor.save(path)
    loaded = AccuracyPredictor.load(SPACE, path)
    assert loaded.report == predictor.report
    np.testing.assert_array_equal(loaded.evaluate(batch), predictor.evaluate(batch))


def test_bad_files_are_one_line(predictor: AccuracyPredictor, tmp_path: Path) -> None:
    path = tmp_path / "predictor.safetensors"
    with pytest.raises(InputError, match="cannot read"):
        AccuracyPredictor.load(SPACE, path)
    predictor.save(path)
    whole = path.read_bytes()
    with pytest.raises(InputError, match=r"is for ofa_mbv3/small/v1, not ofa_mbv3/w1.0/v1"):
        AccuracyPredictor.load(spaces.load("ofa_mbv3/w1.0/v1"), path)
    for data in (b"", b"nothing", whole[: len(whole) // 2], whole[:100], whole.replace(b"predictor 1", b"predictor 0")):
        path.write_bytes(data)
        with pytest.raises(InputError, match="again"):
            AccuracyPredictor.load(SPACE, path)


@pytest.mark.parametrize("count", [0, 19])
def test_too_few_samples(batch: ArchBatch, count: int) -> None:
    few = batch.take(np.arange(count))
    with pytest.raises(InputError, match="at least 20"):
        AccuracyPredictor.fit(SPACE, few, np.zeros(count))


def test_equal_accuracies_predict_themselves(batch: ArchBatch) -> None:
    few = batch.take(np.arange(30))
    flat = AccuracyPredictor.fit(SPACE, few, np.full(30, 0.75))
    np.testing.assert_allclose(flat.evaluate(batch), 0.75, atol=1e-3)


def test_empty_and_large_batches(predictor: AccuracyPredictor) -> None:
    assert predictor.evaluate(sample(SPACE, 0, np.random.default_rng(0))).shape == (0,)
    many = sample(SPACE, 20_100, np.random.default_rng(0))
    tail = predictor.evaluate(many.take(np.arange(19_990, 20_100)))
    np.testing.assert_allclose(predictor.evaluate(many)[19_990:], tail, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_inactive_genes_do_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = option_counts(SPACE)
    raw = rng.integers(0, sizes, (4, len(sizes)), dtype=np.int16)
    canonical = ArchBatch(SPACE.id, SPACE.canonical(raw))
    np.testing.assert_array_equal(ENCODER(ArchBatch(SPACE.id, raw)), ENCODER(canonical))


def test_another_space_is_refused(predictor: AccuracyPredictor) -> None:
    with pytest.raises(ValueError, match="asked about other/v1"):
        predictor.evaluate(ArchBatch("other/v1", np.zeros((1, len(SPACE.choices)), dtype=np.int16)))


def test_search_time_needs_no_scikit_learn() -> None:
    code = "import sys, hwnas.evaluators.predictor; sys.exit(bool({'sklearn', 'scipy', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
