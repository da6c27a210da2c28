"""Images come out alike, wherever they lie, and those of the next step are decoded ahead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_folders import image_folder

from hwnas.core.errors import InputError
from hwnas.ofa_supernet import datasets
from hwnas.ofa_supernet.stores import InFiles, InMemory, store_of

SIZE = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return image_folder(tmp_path_factory.mktemp("images") / "animals", train=20, val=1, classes=["ant", "bee"])


@pytest.fixture(scope="module")
def stores(folder: Path) -> tuple[InMemory, InFiles]:
    found = []
    for limit in (1 << 31, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(datasets, "IN_MEMORY", limit)
            found.append(store_of(datasets.read_folder(folder, SIZE).train, torch.device("cpu")))
    assert isinstance(found[0], InMemory)
    assert isinstance(found[1], InFiles)
    return found[0], found[1]


steps = st.lists(st.tuples(st.lists(st.integers(0, 39), min_size=1, max_size=6), st.booleans()), min_size=1, max_size=5)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=steps)
def test_files_give_what_memory_gives(stores: tuple[InMemory, InFiles], asked: list[tuple[list[int], bool]]) -> None:
    """Whether or not they were expected, and however often they are asked for."""
    in_memory, in_files = stores
    assert in_files.size == in_memory.size == (SIZE, SIZE)
    for rows, expected in asked:
        wanted = np.array(rows)
        if expected:
            in_files.expect(wanted)
        for part in (wanted, wanted[::-1].copy(), wanted[:1]):
            assert torch.equal(in_files.take(part), in_memory.take(part))


def test_a_damaged_file_is_told_when_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = image_folder(tmp_path / "animals", train=20, val=1, classes=["ant", "bee"])
    monkeypatch.setattr(datasets, "IN_MEMORY", 0)
    dataset = datasets.read_folder(folder, SIZE)
    (folder / "train/ant/ant_1.JPEG").write_bytes(b"no image")
    store = store_of(dataset.train, torch.device("cpu"))
    store.expect(np.arange(40))
    with pytest.raises(InputError, match=r"ant_1\.JPEG is damaged, or no image: restore or remove it"):
        store.take(np.arange(40))
