"""Architectures: equal and hashable by value, JSON both ways, batches that select rows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwnas.core.arch import Arch, ArchBatch, Choice
from hwnas.core.errors import InputError


@given(space=st.text(), genes=st.lists(st.integers(-(2**15), 2**15 - 1)))
def test_document_reads_back(space: str, genes: list[int]) -> None:
    arch = Arch(space, tuple(genes))
    again = Arch.from_json(json.loads(json.dumps(arch.to_json())))
    assert again == arch
    assert hash(again) == hash(arch)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "ofa_mbv3/w1.0/v1",
        {},
        {"space": "a/v1"},
        {"genes": [1]},
        {"space": 3, "genes": [1]},
        {"space": "a/v1", "genes": 1},
        {"space": "a/v1", "genes": [1.0]},
        {"space": "a/v1", "genes": [True]},
        {"space": "a/v1", "genes": ["1"]},
    ],
)
def test_bad_document_is_one_line(document: object) -> None:
    with pytest.raises(InputError, match="not an architecture") as caught:
        Arch.from_json(document)
    assert "\n" not in str(caught.value)


@given(rows=st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=1, max_size=8))
def test_batch_holds_its_architectures_in_order(rows: list[list[int]]) -> None:
    archs = [Arch("a/v1", tuple(row)) for row in rows]
    batch = ArchBatch.of(archs)
    assert list(batch) == archs
    assert batch[len(rows) - 1] == archs[-1]
    assert list(batch.take(np.arange(len(rows))[::-1])) == archs[::-1]
    first = np.arange(len(rows)) == 0
    assert list(batch.take(first)) == archs[:1]


def test_batch_of_none_or_of_two_spaces_is_refused() -> None:
    with pytest.raises(ValueError, match="none"):
        ArchBatch.of([])
    with pytest.raises(ValueError, match=r"a/v1.*b/v1"):
        ArchBatch.of([Arch("a/v1", (0,)), Arch("b/v1", (0,))])


def test_genes_are_a_matrix() -> None:
    with pytest.raises(ValueError, match="two dimensions"):
        ArchBatch("a/v1", np.zeros(3, dtype=np.int16))


def test_choice_counts_its_options() -> None:
    assert len(Choice("kernel", (3, 5, 7))) == 3
