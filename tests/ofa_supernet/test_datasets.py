"""Data sets: what is read from their files, and one line for what is wrong with them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hwnas.core.errors import InputError
from hwnas.core.progress import silent
from hwnas.ofa_supernet import datasets
from hwnas.ofa_supernet.data import Split
from hwnas.ofa_supernet.datasets import READERS, read_cifar10, read_cifar100, read_fashion_mnist, read_folder
from hwnas.ofa_supernet.pictures import FileSplit

FASHION = Path("/usr/share/datasets/fashion-mnist")
FILES = {"train-images": 3, "train-labels": 1, "t10k-images": 3, "t10k-labels": 1}


@pytest.mark.skipif(not FASHION.exists(), reason=f"install Debian's dataset-fashion-mnist: there is no {FASHION}")
def test_fashion_mnist() -> None:
    dataset = read_fashion_mnist(FASHION)
    splits = dataset.splits().held | {"train": dataset.splits().train}
    assert {name: len(split) for name, split in splits.items()} == {
        "train": 51000,
        "predictor": 6000,
        "choice": 3000,
        "calibration": 2000,
        "test": 10000,
    }
    for split in splits.values():
        assert split.images.shape[1:] == (28, 28, 1)
        assert split.images.dtype == split.labels.dtype == np.uint8
        assert set(np.unique(split.labels)) == set(range(10))
    assert np.array_equal(np.bincount(splits["test"].labels), [1000] * 10)
    assert np.array_equal(splits["calibration"].images, splits["train"].images[:2000])


def write_idx(folder: Path, train: int, test: int) -> None:
    rng = np.random.default_rng(0)
    for name, dims in FILES.items():
        count = train if name.startswith("train") else test
        body = rng.integers(0, 10, (count, 28, 28) if dims == 3 else count, dtype=np.uint8)
        header = bytes([0, 0, 8, dims]) + b"".join(int(size).to_bytes(4, "big") for size in body.shape)
        (folder / f"{name}-idx{dims}-ubyte.gz").write_bytes(gzip.compress(header + body.tobytes(), 1))


def test_idx_files_read_back(tmp_path: Path) -> None:
    write_idx(tmp_path, train=9100, test=30)
    dataset = read_fashion_mnist(tmp_path)
    assert (len(dataset.train), len(dataset.test), dataset.labels[9]) == (9100, 30, "ankle boot")
    raw = gzip.decompress((tmp_path / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    assert dataset.test.images.tobytes() == raw


def test_a_missing_file_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"train-images-idx3-ubyte\.gz is missing: install Debian's dataset-fashion-mnist"
    ):
        read_fashion_mnist(tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "no gzip", "short", "empty"])
def test_a_damaged_file_is_one_line(tmp_path: Path, damage: str) -> None:
    write_idx(tmp_path, train=20, test=5)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    raw = path.read_bytes()
    flipped = bytearray(raw)
    flipped[len(raw) // 2] ^= 0xFF
    content = {
        "truncated": raw[: len(raw) // 2],
        "flipped": bytes(flipped),
        "no gzip": b"hello",
        "short": gzip.compress(gzip.decompress(raw)[:-5]),
        "empty": gzip.compress(b""),
    }
    path.write_bytes(content[damage])
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz is damaged") as caught:
        read_fashion_mnist(tmp_path)
    assert "\n" not in str(caught.value)


def write_cifar(path: Path, labels: list[tuple[int, ...]]) -> np.ndarray:
    """A file of the binary version; the images, as planes."""
    rng = np.random.default_rng(len(path.name))
    images = rng.integers(0, 256, (len(labels), 3, 32, 32), dtype=np.uint8)
    rows = zip(labels, images, strict=True)
    path.write_bytes(b"".join(bytes(label) + image.tobytes() for label, image in rows))
    return images


def test_cifar10_reads_back(tmp_path: Path) -> None:
    parts = [write_cifar(tmp_path / f"data_batch_{n}.bin", [(n,), (9,)]) for n in range(1, 6)]
    test = write_cifar(tmp_path / "test_batch.bin", [(3,)])
    dataset = read_cifar10(tmp_path)
    assert dataset.train.labels.tolist() == [1, 9, 2, 9, 3, 9, 4, 9, 5, 9]
    assert dataset.labels[3] == "cat"
    np.testing.assert_array_equal(dataset.train.images.transpose(0, 3, 1, 2), np.concatenate(parts))
    np.testing.assert_array_equal(dataset.test.images[0].transpose(2, 0, 1), test[0])


def test_cifar100_has_fine_labels(tmp_path: Path) -> None:
    write_cifar(tmp_path / "train.bin", [(19, 99), (0, 1)])
    write_cifar(tmp_path / "test.bin", [(4, 0)])
    dataset = read_cifar100(tmp_path)
    assert dataset.train.labels.tolist() == [99, 1]
    assert (len(dataset.labels), dataset.labels[99]) == (100, "worm")


@pytest.mark.parametrize(
    ("content", "said"), [(None, "is missing: data in the recipe"), (b"abc", "is damaged"), (b"", "has labels above")]
)
def test_bad_cifar_is_one_line(tmp_path: Path, content: bytes | None, said: str) -> None:
    for n in range(1, 6):
        write_cifar(tmp_path / f"data_batch_{n}.bin", [(n,)])
    write_cifar(tmp_path / "test_batch.bin", [(0,)])
    path = tmp_path / "data_batch_3.bin"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        read_cifar10(tmp_path)
    assert "data_batch_3.bin" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_cifar10_is_no_cifar100(tmp_path: Path) -> None:
    write_cifar(tmp_path / "train.bin", [(0, 200)])
    write_cifar(tmp_path / "test.bin", [(0, 0)])
    with pytest.raises(InputError, match="has labels above 99"):
        read_cifar100(tmp_path)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Two classes of images of several sizes: cats are red, dogs are green."""
    for part, count in (("train", 25), ("val", 4)):
        for name, colour in (("cat", (200, 30, 30)), ("dog", (30, 200, 30))):
            folder = tmp_path / "pets" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                size = (40 + number, 60 - number)
                Image.new("RGB", size, colour).save(folder / f"{number:03d}.{'png' if number % 2 else 'jpg'}")
    return tmp_path / "pets"


