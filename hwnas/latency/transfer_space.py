"""`TransferLatency`: a transferred latency model over a search space, a weighted sum compiled from its slots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwnas.core.additive import Additive, BlockIndex, compile_additive
from hwnas.core.arch import ArchBatch
from hwnas.core.metrics import LATENCY, Floats, Metric, Prediction
from hwnas.core.net import INPUT, NetSpec
from hwnas.core.protocols import SearchSpace
from hwnas.latency.op_features import VIEWS, Sums, needed
from hwnas.latency.transfer import Transfer

CHUNK = 8192
"""Architectures whose sums are made at a time; a few ten megabytes."""


class TransferLatency:
    """Medians, p90s and bounds of a `Transfer` for the architectures of a space.

    Where every operator of every block is needed, a network has the sums of its blocks in both views, so that the
    median is a sum over slots. Another space's networks are lowered, one by one; the answers are the same.
    """

    metric: Metric = LATENCY

    def __init__(self, space: SearchSpace, transfer: Transfer) -> None:
        self.space, self._transfer = space, transfer
        self._blocks = Blocks.of(space)
        self.median: Additive | None = self._blocks.additive(transfer) if self._blocks else None
        """The weighted sum, exactly; `estimate` raises what lies below the transfer's floor. None where networks are
        lowered."""

    def __call__(self, batch: ArchBatch) -> Floats:
        """N medians in ms."""
        if self.median is None:
            return self.estimate(batch).median
        return np.maximum(self.median(batch), self._transfer.floor_ms)

    def estimate(self, batch: ArchBatch) -> Prediction:
        """N predictions in ms."""
        if self._blocks is None:
            return self._transfer.estimate([self.space.lower(arch) for arch in batch])
        found = [np.zeros(len(batch)) for _ in range(4)]
        for start in range(0, len(batch), CHUNK):
            part = slice(start, start + CHUNK)
            sums = self._blocks.of_batch(ArchBatch(batch.space_id, batch.genes[part]))
            said = self._transfer.estimate_sums(dict.fromkeys(VIEWS, sums))
            for values, own in zip(found, vars(said).values(), strict=True):
                values[part] = own
        return Prediction(*found)


@dataclass(frozen=True, eq=False)
class Blocks:
    """The distinct blocks of a space and their sums, which are the same in both views."""

    index: BlockIndex
    sums: Sums

    @classmethod
    def of(cls, space: SearchSpace) -> Blocks | None:
        """None where a block has an operator that its output does not depend on, or does not depend on its input."""
        try:
            compile_additive(space, _refuse_unneeded)
        except _UnneededError:
            return None
        index = BlockIndex(space)
        return cls(index, Sums.of(index.nets))

    def of_batch(self, batch: ArchBatch) -> Sums:
        """Of N architectures."""
        values = self.index.totals(self.index.numbers(batch), self.sums.values)
        return Sums(self.sums.names, values, values > 0)

    def additive(self, transfer: Transfer) -> Additive:
        """The weighted sum that a transfer is, before its floor."""
        constant, slopes = transfer.weights()
        costs = np.zeros(len(self.index.nets))
        for own in slopes.values():
            costs += self.sums.onto(list(own)) @ np.array(list(own.values()))
        return self.index.additive(costs, constant)


class _UnneededError(Exception):
    """A block whose networks do not need all before their output."""


def _refuse_unneeded(block: NetSpec) -> float:
    reads = any(INPUT in op.inputs for op in block.ops if op.kind != "zero")
    if not reads or len(needed(block)) < len(block.ops):
        raise _UnneededError
    return 0.0
