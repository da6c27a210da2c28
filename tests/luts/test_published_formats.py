"""Keys as they are written, and whose table they are of."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from published import NSGANETV2, OFA, PROXYLESS

from hwnas.core.errors import InputError
from hwnas.luts.published import FORMATS
from hwnas.luts.published.formats import named, told
from hwnas.luts.published.keys import Expansion, Key, parse, written


def keys(text: str) -> list[str]:
    return list(yaml.safe_load(text))


def bottleneck(channels: int, expand: int) -> str:
    return f"expanded_conv-input:14x14x{channels}-output:14x14x{channels}-expand:{expand}-kernel:3-stride:1-idskip:1"


def test_a_key_of_once_for_all() -> None:
    text = "expanded_conv-input:112x110x24-output:56x55x32-expand:96-kernel:3-stride:2-idskip:0-se:0-hs:1"
    assert parse(text) == Key("expanded_conv", (24, 112, 110), (32, 56, 55), Expansion(96, 3, 2, False))
    assert parse("Logits-input:1x1x1536-output:1000") == Key("Logits", (1536, 1, 1), (1000, 1, 1), None)
    assert parse("classifier-input:1536-output:1000") == Key("classifier", (1536, 1, 1), (1000, 1, 1), None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Conv",
        "Conv-input:224x224x3",
        "Conv-input:224x224-output:112x112x24",
        "Conv-input:0x224x3-output:112x112x24",
        "Conv-input:224x224x3-output:112x112x24-expand:3",
        "expanded_conv-input:7x7x3-output:7x7x3-expand:0-kernel:3-stride:1-idskip:0",
        "expanded_conv-input:7x7x3-output:7x7x3-expand:3-kernel:4-stride:1-idskip:0",
        "expanded_conv-input:7x7x3-output:7x7x3-expand:3-kernel:3-stride:1-idskip:2",
        "Conv-input:224x224x3-output:112x112x24\n",
    ],
)
def test_what_is_no_key(text: str) -> None:
    assert parse(text) is None


@given(st.tuples(*[st.integers(1, 2000)] * 3), st.tuples(*[st.integers(1, 2000)] * 3))
def test_shapes_come_back(source: tuple[int, int, int], target: tuple[int, int, int]) -> None:
    assert parse(f"Conv-input:{written(source)}-output:{written(target)}") == Key("Conv", source, target, None)


@pytest.mark.parametrize(("text", "name"), [(OFA, "ofa"), (PROXYLESS, "proxyless"), (NSGANETV2, "nsganetv2")])
def test_a_table_is_told_by_its_keys(text: str, name: str) -> None:
    assert told(keys(text), "file").name == name
    assert named(name, keys(text), "file") is FORMATS[name]
    for other in FORMATS.keys() - {name}:
        with pytest.raises(InputError, match=rf"no key of a table of {other}: name another --format"):
            named(other, keys(text), "file")


def test_fbnet_is_told_by_its_keys() -> None:
    assert told(["layer:2-block:0", "layer:23-block:7"], "file").name == "fbnet"
    for odd in ("layer:1-block:0", "layer:24-block:0", "layer:2-block:9"):
        with pytest.raises(InputError, match=f"{odd} is no key of a published table"):
            told(["layer:2-block:0", odd], "file")


@pytest.mark.parametrize(
    ("expands", "name"),
    [
        ([(24, 24), (24, 144)], "ofa"),
        ([(24, 3), (24, 6)], "proxyless"),
        ([(8, 8), (24, 72)], "ofa"),
        ([(8, 8), (24, 1)], "proxyless"),
    ],
)
def test_what_expand_means_is_told_by_all_keys_together(expands: list[tuple[int, int]], name: str) -> None:
    assert told([bottleneck(*pair) for pair in expands], "file").name == name


def test_what_may_be_either_wants_a_format() -> None:
    for found in ([bottleneck(8, 8)], ["Conv-input:224x224x3-output:112x112x32"]):
        with pytest.raises(
            InputError, match=r"ofa \(channels inside\) or proxyless \(ratio\).*say which with --format"
        ):
            told(found, "file")
        assert named("ofa", found, "file").expand == "channels inside"
        assert named("proxyless", found, "file").expand == "ratio"


@pytest.mark.parametrize("pair", [[(24, 3), (24, 72)], [(24, 6), (24, 6), (192, 1152)]])
def test_what_is_both_is_refused(pair: list[tuple[int, int]]) -> None:
    with pytest.raises(InputError, match=r"contradicts itself.*--format") as caught:
        told([bottleneck(*one) for one in pair], "file")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("odd", [bottleneck(24, 12), "Pool-input:7x7x8-output:1x1x8", "nonsense", "conv2d_k3"])
def test_an_unknown_key_is_named(odd: str) -> None:
    with pytest.raises(InputError, match=f"file: {odd} is no key of a published table that hwnas knows"):
        told([bottleneck(24, 72), odd], "file")


def test_an_unknown_format() -> None:
    with pytest.raises(InputError, match="choose one of ofa, proxyless, nsganetv2, fbnet"):
        named("mnasnet", [], "file")
