"""The keys whose times add up to a block of a once-for-all space.

The published tables have first convolution, first block, each block, final expansion, pooling, feature mix and
classifier one by one, where a network here is cut into stem, blocks and head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby

from hwnas.core.net import NetSpec, Op, Shape
from hwnas.luts.published.keys import written


@dataclass(frozen=True)
class Dialect:
    """How a project writes the key of a layer; layers without a word are timed with the one before."""

    words: Mapping[str, str]
    block: Callable[[Shape, tuple[Op, ...]], str]
    flat: bool = False
    """The classifier's input is written as C rather than as 1x1xC."""


def keys(net: NetSpec, dialect: Dialect) -> tuple[str, ...]:
    """The keys of a block's layers, in order."""
    found = []
    for layer, group in groupby(net.ops, _layer):
        ops = tuple(group)
        entry = net.shape(ops[0].inputs[0])
        if layer == "block":
            found.append(dialect.block(entry, ops))
        elif layer in dialect.words:
            found.append(_plain(dialect, layer, entry, ops[-1].out_shape))
    return tuple(found)


def _layer(op: Op) -> str:
    """The operators of an inverted bottleneck are ``blocks.N...``; every other layer is one operator."""
    return "block" if op.name.startswith("blocks.") else op.name


def _plain(dialect: Dialect, layer: str, entry: Shape, out: Shape) -> str:
    if layer == "classifier":
        source = str(entry[0]) if dialect.flat else written(entry)
        return f"{dialect.words[layer]}-input:{source}-output:{out[0]}"
    return f"{dialect.words[layer]}-input:{written(entry)}-output:{written(out)}"


def _ofa_block(entry: Shape, ops: tuple[Op, ...]) -> str:
    depth = _depth_conv(ops)
    return _bottleneck("expanded_conv", entry, ops, depth.in_channels) + f"-hs:{int(depth.act == 'h_swish')}"


def _nsganetv2_block(entry: Shape, ops: tuple[Op, ...]) -> str:
    return _bottleneck("MBConv", entry, ops, round(_depth_conv(ops).in_channels / entry[0]))


def _bottleneck(word: str, entry: Shape, ops: tuple[Op, ...], expand: int) -> str:
    depth = _depth_conv(ops)
    out = next(op for op in ops if op.name.endswith(".point_linear")).out_shape
    skip, se = (int(any(op.kind == kind for op in ops)) for kind in ("add", "mul"))
    return (
        f"{word}-input:{written(entry)}-output:{written(out)}-expand:{expand}-kernel:{depth.kernel}"
        f"-stride:{depth.stride}-idskip:{skip}-se:{se}"
    )


def _depth_conv(ops: tuple[Op, ...]) -> Op:
    return next(op for op in ops if op.name.endswith(".depth_conv"))


DIALECTS = {
    "ofa": Dialect(
        {
            "first_conv": "Conv",
            "final_expand_layer": "Conv_1",
            "avg_pool": "AvgPool2D",
            "feature_mix_layer": "Conv_2",
            "classifier": "Logits",
        },
        _ofa_block,
    ),
    # Its own look-up adds the mean over height and width to the final expansion (mikelzc1990/nsganetv2, utils.py).
    "nsganetv2": Dialect(
        {name: name for name in ("first_conv", "final_expand_layer", "feature_mix_layer", "classifier")},
        _nsganetv2_block,
        flat=True,
    ),
}
