"""How whole networks are named, told and built for timing."""

from __future__ import annotations

import numpy as np

from hwnas.core.arch import Arch
from hwnas.core.net import NetSpec
from hwnas.core.protocols import SearchSpace
from hwnas.export.onnx import build


def network_name(arch: Arch) -> str:
    """The name of a whole network in journals: its space and genes."""
    return f"{arch.space_id}:{','.join(map(str, arch.genes))}"


def parse_network_name(name: str) -> Arch | None:
    """The architecture that `network_name` named; None where it named none."""
    space, _, genes = name.rpartition(":")
    numbers = genes.split(",")
    decimal = all(number.isascii() and number.isdigit() for number in numbers)
    return Arch(space, tuple(map(int, numbers))) if space and decimal else None


def device_onnx(net: NetSpec) -> bytes:
    """The model that is timed: random weights, since time does not depend on their values.

    The batch is left free, as in exported files: a fixed one is up to 2% faster here, and what is searched with must be
    what is verified.
    """
    return build(net, batch=None)


def option_values(space: SearchSpace, arch: Arch) -> dict[str, int]:
    """What an architecture chose, by the names of the choices; those of skipped blocks are left out."""
    [active] = space.active(np.array([arch.genes], dtype=np.int16))
    chosen = zip(space.choices, arch.genes, active, strict=True)
    return {choice.name: choice.options[gene] for choice, gene, bears in chosen if bears}
