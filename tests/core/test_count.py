"""Counts, each against numbers worked by hand."""

from __future__ import annotations

from hwnas.core.count import macs, params, peak_activation_bytes
from hwnas.core.net import INPUT, NetSpec, Op

CONV = Op("conv", "a", (INPUT,), 3, (8, 4, 4), kernel=3, stride=2, norm=True, act="relu")
DEPTH = Op("conv", "b", (0,), 8, (8, 4, 4), kernel=5, groups=8, norm=True)
ADD = Op("add", "c", (0, 1), 8, (8, 4, 4))
POOL = Op("global_pool", "d", (2,), 8, (8, 1, 1))
REDUCE = Op("conv", "e", (3,), 8, (4, 1, 1), bias=True)
LINEAR = Op("linear", "f", (4,), 4, (10, 1, 1), bias=True)
NET = NetSpec((3, 8, 8), (CONV, DEPTH, ADD, POOL, REDUCE, LINEAR))


def test_macs() -> None:
    assert macs(NET) == 8 * 3 * 9 * 16 + 8 * 1 * 25 * 16 + 0 + 0 + 4 * 8 + 10 * 4


def test_params() -> None:
    assert params(NET) == (8 * 3 * 9 + 2 * 8) + (8 * 25 + 2 * 8) + (4 * 8 + 4) + (10 * 4 + 10)


def test_a_shortcut_keeps_its_source_alive() -> None:
    # a, b and their sum are alive at once: three values of 8 x 4 x 4; the image (3 x 8 x 8) is gone by then.
    assert peak_activation_bytes(NET) == 3 * 8 * 4 * 4 * 4


def test_a_chain_holds_two_values() -> None:
    # the image and the first output: 192 + 128 values; later 128 + 128.
    assert peak_activation_bytes(NetSpec((3, 8, 8), (CONV, DEPTH))) == (192 + 128) * 4


def test_an_input_read_late_stays_alive() -> None:
    same = Op("conv", "a", (INPUT,), 3, (3, 8, 8))
    again = Op("conv", "b", (0,), 3, (3, 8, 8))
    add = Op("add", "c", (INPUT, 1), 3, (3, 8, 8))
    assert peak_activation_bytes(NetSpec((3, 8, 8), (same, again))) == 2 * 192 * 4
    assert peak_activation_bytes(NetSpec((3, 8, 8), (same, again, add))) == 3 * 192 * 4


def test_bytes_per_value() -> None:
    assert peak_activation_bytes(NET, bytes_per_value=1) * 4 == peak_activation_bytes(NET)
