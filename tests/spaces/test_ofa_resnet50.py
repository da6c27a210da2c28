"""The once-for-all ResNet-50D space: its contract, and its elastic widths."""

from __future__ import annotations

import numpy as np
import pytest

from hwnas import spaces
from hwnas.core.arch import ArchBatch
from hwnas.core.count import macs
from hwnas.core.errors import InputError
from hwnas.core.protocols import SearchSpace
from hwnas.spaces.ofa_resnet50 import LAYOUTS, STEM_MIDDLE, OfaResNet50
from hwnas.testing import SpaceContract

SPACE = OfaResNet50("ofa_resnet50/v1", LAYOUTS["ofa_resnet50/v1"], 1000, 3)
FULL: dict[str, list[int]] = {"depths": [4, 4, 6, 4], "expansions": [35] * 18, "widths": [100] * 6}


class TestPublished(SpaceContract):
    def space(self) -> SearchSpace:
        return SPACE


class TestOneSize(SpaceContract):
    def space(self) -> SearchSpace:
        return spaces.load("ofa_resnet50-r236/v1")


def test_stored_architectures_keep_their_meaning() -> None:
    """Frozen: a change of these wants a new version in the space's id."""
    names = [choice.name for choice in SPACE.choices]
    assert len(names) == 1 + 1 + 6 + 4 + 18
    assert names[1:5] == ["stem.depth", "stem.middle", "stem.width", "unit0.width"]
    assert names[8:13] == ["unit0.depth", "unit1.depth", "unit2.depth", "unit3.depth", "unit0.block0.expansion"]
    assert SPACE.layout.unit_widths[0] == (168, 208, 256)
    assert (macs(SPACE.lower(SPACE.largest)), macs(SPACE.lower(SPACE.smallest))) == (9784377344, 315079552)
    assert SPACE.arch(**FULL, resolution=256, stem_depth=1) == SPACE.largest


def test_widths_of_the_stem_that_are_one_network_are_one_architecture() -> None:
    """65% and 80% of the published stem's middle are 24 channels both."""
    rows = np.array([SPACE.largest.genes] * 3, dtype=np.int16)
    rows[:, STEM_MIDDLE] = [0, 1, 2]
    assert SPACE.canonical(rows)[:, STEM_MIDDLE].tolist() == [0, 0, 2]
    assert len({SPACE.lower(arch).key() for arch in ArchBatch(SPACE.id, rows)}) == 2


def test_a_block_is_as_wide_as_its_unit() -> None:
    arch = SPACE.arch([2, 2, 4, 2], [20] * 18, [65, 80, 65, 100, 80, 65], 224, 0)
    widths = {name: block.out_shape[0] for name, block in SPACE.lower(arch).blocks().items()}
    assert [widths[f"unit{unit}.block0"] for unit in range(4)] == [168, 512, 816, 1328]
    assert widths["unit3.block1"] == 1328
    assert widths["stem"] == 48


def test_odd_sizes_round_up_on_both_sides_of_a_shortcut() -> None:
    odd = spaces.load("ofa_resnet50-r212/v1")
    shapes = [block.out_shape[1] for name, block in odd.lower(odd.smallest).blocks().items() if name.endswith("block0")]
    assert shapes == [53, 27, 14, 7]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"depths": [4, 4, 6]}, "wants 4 depths, 18 expansions and 6 widths"),
        ({"expansions": [35] * 17}, "wants 4 depths, 18 expansions and 6 widths"),
        ({"widths": [100] * 4}, "wants 4 depths, 18 expansions and 6 widths"),
        ({"depths": [4, 4, 3, 4]}, r"unit2\.depth .* is one of \(4, 5, 6\), not 3"),
        ({"expansions": [30] * 18}, r"unit0\.block0\.expansion .* not 30"),
        ({"widths": [50] * 6}, r"stem\.middle .* not 50"),
    ],
)
def test_wrong_options_are_one_line(wrong: dict[str, list[int]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SPACE.arch(**(FULL | wrong), resolution=224, stem_depth=1)
