"""The text that once-for-all and its relatives name a timed block with.

``OP-input:HxWxC-output:HxWxC``, and of inverted bottlenecks ``-expand:E-kernel:K-stride:S-idskip:0`` as well, followed
by ``-se:0-hs:0`` in once-for-all and by ``-se:0`` in NSGANetV2. Shapes are height, width, channels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hwnas.core.net import Shape

_KEY = re.compile(
    r"(?P<op>\w+)-input:(?P<input>\d+(?:x\d+)*)-output:(?P<output>\d+(?:x\d+)*)"
    r"(?:-expand:(?P<expand>\d+)-kernel:(?P<kernel>\d+)-stride:(?P<stride>\d+)-idskip:(?P<skip>[01])"
    r"(?:-se:[01])?(?:-hs:[01])?)?"
)


@dataclass(frozen=True)
class Expansion:
    """What an inverted bottleneck's key has beside its shapes; `expand` is a ratio or a number of channels."""

    expand: int
    kernel: int
    stride: int
    skip: bool


@dataclass(frozen=True)
class Key:
    """One key, read; shapes are channels, height, width, as everywhere in hwnas."""

    op: str
    input: Shape
    output: Shape
    block: Expansion | None


def parse(text: str) -> Key | None:
    """The key, or None where this is none."""
    found = _KEY.fullmatch(text)
    if found is None:
        return None
    source, target = _shape(found["input"]), _shape(found["output"])
    if source is None or target is None:
        return None
    numbers = found["expand"], found["kernel"], found["stride"]
    block = None
    if found["expand"] is not None:
        expand, kernel, stride = map(int, numbers)
        if not (expand and kernel % 2 and stride):
            return None
        block = Expansion(expand, kernel, stride, found["skip"] == "1")
    return Key(found["op"], source, target, block)


def written(shape: Shape) -> str:
    """A shape as keys have it."""
    channels, height, width = shape
    return f"{height}x{width}x{channels}"


def _shape(text: str) -> Shape | None:
    """``HxWxC`` or, of what has no height and width, ``C``; nothing in it is 0."""
    sizes = [int(part) for part in text.split("x")]
    height, width, channels = sizes if len(sizes) == 3 else (1, 1, sizes[0])
    return (channels, height, width) if len(sizes) in (1, 3) and 0 not in sizes else None
