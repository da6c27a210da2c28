"""Additive costs: equal to direct counts, and exact at the ends of the range."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.core.additive import CHUNK, Additive, BlockIndex, compile_additive, distinct_blocks, sums
from hwnas.core.arch import Arch, ArchBatch
from hwnas.core.count import macs, params
from hwnas.core.net import NetSpec
from hwnas.testing import ToySpace

SPACE = ToySpace()
SIZES = [len(choice) for choice in SPACE.choices]
EVERY = ArchBatch(SPACE.id, np.array(list(itertools.product(*map(range, SIZES))), dtype=np.int16))


@pytest.mark.parametrize("count", [macs, params])
def test_sums_equal_direct_counts_everywhere(count: object) -> None:
    assert callable(count)
    direct = [count(SPACE.lower(arch)) for arch in EVERY]
    np.testing.assert_array_equal(compile_additive(SPACE, count)(EVERY), direct)
    np.testing.assert_array_equal(compile_additive(SPACE, count, constant=5.0)(EVERY), np.array(direct) + 5)


@st.composite
def factors(draw: st.DrawFn) -> tuple[tuple[tuple[int, ...], np.ndarray], ...]:
    """Tables over one to three genes each, as spaces with shared genes (resolution, depth) make them."""
    scopes = draw(st.lists(st.sets(st.integers(0, 4), max_size=3), min_size=1, max_size=6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    whole = draw(st.booleans())
    made = []
    for scope in scopes:
        genes = tuple(sorted(scope))
        shape = [SIZES[gene] for gene in genes]
        made.append((genes, rng.integers(-3, 4, shape) * 1.0 if whole else rng.normal(size=shape)))
    return tuple(made)


@settings(max_examples=60, deadline=None)
@given(factors=factors(), constant=st.floats(-5, 5))
def test_range_equals_brute_force(factors: tuple[tuple[tuple[int, ...], np.ndarray], ...], constant: float) -> None:
    cost = Additive(SPACE, constant, factors)
    values = cost(EVERY)
    least, greatest = cost.range()
    # Sums of three or more numbers differ in their last bit by the order, and so do architectures of equal cost.
    assert least == pytest.approx(values.min(), abs=1e-9)
    assert greatest == pytest.approx(values.max(), abs=1e-9)
    ends = cost(ArchBatch.of([cost.least(), cost.greatest()]))
    assert ends.tolist() == [least, greatest]


def test_no_end_of_the_range_has_what_cannot_be_had() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        tables = [(pair, rng.normal(size=[SIZES[gene] for gene in pair])) for pair in ((0, 1), (1, 2), (2, 3, 4))]
        for _, table in tables:
            table[rng.random(table.shape) < 0.3] = np.inf
        cost = Additive(SPACE, 1.0, tuple(tables))
        values = cost(EVERY)
        finite = values[np.isfinite(values)]
        assert cost.range() == (finite.min(), finite.max())


@settings(max_examples=30, deadline=None)
@given(factors=factors(), seed=st.integers(0, 2**32 - 1))
def test_several_costs_at_once_are_each_alone(
    factors: tuple[tuple[tuple[int, ...], np.ndarray], ...], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    many = EVERY.take(rng.integers(len(EVERY), size=CHUNK + 7))
    other = Additive(SPACE, 1.0, tuple((genes, rng.normal(size=table.shape)) for genes, table in factors))
    cost = Additive(SPACE, -2.0, factors)
    both = sums((cost, other), many)
    for one, found in zip((cost, other), both, strict=True):
        expected = np.full(len(many), one.constant)
        for genes, table in factors if one is cost else other.factors:
            expected += table[tuple(many.genes[:, gene] for gene in genes)]
        assert found.tolist() == expected.tolist() == one(many).tolist()


def test_which_block_stands_where() -> None:
    index = BlockIndex(SPACE)
    numbers, counts = index.numbers(EVERY), index.counts(EVERY)
    assert numbers.shape == (len(EVERY), 6)
    for row in range(0, len(EVERY), 37):
        keys = [index.nets[number].key() for number in numbers[row] if number >= 0]
        assert keys == [block.key() for block in SPACE.lower(EVERY[row]).blocks().values()]
        assert counts[row].tolist() == [keys.count(net.key()) for net in index.nets]


@pytest.mark.parametrize("gene", [-1, 4])
def test_what_is_no_option_is_refused(gene: int) -> None:
    batch = ArchBatch(SPACE.id, np.array([[0, 0, 0, 0, 0], [0, 0, gene, 0, 0]], dtype=np.int16))
    for ask in (compile_additive(SPACE, macs), BlockIndex(SPACE).numbers):
        with pytest.raises(IndexError, match="no option of its choice in toy/v1"):
            ask(batch)


def test_another_space_is_refused() -> None:
    with pytest.raises(ValueError, match="compiled for toy/v1, asked about other/v1"):
        compile_additive(SPACE, macs)(ArchBatch.of([Arch("other/v1", (0,) * 5)]))


def test_equal_blocks_are_asked_once() -> None:
    asked: list[str] = []

    def cost(block: NetSpec) -> float:
        asked.append(block.key())
        return 1.0

    compile_additive(SPACE, cost)
    # one stem, and three widths that are the same work at all five positions
    assert len(asked) == len(set(asked)) == 4
    assert list(distinct_blocks(SPACE)) == asked


def test_what_the_cost_raises_passes_through() -> None:
    def cost(block: NetSpec) -> float:
        raise KeyError(block.key())

    with pytest.raises(KeyError, match="8x4x4"):
        compile_additive(SPACE, cost)
