"""Blocks of ProxylessNAS, built from the shapes that its keys have (Cai et al., ICLR 2019, section 3.3).

Its relu6 is described as relu, and its `Logits` are everything after the last convolution.
"""

from __future__ import annotations

from hwnas.core.errors import InputError
from hwnas.core.net import NetSpec
from hwnas.luts.published.keys import Key, parse
from hwnas.spaces.builder import Builder


def block(text: str) -> NetSpec:
    """What a key of a ProxylessNAS table stands for.

    Raises:
        InputError: its shapes contradict its numbers.
    """
    key = parse(text)
    net = None if key is None else _block(key)
    if key is None or net is None or net.out_shape != key.output:
        raise InputError(f"{text} contradicts itself: its input does not give its output; mend the table")
    return net


def _block(key: Key) -> NetSpec | None:
    net = Builder(key.input)
    channels, height, _ = key.input
    if key.block is not None:
        middle = channels * key.block.expand
        if key.block.expand != 1:
            net.conv("inverted_bottleneck", middle, act="relu")
        net.conv("depth_conv", middle, kernel=key.block.kernel, stride=key.block.stride, groups=middle, act="relu")
        net.conv("point_linear", key.output[0])
        if key.block.skip and net.shape != key.input:
            return None
        if key.block.skip:
            net.add("shortcut", -1)
    elif key.op == "Conv":
        net.conv("first_conv", key.output[0], kernel=3, stride=max(1, round(height / key.output[1])), act="relu")
    elif key.op == "Conv_1":
        net.conv("feature_mix_layer", key.output[0], act="relu")
    else:
        net.global_pool("avg_pool")
        net.linear("classifier", key.output[0])
    return net.build()
