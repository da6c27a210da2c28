"""The layers of FBNet's super network and the blocks to choose from (Wu et al., CVPR 2019, tables 1 and 2).

Tables name a block by its layer (1 is the first convolution) and its place among the nine of table 2. Where a grouped
convolution shuffles its channels, the shuffle is part of what was timed, but no operator here.
"""

from __future__ import annotations

from hwnas.core.errors import InputError
from hwnas.core.net import NetSpec
from hwnas.spaces.builder import Builder

CANDIDATES = ((3, 1, 1), (3, 1, 2), (3, 3, 1), (3, 6, 1), (5, 1, 1), (5, 1, 2), (5, 3, 1), (5, 6, 1))
"""Kernel, expansion and groups of table 2, in its order; the ninth skips the layer."""
SKIP = len(CANDIDATES)
FIRST_WIDTH = 16
STAGES = ((16, 1), (24, 4), (32, 4), (64, 4), (112, 4), (184, 4), (352, 1))
"""Width and layers of each stage that is searched (table 1)."""
STRIDES = {224: (2, 1, 2, 2, 2, 1, 2, 1), 32: (1, 1, 2, 2, 1, 1, 1, 1)}
"""Of the first convolution and of each stage's first layer: table 1, and for images as small as CIFAR's what the
published table of a Raspberry Pi was timed with (jh88/fbnet, generate_lookup_table.py)."""
FIRST_LAYER = 2

KEYS = frozenset(
    f"layer:{FIRST_LAYER + layer}-block:{choice}"
    for layer in range(sum(layers for _, layers in STAGES))
    for choice in range(SKIP + 1)
)
"""Every key that a table of FBNet can have, as `hwnas.luts.published.files` writes them."""


def blocks(resolution: int | None) -> dict[str, NetSpec]:
    """The block of each key, for square images of this many pixels a side; equal blocks come back in several layers.

    Raises:
        InputError: nobody published the strides for images of this size.
    """
    if resolution not in STRIDES:
        sizes = " or ".join(map(str, sorted(STRIDES)))
        raise InputError(f"a table of FBNet does not say how large its images are: give --resolution {sizes}")
    first, *strides = STRIDES[resolution]
    found: dict[str, NetSpec] = {}
    layer, width, size = FIRST_LAYER, FIRST_WIDTH, -(-resolution // first)
    for (filters, layers), stage_stride in zip(STAGES, strides, strict=True):
        for position in range(layers):
            stride = stage_stride if position == 0 else 1
            for choice in range(SKIP + 1):
                net = _block((width, size, size), filters, stride, choice)
                if net is not None:
                    found[f"layer:{layer}-block:{choice}"] = net
            layer, width, size = layer + 1, filters, -(-size // stride)
    return found


def _block(entry: tuple[int, int, int], filters: int, stride: int, choice: int) -> NetSpec | None:
    """One candidate; None where a layer changes the shape and so cannot be skipped."""
    net = Builder(entry)
    same = stride == 1 and entry[0] == filters
    if choice == SKIP:
        if not same:
            return None
        net.act("identity", "none")
        return net.build()
    kernel, expansion, groups = CANDIDATES[choice]
    middle = expansion * entry[0]
    net.conv("expand", middle, groups=groups, act="relu")
    net.conv("depth", middle, kernel=kernel, stride=stride, groups=middle, act="relu")
    net.conv("project", filters, groups=groups)
    if same:
        net.add("shortcut", -1)
    return net.build()
