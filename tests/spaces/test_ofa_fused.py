"""The space of fused and depthwise inverted bottlenecks: its contract, and what is unlike the others."""

from __future__ import annotations

import pytest

from hwnas import spaces
from hwnas.core.count import macs, params
from hwnas.core.errors import InputError
from hwnas.core.protocols import SearchSpace
from hwnas.testing import SpaceContract

SPACE = spaces.load_bottlenecks("ofa_fused/small/v1")


class TestSmall(SpaceContract):
    def space(self) -> SearchSpace:
        return SPACE


class TestOneSize(SpaceContract):
    def space(self) -> SearchSpace:
        return spaces.load("ofa_fused/small-r48/v1", classes=3)


def test_stored_architectures_keep_their_meaning() -> None:
    """Frozen: a change of these wants a new version in the space's id."""
    names = [choice.name for choice in SPACE.choices]
    assert len(names) == 1 + 3 + 2 * 4 + 2 * 4
    assert names[4:6] == ["unit0.block0.expansion", "unit0.block1.expansion"]
    assert names[-2:] == ["unit2.block3.kernel", "unit2.block3.expansion"]
    assert [choice.options for choice in SPACE.choices[:2]] == [(24, 28, 32, 36), (2, 3, 4)]
    ends = [SPACE.lower(arch) for arch in (SPACE.smallest, SPACE.largest)]
    assert [macs(net) for net in ends] == [10495872, 106995584]
    assert [params(net) for net in ends] == [347266, 1682754]


def test_fused_blocks_have_one_full_convolution() -> None:
    ops = {op.name: op for op in SPACE.lower(SPACE.largest).ops}
    fused = [op for name, op in ops.items() if name.endswith("fused_conv")]
    assert len(fused) == 8
    assert {(op.kernel, op.groups) for op in fused} == {(3, 1)}
    assert [op.stride for op in fused] == [2, 1, 1, 1] * 2
    assert sum(name.endswith("depth_conv") for name in ops) == 4
    assert "blocks.5.shortcut" not in ops  # its width changes
    assert "blocks.6.shortcut" in ops


def test_the_kernel_of_a_fused_block_is_no_choice() -> None:
    kernels = [3] * 8 + [5] * 4
    arch = SPACE.arch(kernels, [2] * 12, [4, 4, 4], 32)
    assert {op.kernel for op in SPACE.lower(arch).ops if op.name.endswith("depth_conv")} == {5}
    with pytest.raises(InputError, match="the kernel of a fused block of ofa_fused/small/v1 is 3, not 5"):
        SPACE.arch([5] * 12, [2] * 12, [4, 4, 4], 32)
