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
from hwnas.core.progress import silent
from hwnas.ofa_supernet import datasets
from hwnas.ofa_supernet.pictures import FileSplit
from hwnas.ofa_supernet.stores import InFiles, InMemory, store_of

SIZE = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return image_folder(tmp_path_factory.mktemp("images") / "animals", train=20, val=1, classes=["ant", "bee"])


@pytest.fixture(scope="module")
def stores(folder: Path) -> tuple[InMemory, InFiles]:
    files = datasets.read_folder(folder, SIZE).train
    assert isinstance(files, FileSplit)
    in_memory, in_files = (store_of(split, torch.device("cpu")) for split in (files.decoded("", silent), files))
    assert isinstance(in_memory, InMemory)
    assert isinstance(in_files, InFiles)
    return in_memory, in_files


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


def test_a_damaged_file_is_told_when_it_is_asked_for(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "animals", train=20, val=1, classes=["ant", "bee"])
    dataset = datasets.read_folder(folder, SIZE)
    (folder / "train/ant/ant_1.JPEG").write_bytes(b"no image")
    store = store_of(dataset.train, torch.device("cpu"))
    store.expect(np.arange(40))
    with pytest.raises(InputError, match=r"ant_1\.JPEG is damaged, or no image: restore or remove it"):
        store.take(np.arange(40))
