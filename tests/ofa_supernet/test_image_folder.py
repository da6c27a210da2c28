"""A user's folder of images: classes, splits that never change, and one line for whatever is wrong."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from image_folders import CLASSES, image_folder, picture

from hwnas.core.errors import InputError
from hwnas.core.progress import silent
from hwnas.ofa_supernet.data import folder_rows
from hwnas.ofa_supernet.image_folder import ImageFolder, read_image_folder


def opened(path: Path, classes: int = 10) -> ImageFolder:
    return read_image_folder(path, classes, silent)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ten classes; copy it to change it."""
    return image_folder(tmp_path_factory.mktemp("data") / "animals")


@pytest.fixture
def own(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "own")
    return tmp_path / "own"


def test_splits_of_imagenet_never_change() -> None:
    """Frozen: figures in packages were measured on these images."""
    rows = folder_rows(1_281_167, 50_000)
    assert {name: len(part) for name, part in rows.items()} == {"calibration": 2000, "choice": 3000, "test": 10000}
    digests = {name: hashlib.sha256(part.astype("<i8").tobytes()).hexdigest()[:12] for name, part in rows.items()}
    assert digests == {"calibration": "9d4fe0d8535b", "choice": "b5fdbc70b948", "test": "c7bf33cbeafd"}


@pytest.mark.parametrize(
    ("train", "test", "sizes"),
    [
        (5000, 10000, (2000, 3000, 10000)),
        (4999, 9999, (1999, 3000, 9999)),
        (1000, 100, (400, 600, 100)),
        (250, 100, (100, 150, 100)),
    ],
)
def test_few_images_are_shared(train: int, test: int, sizes: tuple[int, ...]) -> None:
    rows = folder_rows(train, test)
    assert tuple(len(rows[name]) for name in ("calibration", "choice", "test")) == sizes
    for name, count in (("calibration", train), ("choice", train), ("test", test)):
        assert len(set(rows[name])) == len(rows[name])
        assert rows[name].max() < count
    assert not set(rows["calibration"]) & set(rows["choice"])


def test_what_is_in_a_folder(made: Path) -> None:
    folder = opened(made)
    assert (list(folder.labels), folder.counts) == (CLASSES, {"train": 250, "val": 100})
    assert {name: len(drawn.paths) for name, drawn in folder.drawn.items()} == {
        "calibration": 100,
        "choice": 150,
        "test": 100,
    }
    for name, drawn in folder.drawn.items():
        assert len(set(drawn.paths)) == len(drawn.paths)
        assert {path.parent.parent.name for path in drawn.paths} == {"val" if name == "test" else "train"}
        assert [CLASSES[label] for label in drawn.labels] == [path.parent.name for path in drawn.paths]
        assert all(path.is_file() for path in drawn.paths)
    assert not set(folder.drawn["calibration"].paths) & set(folder.drawn["choice"].paths)
    assert folder.told == "folder animals (250 images in train, 100 in val)"


def test_rows_are_those_of_the_sorted_names(made: Path) -> None:
    names = sorted(f"{path.parent.name}/{path.name}" for path in made.glob("train/*/*"))
    rows = folder_rows(250, 100)
    for split in ("calibration", "choice"):
        found = [f"{path.parent.name}/{path.name}" for path in opened(made).drawn[split].paths]
        assert found == [names[row] for row in rows[split]]


def test_the_same_images_wherever_and_whenever_they_were_written(made: Path, tmp_path: Path) -> None:
    for path in sorted(made.glob("*/*/*"), key=lambda path: hash(path.name)):
        copy = tmp_path / "elsewhere" / path.relative_to(made)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    for name, drawn in opened(made).drawn.items():
        there = opened(tmp_path / "elsewhere").drawn[name]
        assert [path.relative_to(made) for path in drawn.paths] == [
            path.relative_to(tmp_path / "elsewhere") for path in there.paths
        ]
        assert np.array_equal(drawn.labels, there.labels)


def test_only_images_count_and_links_are_followed(own: Path) -> None:
    for name in (".hidden.png", "notes.txt", "._a.JPEG"):
        (own / "train/ant" / name).write_text("")
    (own / "train/.cache").mkdir()
    (own / "train/notes.txt").write_text("")
    (own / "train/ant/folder.png").mkdir()
    for suffix in ("JPG", "jpeg", "Webp", "BMP"):
        picture(0).save(own / f"train/ant/more.{suffix}")
    (own / "linked").mkdir()
    for part in ("train", "val"):
        (own / "linked" / part).symlink_to(own / part)
    assert opened(own).counts == {"train": 254, "val": 100}
    assert opened(own / "linked").counts == {"train": 254, "val": 100}


def test_names_that_are_no_text_can_be_told(own: Path) -> None:
    odd = "caf\udce9"
    for part in ("train", "val"):
        (own / part / "cat").rename(own / part / odd)
    assert list(opened(own).labels) == ["ant", "bee", "caf?", *CLASSES[3:]]


def test_listing_tells_how_far_it_is(made: Path) -> None:
    told: list[tuple[str, int, int]] = []
    read_image_folder(made, 10, lambda *one: told.append(one))
    assert told[0] == ("list train", 0, 10)
    assert ("list train", 10, 10) in told
    assert told[-1] == ("list val", 10, 10)


def remove(*names: str):
    return lambda folder: [shutil.rmtree(folder / name) for name in names]


def empty(folder: Path) -> None:
    for path in (folder / "val/bee").iterdir():
        path.unlink()


def thin_out(part: str):
    def change(folder: Path) -> None:
        for path in (folder / part).glob("*/*_3.JPEG"):
            path.unlink()

    return change


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (remove("train"), "has no folder train: recalibration and choice need training images, train/CLASS/*.JPEG"),
        (remove("val"), "has no folder val: the test needs images"),
        (remove("train/ant"), "train has 9 folders, and the network 10 classes"),
        (remove("val/ant"), "val has 9 folders, and the network 10 classes"),
        (lambda folder: (folder / "val/ant").rename(folder / "val/ape"), "have different classes, ant is one"),
        (empty, "val/bee holds no image"),
        (thin_out("train"), "train holds 240 images, and 250 is the least: add some"),
        (thin_out("val"), "val holds 90 images, and 100 is the least: add some"),
        (lambda folder: shutil.move(folder, folder.with_name("moved")), "is no folder: name one that holds train/"),
    ],
)
def test_what_is_wrong_is_one_line(change, hint: str, own: Path) -> None:
    change(own)
    with pytest.raises(InputError) as caught:
        opened(own)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_of_another_network_s_classes(made: Path) -> None:
    with pytest.raises(InputError, match="10 folders, and the network 1000 classes: it wants a folder for each class"):
        opened(made, classes=1000)
