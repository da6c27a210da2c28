"""Random draws: legal, canonical, and decided by the generator alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas import spaces
from hwnas.core.arch import ArchBatch
from hwnas.core.genetics import crossover, mutate, option_counts, sample, unique

SPACE = spaces.load("ofa_mbv3/small/v1")
SEEDS = st.integers(0, 2**32 - 1)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def is_legal(batch: ArchBatch) -> bool:
    inside = bool(np.all((batch.genes >= 0) & (batch.genes < option_counts(SPACE))))
    return inside and batch.genes.dtype == np.int16 and np.array_equal(SPACE.canonical(batch.genes), batch.genes)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, count=st.integers(0, 20), probability=st.floats(0, 1))
def test_every_child_is_legal(seed: int, count: int, probability: float) -> None:
    parents, others = sample(SPACE, count, rng(seed)), sample(SPACE, count, rng(seed + 1))
    for batch in (
        parents,
        mutate(SPACE, parents, probability, rng(seed)),
        crossover(SPACE, parents, others, rng(seed)),
    ):
        assert len(batch) == count
        assert is_legal(batch)


def test_draws_follow_the_generator() -> None:
    assert np.array_equal(sample(SPACE, 9, rng(1)).genes, sample(SPACE, 9, rng(1)).genes)
    assert not np.array_equal(sample(SPACE, 9, rng(1)).genes, sample(SPACE, 9, rng(2)).genes)


def test_every_option_is_drawn_equally_often() -> None:
    resolutions = sample(SPACE, 4000, rng(0)).genes[:, 0]
    shares = np.bincount(resolutions, minlength=len(SPACE.choices[0])) / len(resolutions)
    np.testing.assert_allclose(shares, 1 / len(SPACE.choices[0]), atol=0.03)


def test_mutation_at_its_ends() -> None:
    parents = sample(SPACE, 50, rng(0))
    assert np.array_equal(mutate(SPACE, parents, 0.0, rng(1)).genes, parents.genes)
    assert not np.array_equal(mutate(SPACE, parents, 1.0, rng(1)).genes, parents.genes)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_a_child_has_each_gene_from_a_parent(seed: int) -> None:
    first, second = sample(SPACE, 8, rng(seed)), sample(SPACE, 8, rng(seed + 1))
    child = crossover(SPACE, first, second, rng(seed + 2)).genes
    inherited = (child == first.genes) | (child == second.genes) | ~SPACE.active(child)
    assert inherited.all()


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=20))
def test_unique_keeps_first_appearances(rows: list[tuple[int, int]]) -> None:
    batch = unique(ArchBatch("a/v1", np.array(rows, dtype=np.int16)))
    assert [arch.genes for arch in batch] == list(dict.fromkeys(rows))
