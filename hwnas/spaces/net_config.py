"""Published ``net.config`` files, once-for-all's and ProxylessNAS's JSON form of one network, as architectures.

A file lists the blocks that a network has; at which position of a space each stands is found from front to back. Every
number that the file tells must be the space's own, so that what comes out computes the very same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwnas.core.arch import Arch
from hwnas.core.errors import InputError
from hwnas.core.net import Op
from hwnas.core.protocols import SearchSpace, Slot
from hwnas.spaces import load
from hwnas.spaces.elastic import ElasticSpace, make_divisible

FAMILIES = {
    "MobileNetV3": ("ofa_mbv3/w1.0", "ofa_mbv3/w1.2"),
    "ProxylessNASNets": ("ofa_proxyless/w1.3",),
}
"""What a file calls its network, and the released spaces that it may be of."""
VERSION = "v1"


@dataclass(frozen=True)
class Block:
    """One inverted bottleneck; None where a file leaves a value out."""

    channels: int
    """That come in."""
    out: int
    kernel: int
    stride: int
    expansion: float
    middle: int
    act: str | None
    se: bool
    shortcut: bool

    @classmethod
    def of(cls, layer: Mapping[str, Any], shortcut: Any) -> Block:
        """From its two entries in a file."""
        channels, expansion, act = int(layer["in_channels"]), float(layer["expand_ratio"]), layer.get("act_func")
        return cls(
            channels=channels,
            out=int(layer["out_channels"]),
            kernel=int(layer["kernel_size"]),
            stride=int(layer["stride"]),
            expansion=expansion,
            middle=int(layer.get("mid_channels") or make_divisible(round(channels * expansion))),
            act=None if act is None else str(act),
            se=bool(layer.get("use_se", False)),
            shortcut=shortcut is not None,
        )

    def is_made_by(self, ops: Sequence[Op]) -> bool:
        """Do these operators compute just this block?"""
        *_, deep, last = (op for op in ops if op.kind == "conv" and ".se." not in op.name)
        first = next(op for op in ops if op.kind == "conv")
        mine = (self.channels, self.middle, self.out, self.kernel, self.stride, self.act or deep.act)
        theirs = (first.in_channels, deep.out_shape[0], last.out_shape[0], deep.kernel, deep.stride, deep.act)
        kinds = {op.kind for op in ops}
        return mine == theirs and self.se == ("mul" in kinds) and self.shortcut == ("add" in kinds)

    def __str__(self) -> str:
        rest = f", {self.act}" * (self.act is not None) + ", squeeze-and-excitation" * self.se
        shape = f"{self.channels} to {self.out} channels, {self.middle} between"
        return f"{shape}, kernel {self.kernel}, stride {self.stride}, expansion {self.expansion:g}{rest}"


@dataclass(frozen=True)
class Config:
    """What a file tells of a network."""

    family: str
    ends: Mapping[str, tuple[int, int]]
    """Channels in and out of each layer that is outside the blocks."""
    blocks: tuple[Block, ...]

    @classmethod
    def of(cls, document: Any) -> Config:
        """From a file's JSON document; blocks that the network skips are left out.

        Raises:
            InputError: it is no such document.
        """
        try:
            there = [(name, document[name], what) for name, what in ENDS.items() if name in document]
            ends = {name: (int(layer[f"in_{what}"]), int(layer[f"out_{what}"])) for name, layer, what in there}
            pairs = [(entry["mobile_inverted_conv"], entry["shortcut"]) for entry in document["blocks"]]
            blocks = [Block.of(layer, shortcut) for layer, shortcut in pairs if layer["name"] != "ZeroLayer"]
            made = cls(str(document["name"]), ends, tuple(blocks))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _no_config() from error
        if not blocks or not {"first_conv", "classifier"} <= ends.keys():
            raise _no_config()
        return made

    def spaces(self, resolution: int) -> list[ElasticSpace]:
        """The released spaces that it may be of; at that one size where they do not have it among others.

        Raises:
            InputError: networks of its name are not read, or no space is made for such images.
        """
        if self.family not in FAMILIES:
            raise InputError(f"networks called {self.family!r} are not read, only {' and '.join(FAMILIES)}")
        classes, channels = self.ends["classifier"][1], self.ends["first_conv"][0]
        found = [load(f"{name}/{VERSION}", classes, channels) for name in FAMILIES[self.family]]
        return [
            space
            if resolution in _options(space)["resolution"]
            else load(f"{name}-r{resolution}/{VERSION}", classes, channels)
            for name, space in zip(FAMILIES[self.family], found, strict=True)
        ]


ENDS = {
    "first_conv": "channels",
    "final_expand_layer": "channels",
    "feature_mix_layer": "channels",
    "classifier": "features",
}
"""The layers outside the blocks, by the names of a file, which are ours, and what they call their width."""


class Misfit(Exception):  # noqa: N818 - no error: another space may do
    """A network is not in a space: how much of it is, and what is wrong with the next block."""

    def __init__(self, blocks: int, why: str) -> None:
        super().__init__(why)
        self.blocks = blocks


def find_arch(config: Config, spaces: Sequence[SearchSpace], resolution: int) -> tuple[SearchSpace, Arch]:
    """The first of one or more spaces that the network is in, and its architecture there, for images of one size.

    Raises:
        InputError: it is in none; the message names the first block that does not fit, in the space that fits best.
    """
    misfits = []
    for space in spaces:
        try:
            return space, _arch(config, space, resolution)
        except Misfit as misfit:
            misfits.append(misfit)
    nearest = max(misfits, key=lambda misfit: misfit.blocks)
    where = " nor in ".join(space.id for space in spaces)
    raise InputError(f"this {config.family} is not in {where}: {nearest}") from nearest


def _arch(config: Config, space: SearchSpace, resolution: int) -> Arch:
    choices = _options(space)
    if resolution not in choices["resolution"]:
        raise Misfit(0, f"{space.id} takes no images of {resolution} x {resolution}")
    _refuse_other_ends(config, space)
    chosen, taken = {"resolution": resolution}, 1
    for unit, slots in _units(space).items():
        depth = 0
        while depth < len(slots) and taken < len(config.blocks):
            block, slot = config.blocks[taken], slots[depth]
            values = {f"{slot.name}.kernel": block.kernel, f"{slot.name}.expansion": block.expansion}
            if not _stands_at(space, slot, chosen | values, block):
                break
            chosen |= {name: int(value) for name, value in values.items()}
            depth, taken = depth + 1, taken + 1
        if depth not in choices.get(f"{unit}.depth", (len(slots),)):
            raise _misfit(config, taken, space)
        chosen[f"{unit}.depth"] = depth
    if taken < len(config.blocks):
        raise _misfit(config, taken, space)
    genes = [choice.options.index(chosen.get(choice.name, choice.options[0])) for choice in space.choices]
    [row] = space.canonical(np.array([genes], dtype=np.int16))
    return Arch(space.id, tuple(int(gene) for gene in row))


def _stands_at(space: SearchSpace, slot: Slot, chosen: Mapping[str, float], block: Block) -> bool:
    """Is this the block at a position, where its unit is as deep as can be?"""
    options = []
    for choice in (space.choices[gene] for gene in slot.genes):
        value = chosen.get(choice.name, choice.options[-1])  # the depth is not known yet
        if value not in choice.options:
            return False
        options.append(choice.options.index(int(value)))
    net = space.block(slot, tuple(options))
    return net is not None and block.is_made_by(net.ops)


def _refuse_other_ends(config: Config, space: SearchSpace) -> None:
    """Raise Misfit where a layer outside the blocks, or the first block, which has no choice, is not the space's."""
    smallest = space.lower(Arch(space.id, (0,) * len(space.choices)))
    ops = {op.name: op for op in smallest.ops}
    for name, told in config.ends.items():
        op = ops.get(name)
        if op is None or (op.in_channels, op.out_shape[0]) != told:
            mine = "none" if op is None else f"{op.in_channels} to {op.out_shape[0]}"
            raise Misfit(0, f"its {name} has {told[0]} to {told[1]} channels, {space.id} has {mine}")
    if not config.blocks[0].is_made_by([op for op in smallest.ops if op.name.startswith("blocks.0.")]):
        raise _misfit(config, 0, space)


def _options(space: SearchSpace) -> dict[str, tuple[int, ...]]:
    return {choice.name: choice.options for choice in space.choices}


def _units(space: SearchSpace) -> dict[str, list[Slot]]:
    """The block positions of each unit, in order."""
    units: dict[str, list[Slot]] = {}
    for slot in space.slots():
        unit, dot, _ = slot.name.partition(".")
        if dot:
            units.setdefault(unit, []).append(slot)
    return units


def _misfit(config: Config, index: int, space: SearchSpace) -> Misfit:
    if index < len(config.blocks):
        return Misfit(index, f"its block {index + 1} ({config.blocks[index]}) is none that {space.id} has there")
    return Misfit(index, f"it ends after block {index}, where {space.id} has more")


def _no_config() -> InputError:
    return InputError(
        "no net.config of once-for-all or ProxylessNAS: want a JSON object with name, first_conv, blocks and classifier"
    )
