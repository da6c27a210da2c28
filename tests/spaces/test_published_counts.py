"""Counts of the published networks, exactly. The files are named by HWNAS_DATA."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest

from hwnas import spaces
from hwnas.core.count import macs, params
from hwnas.core.net import NetSpec, Op

DATA = os.environ.get("HWNAS_DATA")
pytestmark = pytest.mark.skipif(
    not DATA, reason="set HWNAS_DATA to the folder that holds ofa_parity/ and ofa_specialized/"
)
RESOLUTIONS = (160, 192, 224)


def read(name: str) -> Any:
    return json.loads((Path(DATA or "") / "ofa_parity" / name).read_text())


@pytest.mark.parametrize("index", range(6))
def test_parameters_and_macs_of_the_published_space(index: int) -> None:
    record = read("macs_params_w1.0.json")[index]
    space, asked = spaces.load("ofa_mbv3/w1.0/v1"), record["arch"]
    for resolution in RESOLUTIONS:
        net = space.lower(space.arch(asked["ks"], asked["e"], asked["d"], resolution))
        assert params(net) == record["params"]
        assert macs(net) == round(record[f"config_mmacs_{resolution}"] * 1e6)


def specialized() -> list[dict[str, str]]:
    with (Path(DATA or "") / "ofa_specialized" / "ofa_specialized_nets.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["device"] == "flops"]


@pytest.mark.parametrize(("name", "millions"), [("389M", 389.49), ("482M", 482.41), ("595M", 595.19)])
def test_the_three_networks_searched_by_macs(name: str, millions: float) -> None:
    row = next(row for row in specialized() if name in row["net_id"])
    blocks = json.loads(row["blocks"])
    net = lowered(blocks[1:], int(row["image_size"]))
    assert round(macs(net) / 1e6, 2) == float(row["macs_M_calc"]) == millions
    assert [described(block) for block in list(net.blocks().values())[1:-1]] == blocks[1:]


def lowered(blocks: list[list[Any]], resolution: int) -> NetSpec:
    """The network of [c_in, c_out, k, stride, expand, ...] rows; a new unit starts wherever the width changes."""
    space = spaces.load("ofa_mbv3/w1.2/v1")
    kernels, expansions = [3] * 20, [3] * 20
    depths = [0] * 5
    unit = -1
    for c_in, c_out, kernel, _, expansion, *_ in blocks:
        unit += c_in != c_out
        kernels[4 * unit + depths[unit]] = kernel
        expansions[4 * unit + depths[unit]] = expansion
        depths[unit] += 1
    return space.network(kernels, expansions, depths, resolution)


def described(block: NetSpec) -> list[Any]:
    """A block as the published table has it: [c_in, c_out, k, stride, expand, mid, act, se, h_in, skip]."""
    ops: dict[str, Op] = {op.name.split(".", 2)[-1]: op for op in block.ops}
    up, depth, down = ops["inverted_bottleneck"], ops["depth_conv"], ops["point_linear"]
    expansion = round(up.out_shape[0] / up.in_channels)
    shape = [up.in_channels, down.out_shape[0], depth.kernel, depth.stride, expansion, up.out_shape[0]]
    return [*shape, up.act, "se.reduce" in ops, block.input_shape[1], "shortcut" in ops]
