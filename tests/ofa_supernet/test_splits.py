"""Which image serves what, and the packed splits that a supernet folder carries."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.core.errors import InputError
from hwnas.ofa_supernet.data import SHIPPED, Split, pack, split_rows, unpack


def random_split(count: int, seed: int) -> Split:
    rng = np.random.default_rng(seed)
    return Split(rng.integers(0, 256, (count, 8, 8, 1), dtype=np.uint8), rng.integers(0, 4, count, dtype=np.uint8))


@pytest.fixture
def splits() -> dict[str, Split]:
    return {name: random_split(5 + i, i) for i, name in enumerate((*SHIPPED, "train", "predictor"))}


@pytest.mark.parametrize("count", [60000, 11001, 90, 20])
def test_splits_are_disjoint_and_whole(count: int) -> None:
    rows = split_rows(count)
    parts = [rows[name] for name in ("train", "predictor", "choice")]
    together = np.concatenate(parts)
    assert len(together) == count
    assert np.array_equal(np.sort(together), np.arange(count))
    assert set(rows["calibration"]) <= set(rows["train"])
    assert set(rows) == {"train", "predictor", "choice", "calibration"}


def test_small_sets_keep_most_for_training() -> None:
    assert {name: len(part) for name, part in split_rows(100).items()} == {
        "predictor": 12,
        "choice": 6,
        "train": 82,
        "calibration": 82,
    }


def test_splits_never_change() -> None:
    """Frozen: stored accuracies were measured on these images."""
    rows = split_rows(60000)
    sizes = {name: len(part) for name, part in rows.items()}
    assert sizes == {"predictor": 6000, "choice": 3000, "train": 51000, "calibration": 2000}
    digests = {name: hashlib.sha256(part.astype("<i8").tobytes()).hexdigest()[:12] for name, part in rows.items()}
    assert digests == {
        "predictor": "c0f7fd8b76bb",
        "choice": "7c19e164b5aa",
        "train": "fffde5b8d7a8",
        "calibration": "73260b7c8763",
    }


def test_packed_splits_read_back(tmp_path: Path, splits: dict[str, Split]) -> None:
    pack(splits, tmp_path / "data.xz")
    again = unpack(tmp_path / "data.xz")
    assert tuple(again) == SHIPPED
    for name, split in again.items():
        np.testing.assert_array_equal(split.images, splits[name].images)
        np.testing.assert_array_equal(split.labels, splits[name].labels)


def test_equal_splits_equal_files(tmp_path: Path, splits: dict[str, Split]) -> None:
    for name in ("a", "b"):
        pack(splits, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "data.xz"
    pack({name: random_split(3, i) for i, name in enumerate(SHIPPED)}, path)
    return path


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_damage_is_noticed(packed: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    raw = bytearray(packed.read_bytes())
    place = data.draw(st.integers(0, len(raw) - 1))
    if data.draw(st.booleans(), label="truncate"):
        raw = raw[:place]
    else:
        raw[place] ^= data.draw(st.integers(1, 255))
    path = packed.parent / "damaged.xz"
    path.write_bytes(raw)
    with pytest.raises(InputError, match="is damaged") as caught:
        unpack(path)
    assert len(str(caught.value).splitlines()) == 1


def test_no_packed_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is missing"):
        unpack(tmp_path / "data.xz")


def test_a_folder_in_place_of_the_packed_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*: Is a directory; make it a readable file"):
        unpack(tmp_path)


def test_take_keeps_images_and_labels_together() -> None:
    split = random_split(6, 0)
    taken = split.take(np.array([4, 1]))
    assert len(taken) == 2
    np.testing.assert_array_equal(taken.images, split.images[[4, 1]])
    np.testing.assert_array_equal(taken.labels, split.labels[[4, 1]])
