"""Published keys and the blocks that they stand for."""

from __future__ import annotations

import pytest

from hwnas import spaces
from hwnas.core.additive import distinct_blocks
from hwnas.core.count import macs
from hwnas.core.errors import InputError
from hwnas.luts.published import fbnet, proxyless
from hwnas.luts.published.formats import FORMATS
from hwnas.luts.published.once_for_all import DIALECTS, keys

SPACE = spaces.load("ofa_mbv3/w1.2/v1")


def test_stem_and_head_are_several_layers() -> None:
    blocks = SPACE.lower(SPACE.largest).blocks()
    assert keys(blocks["stem"], DIALECTS["ofa"]) == (
        "Conv-input:224x224x3-output:112x112x24",
        "expanded_conv-input:112x112x24-output:112x112x24-expand:24-kernel:3-stride:1-idskip:1-se:0-hs:0",
    )
    assert keys(blocks["head"], DIALECTS["ofa"]) == (
        "Conv_1-input:7x7x192-output:7x7x1152",
        "AvgPool2D-input:7x7x1152-output:1x1x1152",
        "Conv_2-input:1x1x1152-output:1x1x1536",
        "Logits-input:1x1x1536-output:1000",
    )
    assert keys(blocks["head"], DIALECTS["nsganetv2"]) == (
        "final_expand_layer-input:7x7x192-output:7x7x1152",
        "feature_mix_layer-input:1x1x1152-output:1x1x1536",
        "classifier-input:1536-output:1000",
    )


def test_a_block_is_one() -> None:
    block = SPACE.lower(SPACE.largest).blocks()["unit3.block0"]
    assert keys(block, DIALECTS["ofa"]) == (
        "expanded_conv-input:14x14x96-output:14x14x136-expand:576-kernel:7-stride:1-idskip:0-se:1-hs:1",
    )
    assert keys(block, DIALECTS["nsganetv2"]) == (
        "MBConv-input:14x14x96-output:14x14x136-expand:6-kernel:7-stride:1-idskip:0-se:1",
    )


@pytest.mark.parametrize("name", ["ofa", "nsganetv2"])
@pytest.mark.parametrize("space", ["ofa_mbv3/w1.0/v1", "ofa_mbv3/w1.2/v1", "ofa_mbv3/small/v1"])
def test_every_block_has_keys_of_its_own_that_fit_the_format(name: str, space: str) -> None:
    ways = [keys(net, DIALECTS[name]) for net in distinct_blocks(spaces.load(space)).values()]
    assert all(FORMATS[name].fits(key) for way in ways for key in way)
    assert len(set(ways)) == len(ways)


def test_blocks_of_proxylessnas() -> None:
    """MACs by hand: 80 x 240 up, 25 a channel inside and 240 x 80 down, at each of 14 x 14 places."""
    net = proxyless.block("expanded_conv-input:14x14x80-output:14x14x80-expand:3-kernel:5-stride:1-idskip:1")
    assert [op.kind for op in net.ops] == ["conv", "conv", "conv", "add"]
    assert macs(net) == 14 * 14 * (80 * 240 + 25 * 240 + 240 * 80)
    first = proxyless.block("expanded_conv-input:112x112x32-output:112x112x16-expand:1-kernel:3-stride:1-idskip:0")
    assert macs(first) == 112 * 112 * (9 * 32 + 32 * 16)
    conv = proxyless.block("Conv-input:224x224x3-output:112x112x32")
    assert macs(conv) == 112 * 112 * 27 * 32
    assert macs(proxyless.block("Conv_1-input:7x7x320-output:7x7x1280")) == 7 * 7 * 320 * 1280
    logits = proxyless.block("Logits-input:7x7x1280-output:1000")
    assert [op.kind for op in logits.ops] == ["global_pool", "linear"]
    assert logits.out_shape == (1000, 1, 1)


@pytest.mark.parametrize(
    "text",
    [
        "expanded_conv-input:14x14x80-output:14x14x80-expand:3-kernel:5-stride:2-idskip:0",
        "expanded_conv-input:14x14x80-output:14x14x96-expand:3-kernel:5-stride:1-idskip:1",
        "expanded_conv-input:15x15x80-output:7x7x80-expand:3-kernel:5-stride:2-idskip:0",
        "Conv_1-input:7x7x320-output:6x6x1280",
    ],
)
def test_shapes_that_contradict_the_numbers(text: str) -> None:
    with pytest.raises(InputError, match=f"{text} contradicts itself"):
        proxyless.block(text)


def test_the_layers_of_fbnet() -> None:
    """Table 1 at 224 pixels: where the stages start, and that the last block is 352 x 7 x 7."""
    found = fbnet.blocks(224)
    starts = {2: (16, 112), 3: (16, 112), 7: (24, 56), 11: (32, 28), 15: (64, 14), 19: (112, 14), 23: (184, 7)}
    for layer, (channels, size) in starts.items():
        assert found[f"layer:{layer}-block:0"].input_shape == (channels, size, size)
    assert found["layer:23-block:7"].out_shape == (352, 7, 7)
    skips = {int(key.split(":")[1].split("-")[0]) for key in found if key.endswith("block:8")}
    assert skips == set(range(2, 24)) - {3, 7, 11, 15, 19, 23}
    assert len(found) == 192
    assert found.keys() < fbnet.KEYS


def test_the_blocks_of_fbnet() -> None:
    """Table 2 by hand, in the second layer for images of 32 pixels: 16 channels, all kept."""
    found = fbnet.blocks(32)
    area = 32 * 32
    for choice, (kernel, expansion, groups) in enumerate(
        [(3, 1, 1), (3, 1, 2), (3, 3, 1), (3, 6, 1), (5, 1, 1), (5, 1, 2), (5, 3, 1), (5, 6, 1)]
    ):
        middle = 16 * expansion
        points = 2 * 16 * middle // groups
        assert macs(found[f"layer:2-block:{choice}"]) == area * (points + kernel**2 * middle)
    skip = found["layer:2-block:8"]
    assert (macs(skip), skip.out_shape, skip.key()) == (0, (16, 32, 32), "16x32x32|act-16x32x32@-1")
    assert found["layer:23-block:0"].input_shape == (184, 8, 8)
    assert found["layer:4-block:3"].key() == found["layer:6-block:3"].key() != found["layer:3-block:3"].key()


@pytest.mark.parametrize("resolution", [None, 28, 256])
def test_fbnet_wants_a_size_whose_strides_are_known(resolution: int | None) -> None:
    with pytest.raises(InputError, match="give --resolution 32 or 224"):
        fbnet.blocks(resolution)
