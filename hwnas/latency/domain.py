"""`Domain`: what a fitted predictor has seen; what lies outside is refused, for nothing vouches for a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwnas.core.errors import InputError
from hwnas.core.metrics import Floats
from hwnas.latency.graphs import SIZES, Graph

LEAST = 20
"""Networks below which no graph network is fitted: each member of an ensemble must leave some out."""
MARGIN = 1.5
"""How far beyond the networks that were seen a new one may be, as a factor of its sizes."""


@dataclass(frozen=True, eq=False)
class Domain:
    """Classes of operators, the most nodes, and the ranges of the sizes, in millions, of the networks seen."""

    classes: tuple[str, ...]
    most_nodes: int
    least: Floats
    greatest: Floats

    @classmethod
    def of(cls, graphs: Sequence[Graph]) -> Domain:
        """Of the networks that a predictor is fitted on."""
        classes = sorted({name for one in graphs for held in one.classes for name in held})
        sums = np.array([one.total() for one in graphs])
        return cls(tuple(classes), max(len(one) for one in graphs), sums.min(0), sums.max(0))

    def refuse_others(self, graphs: Sequence[Graph]) -> None:
        """Raise InputError, naming the network and why, where one lies outside."""
        for place, one in enumerate(graphs):
            self.refuse(place, one)

    def refuse(self, place: int, one: Graph) -> None:
        """Raise InputError where a network, `place` in its batch, lies outside."""
        why = self.outside(one)
        if why:
            raise InputError(
                f"network {place} lies outside what the predictor was fitted on: {why}; measure some such networks "
                "and fit it on them as well"
            )

    def near(self, nodes: NDArray[np.intp], totals: Floats) -> NDArray[np.bool_]:
        """Which of N networks of known classes lie within, from their numbers of nodes and N x 4 sums by `SIZES`."""
        inside = (self.least / MARGIN <= totals) & (totals <= self.greatest * MARGIN)
        return np.asarray(inside.all(1) & (nodes <= MARGIN * self.most_nodes), dtype=np.bool_)

    def outside(self, one: Graph) -> str:
        """Why a network lies outside; nothing where it does not."""
        for held in one.classes:
            for name in held:
                if name not in self.classes:
                    return f"it has a {name}, which none of those had"
        if len(one) > MARGIN * self.most_nodes:
            return f"its graph has {len(one)} nodes, theirs have {self.most_nodes} at most"
        for name, value, least, greatest in zip(SIZES, one.total(), self.least, self.greatest, strict=True):
            if not least / MARGIN <= value <= greatest * MARGIN:
                return f"{name}: {value:.3g} million, where they have {least:.3g} to {greatest:.3g} million"
        return ""
