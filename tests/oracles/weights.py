"""Tensors that follow from their names: an oracle's network and a test's hold the same weights, and no file holds them.

A tensor's values come from the raw stream of numpy's PCG64, seeded by a number and the checksum of the tensor's key.
Raw streams never change between numpy's releases, other than those of its distributions; and a tensor does not depend
on which others are drawn, or in what order. The top 24 bits of each 64-bit word give an odd multiple of 2^-24 in
(-1, 1), which float32 holds exactly; scale and offset are applied in float64 and rounded once.

Everything is far from trivial: batch statistics, affine parameters and biases, and matrices that shrink kernels too.
Scales were tried until outputs depended on the image, whether the network is deep and wide or shallow and narrow, and
until everything, recalibrated outputs as well, lay within 5e-6 of the greatest output between float32 and float64: He's
for convolutions; halved where a block's output is added to its input; and batch norm's biases about 1, for random
networks that normalise by the batch grow errors at every activation that cuts much.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Tensors = dict[str, NDArray[np.generic]]

LAST_OF_BLOCK = (".point_linear.bn.", ".conv3.bn.")
"""Batch norms whose output is added to the block's input."""
SPREAD = {"running_mean": (0.0, 0.5), "running_var": (0.9, 0.4)}
"""Middle and half the width of the range."""
CROPS = {"7to5_matrix": 1.2, "5to3_matrix": 1.3}
"""Factors of the matrices: they make up for what the crop before them loses."""


def uniform(key: str, shape: Sequence[int], seed: int) -> NDArray[np.float64]:
    """Values in (-1, 1), each exact in float32."""
    words = np.random.PCG64([seed, zlib.crc32(key.encode())]).random_raw(math.prod(shape))
    odd = (np.asarray(words) >> np.uint64(40)).astype(np.float64) * 2 + 1
    return np.asarray(odd / 2**24 - 1).reshape(tuple(shape))


def tensor(key: str, shape: Sequence[int], seed: int) -> NDArray[np.generic]:
    """One entry of a state dict: float32, or int64 for a count of batches."""
    values = uniform(key, shape, seed)
    name = key.rpartition(".")[2]
    if name == "num_batches_tracked":
        return np.asarray(np.floor((values + 1) * 500), dtype=np.int64)
    if name in SPREAD:
        middle, half = SPREAD[name]
        return (middle + half * values).astype(np.float32)
    if name == "weight" and len(shape) == 1:
        return ((1 + values / 2) * (0.5 if any(part in key for part in LAST_OF_BLOCK) else 1)).astype(np.float32)
    if name == "bias":
        return (values / 2 + (1.0 if ".bn." in key else 0)).astype(np.float32)
    convolution = len(shape) == 4
    if not convolution and not (len(shape) == 2 and (name == "weight" or name.endswith("_matrix"))):
        raise ValueError(f"no rule for {key}, which is {list(shape)}")
    deviation = math.sqrt((2 if convolution else 1) / math.prod(shape[1:]))
    deviation *= CROPS.get(name, 0.5 if ".conv3.conv." in key else 1.0)
    return (values * (deviation * math.sqrt(3))).astype(np.float32)


def state_dict(shapes: Mapping[str, Sequence[int]], seed: int) -> Tensors:
    """The tensors of a network whose state dict has these keys and shapes."""
    return {key: tensor(key, shape, seed) for key, shape in shapes.items()}


def digest(tensors: Tensors) -> str:
    """SHA-256 over keys, in sorted order, and little-endian bytes: equal digests are equal weights."""
    total = hashlib.sha256()
    for key in sorted(tensors):
        value = tensors[key]
        total.update(key.encode() + np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<")).tobytes())
    return total.hexdigest()


def images(shape: Sequence[int], seed: int) -> NDArray[np.float32]:
    """A batch of noise, each channel of each image about a level of its own; N x channels x height x width."""
    key = "images/" + "x".join(map(str, shape))
    levels = uniform(f"{key}/levels", [*shape[:2], 1, 1], seed)
    return (2 * levels + uniform(key, shape, seed)).astype(np.float32)