def test_a_folder_s_images_are_cut_to_size(pets: Path) -> None:
    dataset = read_folder(pets, 24)
    assert isinstance(dataset.train, FileSplit)
    train = dataset.train.decoded("", silent)
    assert (train.images.shape, dataset.test.images.shape) == ((50, 24, 24, 3), (8, 24, 24, 3))
    assert dataset.labels == ["cat", "dog"]
    for split in (train, dataset.test):
        assert np.array_equal(split.labels, split.images[:, 12, 12].argmax(axis=1))


def test_large_sets_stay_in_their_files(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = read_folder(pets, 24)
    in_memory, unwanted = dataset.splits(), dataset.splits(training=False)
    monkeypatch.setattr(datasets, "IN_MEMORY", 1000)
    in_files = dataset.splits()
    assert isinstance(in_memory.train, Split)
    assert isinstance(in_files.train, FileSplit)
    assert isinstance(unwanted.train, FileSplit)  # nobody trains on them
    np.testing.assert_array_equal(in_files.train.decoded("", silent).images, in_memory.train.images)
    for name, split in in_memory.held.items():
        np.testing.assert_array_equal(in_files.held[name].images, split.images)
        np.testing.assert_array_equal(in_files.held[name].labels, split.labels)


def test_other_images_have_another_digest(pets: Path) -> None:
    before = read_folder(pets, 24).sha256()
    assert read_folder(pets, 32).sha256() == before
    (pets / "train/cat/000.jpg").rename(pets / "train/cat/aaa.jpg")
    assert read_folder(pets, 24).sha256() != before


def test_a_class_of_few_images_is_one_line(pets: Path) -> None:
    for number in range(10):
        next((pets / "train/dog").glob(f"{number:03d}.*")).unlink()
    with pytest.raises(InputError, match="dog holds 15 images, and 20 is the least: add some"):
        read_folder(pets, 24)


def test_every_reader_takes_the_same(pets: Path) -> None:
    for name, reader in READERS.items():
        if name != "folder":
            with pytest.raises(InputError, match="is missing"):
                reader(pets, 24, lambda *_: None)
