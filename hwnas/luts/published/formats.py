"""Which project's table is it? Told by the names of operators, and by what `expand` can mean.

In once-for-all `expand` is the number of channels inside the block, in ProxylessNAS, whose keys look the same, and in
NSGANetV2 it is the ratio of these to the block's input channels.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from hwnas.core.errors import InputError
from hwnas.luts.published import fbnet
from hwnas.luts.published.keys import parse

MAX_RATIO = 10
"""Published spaces expand by 6 at most; a ratio beyond this is a number of channels."""


@dataclass(frozen=True)
class Format:
    """One project's tables: the operator that `expand` belongs to, the others, and what `expand` is."""

    name: str
    bottleneck: str = ""
    others: frozenset[str] = frozenset()
    expand: Literal["channels inside", "ratio", ""] = ""

    def fits(self, text: str) -> bool:
        """Can this key be of such a table? An inverted bottleneck never narrows."""
        if not self.bottleneck:
            return text in fbnet.KEYS
        key = parse(text)
        if key is None:
            return False
        if key.block is None:
            return key.op in self.others
        channels, expand = key.input[0], key.block.expand
        ratio = expand if self.expand == "ratio" else expand / channels
        return key.op == self.bottleneck and 1 <= ratio <= MAX_RATIO


FORMATS = {
    found.name: found
    for found in (
        Format(
            "ofa", "expanded_conv", frozenset({"Conv", "Conv_1", "AvgPool2D", "Conv_2", "Logits"}), "channels inside"
        ),
        Format("proxyless", "expanded_conv", frozenset({"Conv", "Conv_1", "Logits"}), "ratio"),
        Format(
            "nsganetv2",
            "MBConv",
            frozenset({"first_conv", "final_expand_layer", "feature_mix_layer", "classifier"}),
            "ratio",
        ),
        Format("fbnet"),
    )
}


def named(name: str, keys: Collection[str], source: str) -> Format:
    """The format of this name, which all keys fit.

    Raises:
        InputError: there is none of this name, or a key does not fit it; the message has the key.
    """
    if name not in FORMATS:
        raise InputError(f"no format is called {name!r}: choose one of {', '.join(FORMATS)}")
    for key in keys:
        if not FORMATS[name].fits(key):
            raise InputError(f"{source}: {key} is no key of a table of {name}: name another --format, or none")
    return FORMATS[name]


def told(keys: Collection[str], source: str) -> Format:
    """The one format that all keys fit.

    Raises:
        InputError: a key fits none, no format fits all, or more than one does; names ``--format`` where it helps.
    """
    for key in keys:
        if not any(found.fits(key) for found in FORMATS.values()):
            raise InputError(f"{source}: {key} is no key of a published table that hwnas knows ({', '.join(FORMATS)})")
    fitting = [found for found in FORMATS.values() if all(map(found.fits, keys))]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = " or ".join(f"{found.name} ({found.expand})" for found in fitting)
        raise InputError(f"{source} may be of {names}, by what 'expand' means there: say which with --format")
    most = max(FORMATS.values(), key=lambda found: sum(map(found.fits, keys)))
    odd = next(key for key in keys if not most.fits(key))
    raise InputError(
        f"{source} contradicts itself: {odd} is no key of a table of {most.name}, as the others are: "
        "import files of one project at a time, or name it with --format"
    )
