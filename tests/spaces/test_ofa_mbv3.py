"""The once-for-all spaces: contracts, canonical genes, and lowering by option values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas import spaces
from hwnas.core.arch import Arch
from hwnas.core.count import macs
from hwnas.core.errors import InputError
from hwnas.core.genetics import sample
from hwnas.core.protocols import SearchSpace
from hwnas.spaces.ofa_mbv3 import LAYOUTS, OfaMbv3, make_divisible, published_layout
from hwnas.testing import SpaceContract

SMALL = spaces.load("ofa_mbv3/small/v1")
WIDE = spaces.load("ofa_mbv3/w1.2/v1")


class TestPublished(SpaceContract):
    def space(self) -> SearchSpace:
        return spaces.load("ofa_mbv3/w1.0/v1")


class TestPublishedWide(SpaceContract):
    def space(self) -> SearchSpace:
        return WIDE


class TestSmall(SpaceContract):
    def space(self) -> SearchSpace:
        return SMALL


class TestOneSize(SpaceContract):
    def space(self) -> SearchSpace:
        return spaces.load("ofa_mbv3/w1.0-r224/v1")


def test_a_space_at_one_size_is_the_same_but_for_the_sizes() -> None:
    fixed = spaces.load("ofa_mbv3/w1.2-r224/v1")
    assert fixed.choices[0].options == (224,)
    assert fixed.choices[1:] == WIDE.choices[1:]
    arch = WIDE.largest
    same = Arch(fixed.id, (0, *arch.genes[1:]))
    assert fixed.lower(same) == WIDE.lower(arch)
    large = spaces.load("ofa_mbv3/w1.2-r260/v1", classes=7)
    assert large.lower(large.largest).input_shape == (3, 260, 260)
    assert large.lower(large.largest).out_shape == (7, 1, 1)


@pytest.mark.parametrize("size", ["0", "28", "30", "225", "516"])
def test_sizes_that_no_space_is_made_for(size: str) -> None:
    with pytest.raises(InputError, match=r"ofa_mbv3/w1\.0-r"):
        spaces.load(f"ofa_mbv3/w1.0-r{size}/v1")


@pytest.mark.parametrize("name", ["ofa_mbv3/w1.1-r224/v1", "ofa_mbv3/w1.0-r224", "ofa_mbv3/w1.0-r0224/v1", "-r224/v1"])
def test_ids_at_one_size_that_name_nothing(name: str) -> None:
    with pytest.raises(InputError, match="no space is called"):
        spaces.load(name)


def test_the_published_space() -> None:
    names = {choice.name: choice.options for choice in WIDE.choices}
    assert names["resolution"] == tuple(range(128, 225, 4))
    assert names["unit4.depth"] == (2, 3, 4)
    assert names["unit4.block3.kernel"] == (3, 5, 7)
    assert names["unit4.block3.expansion"] == (3, 4, 6)
    assert len(names) == len(WIDE.choices) == 1 + 5 + 2 * 20


def test_the_number_of_published_architectures() -> None:
    """ "More than 10^19" (Cai et al., section 3.1): (9^2 + 9^3 + 9^4)^5 networks at one resolution."""
    options = len(WIDE.layout.kernels) * len(WIDE.layout.expansions)
    assert sum(options**depth for depth in WIDE.layout.depths) ** len(WIDE.layout.units) > 10**19


@pytest.mark.parametrize(
    ("width", "stem", "widths", "final", "mix"),
    [
        (1.0, 16, [24, 40, 80, 112, 160], 960, 1280),
        (1.2, 24, [32, 48, 96, 136, 192], 1152, 1536),
        (0.35, 8, [8, 16, 32, 40, 56], 336, 448),
    ],
)
def test_published_widths(width: float, stem: int, widths: list[int], final: int, mix: int) -> None:
    layout = published_layout(width)
    assert (layout.stem, layout.first_width) == (stem, stem)
    assert [unit.width for unit in layout.units] == widths
    assert (layout.final_expand, layout.feature_mix) == (final, mix)


@given(st.floats(1, 4000))
def test_make_divisible(value: float) -> None:
    rounded = make_divisible(value)
    assert rounded % 8 == 0
    assert rounded >= 0.9 * value
    assert abs(rounded - value) <= 8


def test_stored_architectures_keep_their_meaning() -> None:
    """Frozen: a change of these keys or counts wants a new version in the space's id."""
    lowered = {name: macs(spaces.load(name).lower(spaces.load(name).largest)) for name in LAYOUTS}
    assert lowered["ofa_mbv3/w1.0/v1"] == 566170656
    first, *_, last = SMALL.lower(SMALL.smallest).blocks().values()
    assert first.key().startswith("1x32x32|conv-8x32x32-k3s1g1-b-h_swish@-1|")
    assert last.key().endswith("|conv-256x1x1-k1s1g1-h_swish@1|linear-10x1x1-b@2")


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_values_read_back(seed: int) -> None:
    arch = sample(SMALL, 1, np.random.default_rng(seed))[0]
    values = SMALL.values(arch)
    blocks = list(values[6:])
    assert SMALL.arch(blocks[0::2], blocks[1::2], list(values[1:6]), values[0]) == arch
    assert SMALL.network(blocks[0::2], blocks[1::2], list(values[1:6]), values[0]) == SMALL.lower(arch)


