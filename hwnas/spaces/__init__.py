"""Search spaces, one file a space; `load` finds one by the id that stored architectures carry."""

from __future__ import annotations

from hwnas.core.errors import InputError
from hwnas.spaces.nasbench201 import NasBench201
from hwnas.spaces.ofa_mbv3 import LAYOUTS, OfaMbv3


def load(space_id: str, classes: int | None = None, in_channels: int | None = None) -> OfaMbv3:
    """The once-for-all space of this id, such as ``ofa_mbv3/w1.0/v1``.

    `classes` and `in_channels` default to the space's own.

    Raises:
        InputError: no space has this id.
    """
    import re
    from dataclasses import replace

    fixed = re.fullmatch(r"(.*)-r(\d+)(/v\d+)", space_id)
    if fixed and fixed[1] + fixed[3] in LAYOUTS:
        layout = replace(LAYOUTS[fixed[1] + fixed[3]], resolutions=(int(fixed[2]),))
        return OfaMbv3(space_id, layout, classes or layout.classes, in_channels or layout.in_channels)
    if space_id not in LAYOUTS:
        raise InputError(f"no space is called {space_id!r}: choose one of {', '.join(LAYOUTS)}")
    layout = LAYOUTS[space_id]
    return OfaMbv3(space_id, layout, classes or layout.classes, in_channels or layout.in_channels)


def nas_bench_201(space_id: str, classes: int = 10, in_channels: int = 3) -> NasBench201:
    """The cell space; there is one version of it."""
    return NasBench201(classes, in_channels, space_id)
