"""The once-for-all ProxylessNAS space: its contract, and what is unlike MobileNetV3's."""

from __future__ import annotations

import pytest

from hwnas import spaces
from hwnas.core.count import macs
from hwnas.core.errors import InputError
from hwnas.core.protocols import SearchSpace
from hwnas.testing import SpaceContract

SPACE = spaces.load_bottlenecks("ofa_proxyless/w1.3/v1")


class TestPublished(SpaceContract):
    def space(self) -> SearchSpace:
        return SPACE


class TestOneSize(SpaceContract):
    def space(self) -> SearchSpace:
        return spaces.load("ofa_proxyless/w1.3-r176/v1")


def test_stored_architectures_keep_their_meaning() -> None:
    """Frozen: a change of these wants a new version in the space's id."""
    assert len(SPACE.choices) == 1 + 5 + 2 * 21
    assert [choice.name for choice in SPACE.choices[-2:]] == ["unit5.block0.kernel", "unit5.block0.expansion"]
    assert [unit.width for unit in SPACE.layout.units] == [32, 56, 104, 128, 248, 416]
    assert (SPACE.layout.stem, SPACE.layout.first_width, SPACE.layout.feature_mix) == (40, 24, 1664)
    assert (macs(SPACE.lower(SPACE.largest)), macs(SPACE.lower(SPACE.smallest))) == (1004908032, 87823104)


def test_the_last_unit_is_one_block_that_is_never_skipped() -> None:
    genes = [choice.name for choice in SPACE.choices]
    assert "unit5.depth" not in genes
    assert list(SPACE.lower(SPACE.smallest).blocks())[-2] == "unit5.block0"
    with pytest.raises(InputError, match="wants 21 kernels and expansions"):
        SPACE.arch([3] * 20, [3] * 20, [2] * 5, 224)
    with pytest.raises(InputError, match="wants 5 depths"):
        SPACE.arch([3] * 21, [3] * 21, [2] * 6, 224)


def test_activations_normalisation_and_shortcuts() -> None:
    net = SPACE.lower(SPACE.largest)
    assert {op.act for op in net.ops} == {"none", "relu6"}
    assert {op.norm_eps for op in net.ops if op.norm} == {1e-3}
    assert "blocks.0.shortcut" not in {op.name for op in net.ops}
    assert sum(op.kind == "add" for op in net.ops) == 5 * 3
