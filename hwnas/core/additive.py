"""Costs that are sums over slots, compiled once into dense tables and then read by indexing.

A space tells which genes decide each slot, so a cost of blocks becomes one small table a slot; scoring N architectures
is then one gather a slot, and the least and greatest value over the whole space are exact, by variable elimination.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwnas.core.arch import Arch, ArchBatch, Genes
from hwnas.core.metrics import Floats
from hwnas.core.net import NetSpec
from hwnas.core.protocols import SearchSpace

_Factor = tuple[tuple[int, ...], Floats]
"""Gene indices in ascending order, and a table with one axis for each of them."""

CHUNK = 8192
"""Architectures that are scored at a time: their genes, sums and indices then stay in a core's second-level cache. On
an AMD EPYC 4,096 and 16,384 are as fast, and all of 200,000 at once is seven times slower."""


@dataclass(frozen=True, eq=False)
class Additive:
    """`constant` plus one table a slot; made by `compile_additive`.

    An infinite cost marks a block that cannot be had: no end of the range has one, unless every architecture does.
    """

    space: SearchSpace
    constant: float
    factors: tuple[_Factor, ...]

    def __call__(self, batch: ArchBatch) -> Floats:
        """The cost of each architecture, N values."""
        return sums((self,), batch)[0]

    def scaled(self, factor: float) -> Additive:
        """Every cost times a factor."""
        factors = tuple((genes, factor * table) for genes, table in self.factors)
        return Additive(self.space, factor * self.constant, factors)

    def least(self) -> Arch:
        """The architecture of least cost, exactly."""
        return self._extreme(1.0)

    def greatest(self) -> Arch:
        """The architecture of greatest cost, exactly."""
        return self._extreme(-1.0)

    def range(self) -> tuple[float, float]:
        """Least and greatest cost over the whole space."""
        ends = self(ArchBatch.of([self.least(), self.greatest()]))
        return float(ends[0]), float(ends[1])

    def to_json(self) -> dict[str, Any]:
        """The constant and the tables."""
        slots = [{"genes": list(genes), "costs": table.tolist()} for genes, table in self.factors]
        return {"constant": self.constant, "slots": slots}

    @classmethod
    def from_json(cls, space: SearchSpace, document: dict[str, Any]) -> Additive:
        """Read what `to_json` wrote.

        Raises:
            ValueError: a table does not fit the space's choices.
        """
        factors = []
        for slot in document["slots"]:
            genes = tuple(int(gene) for gene in slot["genes"])
            table = np.array(slot["costs"], dtype=np.float64)
            if table.shape != tuple(len(space.choices[gene]) for gene in genes):
                raise ValueError(f"a table of shape {table.shape} over genes {genes} of {space.id}")
            factors.append((genes, table))
        return cls(space, float(document["constant"]), tuple(factors))

    def _extreme(self, sign: float) -> Arch:
        """Min-sum variable elimination (Dechter 1999, bucket elimination), the rarest genes first."""
        factors = [(genes, np.where(np.isinf(table), np.inf, sign * table)) for genes, table in self.factors]
        uses = {gene: sum(gene in genes for genes, _ in factors) for gene in range(len(self.space.choices))}
        buckets: list[tuple[int, _Factor]] = []
        for gene in sorted(uses, key=lambda g: uses[g]):
            touching = [factor for factor in factors if gene in factor[0]]
            if not touching:
                continue
            factors = [factor for factor in factors if gene not in factor[0]]
            scope, table = _sum(touching)
            buckets.append((gene, (scope, table)))
            axis = scope.index(gene)
            factors.append((scope[:axis] + scope[axis + 1 :], table.min(axis=axis)))
        chosen = np.zeros(len(self.space.choices), dtype=np.int16)
        for gene, (scope, table) in reversed(buckets):
            where = tuple(slice(None) if other == gene else chosen[other] for other in scope)
            chosen[gene] = int(np.argmin(table[where]))
        return ArchBatch(self.space.id, self.space.canonical(chosen[None]))[0]


def sums(costs: Sequence[Additive], batch: ArchBatch) -> tuple[Floats, ...]:
    """Several costs of one space, N values each: where to look is found once for all of them.

    Raises:
        ValueError: a cost was compiled for another space, or for other slots than the first.
        IndexError: a gene is no option of its choice.
    """
    for cost in costs:
        _refuse_others(cost.space, batch)
    totals = tuple(np.full(len(batch), cost.constant) for cost in costs)
    for start in range(0, len(batch), CHUNK):
        part = slice(start, start + CHUNK)
        genes = _columns(batch.genes[part])
        for factors in zip(*(cost.factors for cost in costs), strict=True):
            if len({scope for scope, _ in factors}) > 1:
                raise ValueError("costs of different slots")
            where = _where(factors[0], genes)
            for total, (_, table) in zip(totals, factors, strict=True):
                total[part] += table.take(where)
    return totals


def _refuse_others(space: SearchSpace, batch: ArchBatch) -> None:
    if batch.space_id != space.id:
        raise ValueError(f"compiled for {space.id}, asked about {batch.space_id}")
    if len(batch) and not np.all((batch.genes >= 0) & (batch.genes < [len(choice) for choice in space.choices])):
        raise IndexError(f"a gene is no option of its choice in {space.id}")


def _columns(genes: Genes) -> NDArray[np.intp]:
    """G x N: each gene of all architectures side by side, as what indexes."""
    return np.ascontiguousarray(genes.T).astype(np.intp)


def _where(factor: _Factor, genes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Where in the flat table of a slot each architecture's value lies: N indices, or one for all."""
    scope, table = factor
    where = np.zeros((), dtype=np.intp)
    for gene, options in zip(scope, table.shape, strict=True):
        where = where * options + genes[gene]
    return where


