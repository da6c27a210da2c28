"""Which rows come first, and what the others are taken for."""

import numpy as np
import pytest

from hwnas.core.additive import BlockIndex, distinct_blocks
from hwnas.core.count import macs
from hwnas.core.genetics import sample
from hwnas.luts.informative import LEAST_ROWS, estimated_rows, informative_order
from hwnas.luts.table import Row
from hwnas.spaces import load

SPACE = load("ofa_mbv3/small/v1", classes=10, in_channels=1)
NETS = distinct_blocks(SPACE)
ORDER = informative_order(SPACE)


def row(key: str) -> Row:
    """A start and a rate that falls with the number of pixels, as caches have it."""
    net = NETS[key]
    ms = 0.01 + macs(net) / 20e6 * (1 + 0.1 * np.log(net.out_shape[1]))
    return Row(ms, 1.2 * ms, 0.02, 100)


def error(measured: list[str]) -> float:
    """Mean relative error of networks' sums."""
    rows = {key: row(key) for key in measured}
    rows |= estimated_rows(NETS, rows)
    index = BlockIndex(SPACE)
    counts = index.counts(sample(SPACE, 300, np.random.default_rng(1)))
    keys = [net.key() for net in index.nets]
    true = counts @ [row(key).median_ms for key in keys]
    return float(np.mean(np.abs(counts @ [rows[key].median_ms for key in keys] / true - 1)))


def test_every_block_once():
    assert sorted(ORDER) == sorted(NETS)
    assert informative_order(SPACE) == ORDER


def test_counts_are_what_architectures_hold():
    index = BlockIndex(SPACE)
    batch = sample(SPACE, 5, np.random.default_rng(2))
    for counts, arch in zip(index.counts(batch), batch, strict=True):
        held = [block.key() for block in SPACE.lower(arch).blocks().values()]
        assert {index.nets[i].key(): int(n) for i, n in enumerate(counts) if n} == {k: held.count(k) for k in held}


def test_few_rows_tell_the_others():
    few = error(ORDER[:40])
    assert few < 0.03
    assert error(ORDER[:160]) < few
    chance = [error(np.random.default_rng(seed).permutation(ORDER)[:40].tolist()) for seed in range(5)]
    assert few < np.median(chance)


def test_what_is_estimated_says_so():
    rows = {key: row(key) for key in ORDER[:60]}
    estimated = estimated_rows(NETS, rows)
    assert set(estimated) == set(NETS) - set(rows)
    for key, found in estimated.items():
        assert found.samples == 0
        assert found.p90_ms == pytest.approx(1.2 * found.median_ms)
        assert found.median_ms == pytest.approx(row(key).median_ms, rel=0.5)
    assert estimated_rows(NETS, {key: row(key) for key in NETS}) == {}


def test_too_few_rows():
    with pytest.raises(ValueError, match=f"{LEAST_ROWS} at least"):
        estimated_rows(NETS, {key: row(key) for key in ORDER[: LEAST_ROWS - 1]})
