"""Published configurations lead back to the architecture that they were made from, or name what does not fit."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from net_configs import document, needs_data, proxyless_configs, published, published_configs

from hwnas import spaces
from hwnas.core.count import macs
from hwnas.core.errors import InputError
from hwnas.core.genetics import sample
from hwnas.spaces.net_config import Config, find_arch

WIDTHS = ("ofa_mbv3/w1.0/v1", "ofa_mbv3/w1.2/v1")
PROXYLESS = "ofa_proxyless/w1.3/v1"


def found(made: dict[str, Any], resolution: int) -> tuple[Any, Any]:
    config = Config.of(made)
    return find_arch(config, config.spaces(resolution), resolution)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), name=st.sampled_from((*WIDTHS, PROXYLESS)))
def test_an_architecture_survives_its_published_form(seed: int, name: str) -> None:
    space = spaces.load(name)
    [arch] = sample(space, 1, np.random.default_rng(seed))
    family = "ProxylessNASNets" if name == PROXYLESS else "MobileNetV3"
    again, same = found(document(space, arch, family), space.values(arch)[0])
    assert (again.id, same) == (name, arch)


def test_skipped_blocks_and_what_is_left_out() -> None:
    """ProxylessNAS writes a ZeroLayer for a block that it skips, and neither middle channels nor activation."""
    space = spaces.load(WIDTHS[0])
    made = document(space, space.largest)
    for block in made["blocks"]:
        for key in ("mid_channels", "act_func"):
            del block["mobile_inverted_conv"][key]
    made["blocks"].insert(3, {"mobile_inverted_conv": {"name": "ZeroLayer", "stride": 1}, "shortcut": None})
    assert found(made, 224)[1] == space.largest


def test_sizes_between_and_beyond_those_of_training_have_spaces_of_their_own() -> None:
    space = spaces.load(WIDTHS[1])
    other, arch = found(document(space, space.largest), 260)
    assert other.id == arch.space_id == "ofa_mbv3/w1.2-r260/v1"
    assert other.lower(arch).input_shape == (3, 260, 260)


def test_other_classes() -> None:
    made = document(spaces.load(WIDTHS[0], classes=12), spaces.load(WIDTHS[0]).smallest)
    space, arch = found(made, 128)
    assert space.lower(arch).out_shape == (12, 1, 1)


def changed(index: int, **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda made: made["blocks"][index]["mobile_inverted_conv"].update(values)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (changed(5, kernel_size=9), r"its block 6 \(24 to 40 channels.*kernel 9.* is none that ofa_mbv3/w1.0/v1 has"),
        (changed(2, expand_ratio=5, mid_channels=None), "its block 3 .*expansion 5"),
        (changed(2, mid_channels=136), "its block 3 .*136 between"),
        (changed(7, use_se=False), "its block 8"),
        (changed(7, act_func="relu6"), "its block 8 .*relu6"),
        (changed(9, stride=1), "its block 10 .*stride 1"),
        (changed(0, out_channels=24), "its block 1 "),
        (lambda made: made["blocks"][6].update(shortcut=None), "its block 7"),
        (lambda made: made["blocks"].insert(4, copy.deepcopy(made["blocks"][4])), "its block 6"),
        (lambda made: made["blocks"].append(copy.deepcopy(made["blocks"][-1])), "its block 22"),
        (lambda made: made["blocks"].__delitem__(slice(2, 5)), r"its block 3 \(24 to 40"),
        (lambda made: made["blocks"].__delitem__(slice(18, None)), "it ends after block 18, where .* has more"),
        (lambda made: made["first_conv"].update(out_channels=32), "its first_conv has 3 to 32 channels, .* 3 to "),
        (lambda made: made["classifier"].update(in_features=1000), "its classifier has 1000 to 1000"),
    ],
)
def test_the_first_block_that_does_not_fit_is_named(change: Callable[[dict[str, Any]], None], why: str) -> None:
    space = spaces.load(WIDTHS[0])
    made = document(space, space.largest)
    change(made)
    with pytest.raises(InputError, match=why):
        found(made, 224)


@pytest.mark.parametrize(
    "made",
    [
        None,
        [],
        "text",
        {},
        {"name": "MobileNetV3"},
        {"name": "MobileNetV3", "blocks": []},
        {"name": "MobileNetV3", "blocks": [{"mobile_inverted_conv": None, "shortcut": None}]},
        {"name": "MobileNetV3", "blocks": 3, "first_conv": {}, "classifier": {}},
    ],
)
def test_what_is_no_configuration(made: Any) -> None:
    with pytest.raises(InputError, match="want a JSON object with name, first_conv, blocks and classifier"):
        Config.of(made)


def test_networks_of_another_name() -> None:
    space = spaces.load(WIDTHS[0])
    with pytest.raises(InputError, match="networks called 'ResNet50D' are not read, only MobileNetV3"):
        found(document(space, space.smallest, "ResNet50D"), 224)


@needs_data
def test_there_are_fifty_published_networks() -> None:
    families = [row["arch_name"] for row in published()]
    assert (families.count("MobileNetV3"), families.count("ProxylessNASNets"), len(families)) == (34, 16, 50)


@needs_data
@pytest.mark.parametrize("row", published(), ids=lambda row: row["net_id"])
def test_every_published_network_has_its_macs(row: dict[str, str]) -> None:
    config = published_configs()[row["net_id"]]
    space, arch = found(config, int(row["image_size"]))
    net = space.lower(arch)
    assert round(macs(net) / 1e6, 2) == float(row["macs_M_calc"])
    told = {"flops-389M": 389, "flops-482M": 482, "flops-595M": 595}.get(row["net_id"].split("_")[0])
    assert told in (None, round(macs(net) / 1e6))
    assert {op.norm_eps for op in net.ops if op.norm} == {config["bn"]["eps"]}


@needs_data
@pytest.mark.parametrize("name", sorted(proxyless_configs()))
def test_networks_of_proxylessnas_itself_are_in_no_released_space(name: str) -> None:
    with pytest.raises(InputError, match=r"is not in ofa_proxyless/w1\.3/v1: its (first_conv|feature_mix_layer|block)"):
        found(proxyless_configs()[name], 224)
