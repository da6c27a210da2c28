"""What a network costs on paper: multiply-accumulates, parameters, peak activation bytes."""

from __future__ import annotations

import math

from hwnas.core.net import INPUT, NetSpec


def macs(net: NetSpec) -> int:
    """Multiply-accumulates of one image: convolutions and linear layers, as the published counts have it."""
    total = 0
    for op in net.ops:
        weight = op.weight_shape
        if weight is not None:
            total += math.prod(weight) * op.out_shape[1] * op.out_shape[2]
    return total


def params(net: NetSpec) -> int:
    """Learnt parameters before folding: weights, biases, and scale and shift of each normalisation."""
    total = 0
    for op in net.ops:
        weight = op.weight_shape
        if weight is not None:
            total += math.prod(weight) + op.out_shape[0] * (op.bias + 2 * op.norm)
    return total


def weight_bytes(net: NetSpec, bytes_per_value: int = 4) -> int:
    """What a deployed network keeps: weights and biases, normalisations folded into them, in bytes."""
    total = 0
    for op in net.ops:
        weight = op.weight_shape
        if weight is not None:
            total += math.prod(weight) + op.out_shape[0] * (op.bias or op.norm)
    return total * bytes_per_value


def peak_activation_bytes(net: NetSpec, bytes_per_value: int = 4) -> int:
    """Greatest sum of live activations while the operators run in order, one image, in bytes.

    A value lives from the operator that makes it to the last one that reads it; activations run in place.
    """
    last_use = {INPUT: -1}
    for index, op in enumerate(net.ops):
        last_use[index] = index
        for source in op.inputs:
            last_use[source] = index

    def size(index: int) -> int:
        return math.prod(net.shape(index)) * bytes_per_value

    live, peak = {INPUT}, size(INPUT)
    for index in range(len(net.ops)):
        live.add(index)
        peak = max(peak, sum(size(value) for value in live))
        live = {value for value in live if last_use[value] > index}
    return peak
