"""What searches propose to be measured."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_space import TINY

from hwnas.core.additive import compile_additive
from hwnas.core.arch import ArchBatch
from hwnas.core.count import macs
from hwnas.core.genetics import sample, unique
from hwnas.pipeline.proposals import proposed
from hwnas.spaces.ofa_mbv3 import OfaMbv3


@pytest.fixture(scope="module")
def tiny_space() -> OfaMbv3:
    return OfaMbv3("ofa_mbv3/tiny/v1", TINY, TINY.classes, TINY.in_channels)


class Likes:
    """Scores by a random weight for each option."""

    def __init__(self, space: OfaMbv3, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.weights = [rng.random(len(choice)) for choice in space.choices]

    def evaluate(self, batch: ArchBatch) -> np.ndarray:
        return np.mean([weights[batch.genes[:, gene]] for gene, weights in enumerate(self.weights)], axis=0)


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 30))
def test_as_many_as_asked_none_known_and_the_same_again(tiny_space: OfaMbv3, seed: int, count: int) -> None:
    known = unique(sample(tiny_space, 30, np.random.default_rng(seed)))
    scores = Likes(tiny_space, seed)
    found = proposed(tiny_space, scores, known, count, np.random.default_rng(seed))
    assert len(unique(found)) == len(found) == count
    assert not set(found) & set(known)
    np.testing.assert_array_equal(tiny_space.canonical(found.genes), found.genes)
    again = proposed(tiny_space, scores, known, count, np.random.default_rng(seed))
    np.testing.assert_array_equal(again.genes, found.genes)


def test_they_score_higher_and_are_of_every_size(tiny_space: OfaMbv3) -> None:
    rng = np.random.default_rng(0)
    random, scores = sample(tiny_space, 500, rng), Likes(tiny_space, 1)
    found = proposed(tiny_space, scores, random.take(np.arange(1)), 40, rng)
    assert np.median(scores.evaluate(found)) > np.percentile(scores.evaluate(random), 90)
    size = compile_additive(tiny_space, lambda net: float(macs(net)))
    low, high = np.percentile(size(random), (20, 80))
    assert np.sum(size(found) < low) >= 4
    assert np.sum(size(found) > high) >= 4
