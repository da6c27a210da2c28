"""Random draws over a space's genes, vectorised; every draw comes from the generator passed in."""

from __future__ import annotations

import numpy as np

from hwnas.core.arch import ArchBatch, Genes
from hwnas.core.protocols import SearchSpace


def option_counts(space: SearchSpace) -> Genes:
    """Number of options of each gene, G values."""
    return np.array([len(choice) for choice in space.choices], dtype=np.int16)


def sample(space: SearchSpace, count: int, rng: np.random.Generator) -> ArchBatch:
    """`count` architectures, each gene uniform over its options, in canonical form."""
    sizes = option_counts(space)
    genes = rng.integers(0, sizes, size=(count, len(sizes)), dtype=np.int16)
    return ArchBatch(space.id, space.canonical(genes))


def mutate(space: SearchSpace, parents: ArchBatch, probability: float, rng: np.random.Generator) -> ArchBatch:
    """Each gene drawn anew with `probability`, the others inherited; one child a parent."""
    genes = parents.genes
    drawn = rng.integers(0, option_counts(space), size=genes.shape, dtype=np.int16)
    mask = rng.random(genes.shape) < probability
    return ArchBatch(space.id, space.canonical(np.where(mask, drawn, genes)))


def crossover(space: SearchSpace, first: ArchBatch, second: ArchBatch, rng: np.random.Generator) -> ArchBatch:
    """Each gene from either parent with equal chance; one child a pair."""
    mask = rng.random(first.genes.shape) < 0.5
    return ArchBatch(space.id, space.canonical(np.where(mask, first.genes, second.genes)))


def unique(batch: ArchBatch) -> ArchBatch:
    """Duplicates dropped, the order of first appearance kept."""
    _, rows = np.unique(batch.genes, axis=0, return_index=True)
    return batch.take(np.sort(rows))
