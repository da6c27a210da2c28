"""The space of basic blocks for small images: its contract, and what is unlike the others."""

from __future__ import annotations

import pytest

from hwnas import spaces
from hwnas.core.count import macs, params
from hwnas.core.errors import InputError
from hwnas.core.protocols import SearchSpace
from hwnas.testing import SpaceContract

SPACE = spaces.load_units("ofa_basic/small/v1")


class TestSmall(SpaceContract):
    def space(self) -> SearchSpace:
        return SPACE


class TestOneSize(SpaceContract):
    def space(self) -> SearchSpace:
        return spaces.load("ofa_basic/small-r48/v1", classes=3)


def test_stored_architectures_keep_their_meaning() -> None:
    """Frozen: a change of these wants a new version in the space's id."""
    names = [choice.name for choice in SPACE.choices]
    assert len(names) == 1 + 2 + 1 + 2 * 2
    assert names[1:5] == ["unit1.depth", "unit2.depth", "unit0.block0.expansion", "unit1.block0.expansion"]
    assert [choice.options for choice in SPACE.choices[:2]] == [(22, 25, 28, 32), (1, 2)]
    ends = [SPACE.lower(arch) for arch in (SPACE.smallest, SPACE.largest)]
    assert [macs(net) for net in ends] == [20969248, 118630912]
    assert [params(net) for net in ends] == [582890, 2637738]


def test_a_unit_begins_with_a_maximum_between_its_convolutions() -> None:
    ops = {op.name: op for op in SPACE.lower(SPACE.largest).ops}
    sizes = {name: op.out_shape[1:] for name, op in ops.items() if name.startswith("blocks.0.")}
    assert sizes == {"blocks.0.conv1": (32, 32), "blocks.0.pool": (16, 16), "blocks.0.conv2": (16, 16)}
    assert ops["blocks.0.pool"].kind == "max_pool"
    assert "blocks.2.pool" not in ops
    assert ops["blocks.2.shortcut"].act == "relu"  # after the sum, as in ResNet-18


def test_one_kernel_is_no_choice() -> None:
    arch = SPACE.arch([3] * 5, [50] * 5, [2, 2], 32)
    assert {op.kernel for op in SPACE.lower(arch).ops if op.kind == "conv"} == {3}
    with pytest.raises(InputError, match="kernels of ofa_basic/small/v1 are 3"):
        SPACE.arch([5] * 5, [50] * 5, [2, 2], 32)
