"""What an additive latency model adds up: features of blocks, compiled once for a space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwnas.core.additive import Additive, BlockIndex
from hwnas.core.metrics import Floats
from hwnas.core.protocols import SearchSpace
from hwnas.luts import LatencyTable


@dataclass(frozen=True, eq=False)
class BlockFeatures:
    """F features of the D distinct blocks of a space; a network's features are their sums, and a constant 1.

    excess: the measured median beyond the least row's, in ms. Each block was measured with a call of its own, which a
    network pays for once, and no call costs more than the least row;
    blocks: 1; operators: how many the block has, since each costs its launch.
    With non-negative weights these span everything between "the plain sum" and "the sum less one call a block".
    """

    index: BlockIndex
    values: Floats
    """D x F."""
    names: tuple[str, ...] = ("excess", "blocks", "operators", "constant")

    @classmethod
    def of(cls, space: SearchSpace, table: LatencyTable) -> BlockFeatures:
        """Look every block up in the table; a missing row is an error that names it."""
        index = BlockIndex(space)
        medians = np.array([table.row(net).median_ms for net in index.nets])
        operators = np.array([float(len(net.ops)) for net in index.nets])
        return cls(index, np.stack([medians - medians.min(), np.ones(len(medians)), operators], axis=1))

    def additives(self) -> tuple[Additive, ...]:
        """One additive a feature, the constant left out."""
        return tuple(self.index.additive(column) for column in self.values.T)

    def weighted(self, weights: Floats) -> Additive:
        """The additive cost of these weights, F for the features and the last one for the constant."""
        return self.index.additive(self.values @ weights[:-1], float(weights[-1]))
