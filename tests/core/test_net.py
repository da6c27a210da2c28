"""`NetSpec`: keys that stand for the work done, and the cut into blocks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hwnas.core.net import INPUT, NetSpec, Op

STEM = Op("conv", "stem", (INPUT,), 3, (8, 4, 4), kernel=3, stride=2, norm=True, act="relu", block="stem")
UP = Op("conv", "up", (0,), 8, (16, 4, 4), norm=True, block="one")
DOWN = Op("conv", "down", (1,), 16, (8, 4, 4), norm=True, block="one")
ADD = Op("add", "shortcut", (0, 2), 8, (8, 4, 4), block="one")
POOL = Op("global_pool", "pool", (3,), 8, (8, 1, 1), block="head")
LINEAR = Op("linear", "classifier", (4,), 8, (10, 1, 1), bias=True, block="head")
NET = NetSpec((3, 8, 8), (STEM, UP, DOWN, ADD, POOL, LINEAR))


def test_shapes() -> None:
    assert NET.out_shape == (10, 1, 1)
    assert NET.shape(INPUT) == (3, 8, 8)
    assert NET.shape(1) == (16, 4, 4)
    assert STEM.weight_shape == (8, 3, 3, 3)
    assert replace(STEM, in_channels=8, groups=8).weight_shape == (8, 1, 3, 3)
    assert LINEAR.weight_shape == (10, 8)
    assert ADD.weight_shape is None


def test_key_spells_the_work() -> None:
    assert NET.key() == (
        "3x8x8|conv-8x4x4-k3s2g1-b-relu@-1|conv-16x4x4-k1s1g1-b@0|conv-8x4x4-k1s1g1-b@1|add-8x4x4@0,2"
        "|global_pool-8x1x1@3|linear-10x1x1-b@4"
    )


@pytest.mark.parametrize(
    "change", [{"name": "other"}, {"block": "other"}, {"norm": False, "bias": True}], ids=["name", "block", "folded"]
)
def test_key_is_equal_for_equal_work(change: dict[str, object]) -> None:
    assert NetSpec((3, 8, 8), (replace(STEM, **change),)).key() == NetSpec((3, 8, 8), (STEM,)).key()


@pytest.mark.parametrize(
    "change",
    [
        {"kernel": 5},
        {"stride": 1},
        {"groups": 3},
        {"norm": False},
        {"act": "h_swish"},
        {"out_shape": (16, 4, 4)},
        {"inputs": (0,)},
    ],
    ids=str,
)
def test_key_differs_with_the_work(change: dict[str, object]) -> None:
    assert NetSpec((3, 8, 8), (replace(STEM, **change),)).key() != NetSpec((3, 8, 8), (STEM,)).key()


def test_key_differs_with_the_input() -> None:
    assert NetSpec((3, 7, 8), (STEM,)).key() != NetSpec((3, 8, 8), (STEM,)).key()


def test_blocks_start_at_their_own_input() -> None:
    blocks = NET.blocks()
    assert list(blocks) == ["stem", "one", "head"]
    assert blocks["stem"] == NetSpec((3, 8, 8), (STEM,))
    assert blocks["one"].input_shape == (8, 4, 4)
    assert [op.inputs for op in blocks["one"].ops] == [(INPUT,), (0,), (INPUT, 1)]
    assert [op.inputs for op in blocks["head"].ops] == [(INPUT,), (0,)]
    assert [op.name for block in blocks.values() for op in block.ops] == [op.name for op in NET.ops]


def test_a_scattered_block_is_refused() -> None:
    with pytest.raises(ValueError, match="'stem' is not contiguous"):
        NetSpec((3, 8, 8), (STEM, UP, replace(DOWN, block="stem"))).blocks()


def test_a_block_of_two_inputs_is_refused() -> None:
    ops = (STEM, UP, DOWN, replace(ADD, block="tail"))
    with pytest.raises(ValueError, match="'tail' wants one input value, has 2"):
        NetSpec((3, 8, 8), ops).blocks()