def _sum(factors: list[_Factor]) -> _Factor:
    scope = tuple(sorted({gene for genes, _ in factors for gene in genes}))
    total: Floats = np.zeros(())
    for genes, table in factors:
        shape = [table.shape[genes.index(gene)] if gene in genes else 1 for gene in scope]
        total = total + table.reshape(shape)
    return scope, total


def compile_additive(space: SearchSpace, cost: Callable[[NetSpec], float], constant: float = 0.0) -> Additive:
    """Compile the sum of `cost` over an architecture's blocks.

    `cost` is asked once for each distinct block (`NetSpec.key`); what it raises passes through.
    """
    sizes = [len(choice) for choice in space.choices]
    costs: dict[str, float] = {}
    factors: list[_Factor] = []
    for slot in space.slots():
        genes = tuple(sorted(slot.genes))
        order = [genes.index(gene) for gene in slot.genes]
        table = np.zeros([sizes[gene] for gene in genes])
        for index in np.ndindex(*table.shape):
            block = space.block(slot, tuple(index[i] for i in order))
            if block is not None:
                key = block.key()
                if key not in costs:
                    costs[key] = cost(block)
                table[index] = costs[key]
        factors.append((genes, table))
    return Additive(space, constant, tuple(factors))


class BlockIndex:
    """Which distinct block stands where, for every option of every slot; then any cost of blocks is a look-up."""

    def __init__(self, space: SearchSpace) -> None:
        self.nets: list[NetSpec] = []
        self._index = compile_additive(space, self._number)

    def _number(self, net: NetSpec) -> float:
        self.nets.append(net)
        return float(len(self.nets))  # 0 is left for skipped blocks

    def additive(self, costs: Floats, constant: float = 0.0) -> Additive:
        """The sum of `costs` (one value a distinct block, in the order of `nets`) plus `constant`."""
        padded = np.concatenate([[0.0], costs])
        factors = tuple((genes, padded[table.astype(np.intp)]) for genes, table in self._index.factors)
        return Additive(self._index.space, constant, factors)

    def numbers(self, batch: ArchBatch) -> NDArray[np.intp]:
        """Which block stands in each slot, N x slots: its index in `nets`, and -1 where it is skipped."""
        _refuse_others(self._index.space, batch)
        factors, genes = self._index.factors, _columns(batch.genes)
        found = np.empty((len(batch), len(factors)), dtype=np.intp)
        for slot, factor in enumerate(factors):
            found[:, slot] = factor[1].take(_where(factor, genes))
        return found - 1

    @staticmethod
    def totals(numbers: NDArray[np.intp], values: Floats) -> Floats:
        """Sums of several values a block, N x F: of what stands where (`numbers`), and D x F values.

        They are added up in the order of the slots.
        """
        padded = np.concatenate([values, np.zeros((1, values.shape[1]))])  # the last row is for skipped blocks
        total = np.zeros((len(numbers), values.shape[1]))
        for blocks in numbers.T:
            total += padded[blocks]
        return total

    def counts(self, batch: ArchBatch) -> Floats:
        """How often each distinct block occurs in each architecture: N x D."""
        counts = np.zeros((len(batch), len(self.nets) + 1))
        rows = np.arange(len(batch))
        for blocks in self.numbers(batch).T:
            counts[rows, blocks] += 1.0  # skipped ones in the last column
        return counts[:, :-1]


def distinct_blocks(space: SearchSpace) -> dict[str, NetSpec]:
    """Every distinct block of the space by its key, in slot order: the rows of a latency table."""
    blocks: dict[str, NetSpec] = {}

    def keep(block: NetSpec) -> float:
        blocks.setdefault(block.key(), block)
        return 0.0

    compile_additive(space, keep)
    return blocks