def test_classes_and_channels_of_a_data_set() -> None:
    space = spaces.load("ofa_mbv3/small/v1", classes=7, in_channels=3)
    net = space.lower(space.smallest)
    assert net.out_shape == (7, 1, 1)
    assert net.input_shape[0] == 3
    assert (SMALL.classes, SMALL.in_channels) == (10, 1)


@pytest.mark.parametrize("resolution", [31, 33, 48, 223])
def test_any_resolution_lowers(resolution: int) -> None:
    net = SMALL.network([3] * 20, [3] * 20, [2] * 5, resolution)
    size = resolution
    for stride in (1, 2, 2, 1, 2, 2):
        size = -(-size // stride)
    assert net.blocks()["head"].input_shape == (64, size, size)


def test_an_unknown_space_names_the_known() -> None:
    with pytest.raises(InputError, match=r"no space is called 'nope': choose one of ofa_mbv3/w1\.0/v1, "):
        spaces.load("nope")


@pytest.mark.parametrize(
    ("kernels", "expansions", "depths", "resolution", "message"),
    [
        ([3] * 19, [3] * 20, [2] * 5, 128, "wants 20 kernels and expansions"),
        ([3] * 20, [3] * 21, [2] * 5, 128, "wants 20 kernels and expansions"),
        ([3] * 20, [3] * 20, [2] * 4, 128, "wants 5 depths"),
        ([9] + [3] * 19, [3] * 20, [2] * 5, 128, r"unit0\.block0\.kernel .* is one of \(3, 5, 7\), not 9"),
        ([3] * 20, [3] * 20, [5] * 5, 128, r"unit0\.depth .* not 5"),
        ([3] * 20, [3] * 20, [2] * 5, 130, "resolution .* not 130"),
    ],
)
def test_wrong_options_are_one_line(
    kernels: list[int], expansions: list[int], depths: list[int], resolution: int, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        WIDE.arch(kernels, expansions, depths, resolution)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "arch",
    [
        Arch("ofa_mbv3/w1.0/v1", (0,) * 46),
        Arch(WIDE.id, (0,) * 45),
        Arch(WIDE.id, (0,) * 45 + (3,)),
        Arch(WIDE.id, (-1,) + (0,) * 45),
    ],
    ids=["another space", "too short", "no such option", "negative"],
)
def test_a_foreign_architecture_is_refused(arch: Arch) -> None:
    with pytest.raises(InputError, match=f"not an architecture of {WIDE.id}"):
        WIDE.lower(arch)


def test_equal_spaces_are_equal() -> None:
    assert spaces.load(WIDE.id) == OfaMbv3(WIDE.id, LAYOUTS[WIDE.id], 1000, 3)
