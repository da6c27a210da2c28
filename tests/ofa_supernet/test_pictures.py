"""Image files as inputs: cut as torchvision cuts them, decoded as often as is needed, and no damage unnoticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_folders import picture
from PIL import Image

from hwnas.core.errors import InputError
from hwnas.export import run
from hwnas.ofa_supernet.pictures import Kept, Pictures, distorted, middle, random_box, read, refuse_damaged


def bytes_of(image: Image.Image) -> np.ndarray:
    return np.asarray(image)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Eight images of several sizes."""
    made = [tmp_path / f"{index}.png" for index in range(8)]
    for index, path in enumerate(made):
        picture(index, 20 + index, 30 - index).save(path)
    return made


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((32, 40), (2, 6, 30, 34)),  # nothing to resize: the middle alone
        ((41, 32), (6, 2, 34, 30)),  # of 6.5 the even neighbour, as Python rounds
        ((43, 32), (8, 2, 36, 30)),
    ],
)
def test_the_middle(size: tuple[int, int], box: tuple[int, int, int, int]) -> None:
    image = picture(0, *size)
    assert np.array_equal(bytes_of(middle(image, 28, 32)), bytes_of(image.crop(box)))


def test_the_longer_side_is_cut_short() -> None:
    """torchvision's Resize leaves out the fraction of the longer side: 50 x 33 becomes 48 x 32, and not 48.5."""
    image = picture(0, 50, 33)
    wanted = image.resize((48, 32), Image.Resampling.BILINEAR).crop((10, 2, 38, 30))
    assert np.array_equal(bytes_of(middle(image, 28, 32)), bytes_of(wanted))


@given(width=st.integers(1, 90), height=st.integers(1, 90), size=st.integers(1, 40))
def test_packages_cut_the_same_middle(width: int, height: int, size: int) -> None:
    image, shorter = picture(1, width, height), -(-size * 8 // 7)
    mine, packages = middle(image, size, shorter), run.middle(image, size, shorter)
    assert mine.size == (size, size)
    assert np.array_equal(bytes_of(mine), bytes_of(packages))


@given(width=st.integers(1, 500), height=st.integers(1, 500), seed=st.integers(0, 99))
def test_random_boxes_lie_within(width: int, height: int, seed: int) -> None:
    left, top, wide, high = random_box(width, height, np.random.default_rng(seed))
    assert 0 <= left <= left + wide <= width
    assert 0 <= top <= top + high <= height
    assert min(wide, high) > 0


def test_random_boxes_are_of_every_size_and_shape() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([random_box(400, 300, rng) for _ in range(4000)])
    shares, aspects = boxes[:, 2] * boxes[:, 3] / 120_000, boxes[:, 2] / boxes[:, 3]
    assert 0.079 < shares.min() < 0.1
    assert 0.9 < shares.max() < 1.01
    assert 0.74 < aspects.min() < 0.76
    assert 1.32 < aspects.max() < 1.35
    assert boxes[:, :2].min() == 0
    # Mean left, top, width and height of 20,000 boxes that torchvision 0.29 drew of 500 x 375.
    theirs = [108.41, 52.32, 282.34, 270.14]
    mine = np.mean([random_box(500, 375, rng) for _ in range(4000)], axis=0)
    np.testing.assert_allclose(mine, theirs, atol=4)


@pytest.mark.parametrize(("size", "box"), [((10, 400), (0, 193, 10, 13)), ((400, 10), (193, 0, 13, 10))])
def test_of_a_thin_image_the_middle_is_taken(size: tuple[int, int], box: tuple[int, int, int, int]) -> None:
    assert random_box(*size, np.random.default_rng(0)) == box


def test_distortions_are_drawn_from_the_generator() -> None:
    image = picture(0, 60, 50)
    first, again, other = (bytes_of(distorted(image, 32, np.random.default_rng(seed))) for seed in (0, 0, 1))
    assert first.shape == (32, 32, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_distortions_mirror_and_change_colours() -> None:
    """A red image with a bright left edge: it comes mirrored, darker, brighter, and with more or less of its red."""
    pixels = np.full((64, 64, 3), (120, 60, 60), dtype=np.uint8)
    pixels[:, :32] += 60
    image = Image.fromarray(pixels)
    made = np.array([bytes_of(distorted(image, 8, np.random.default_rng(seed))) for seed in range(200)]).astype(float)
    slope = made[:, :, 0, 0].mean(1) - made[:, :, -1, 0].mean(1)
    assert 0.25 < np.mean(slope > 5) < 0.75
    assert 0.25 < np.mean(slope < -5) < 0.75
    red = (made[..., 0] - made[..., 1]).mean((1, 2))
    assert red.min() < 40 < 80 < red.max()


def test_any_slice_is_the_same_images(paths: list[Path]) -> None:
    pictures = Pictures(paths, 8, lambda image, row, size: middle(image, size, 9 + row))
    whole = pictures[:]
    assert (whole.shape, whole.dtype, len(pictures)) == ((8, 8, 8, 3), np.uint8, 8)
    for rows in (slice(3, 6), slice(5, None), slice(None, None, 3), slice(20, 30)):
        assert np.array_equal(pictures[rows], whole[rows])
    assert np.array_equal(whole[2], bytes_of(middle(read(paths[2]), 8, 11)))


def test_kept_pictures_are_decoded_once_and_none_too_many(paths: list[Path]) -> None:
    decoded: list[int] = []

    def cut(image: Image.Image, row: int, size: int) -> Image.Image:
        decoded.append(row)
        return middle(image, size, size)

    whole, kept = Pictures(paths, 8, cut)[:], Kept(Pictures(paths, 8, cut))
    decoded.clear()
    for rows in (slice(0, 3), slice(1, 2), slice(0, 0), slice(2, 5), slice(4)):
        assert np.array_equal(kept[rows], whole[rows])
    assert sorted(decoded) == [0, 1, 2, 3, 4]
    assert np.array_equal(kept[:], whole)
    assert sorted(decoded) == list(range(8))


@pytest.mark.parametrize(
    ("mode", "name"),
    [("L", "a.png"), ("RGBA", "a.webp"), ("P", "a.png"), ("CMYK", "a.jpg"), ("RGB", "a.bmp"), ("1", "a.png")],
)
def test_every_mode_becomes_rgb(mode: str, name: str, tmp_path: Path) -> None:
    options = {"transparency": bytes(range(64))} if mode == "P" else {}
    picture(0).convert(mode).save(tmp_path / name, **options)
    made = Pictures([tmp_path / name], 8, lambda image, _, size: middle(image, size, size))[:]
    assert made.shape == (1, 8, 8, 3)


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "missing", "folder", "png in the middle"])
def test_a_damaged_file_is_named_in_one_line(damage: str, paths: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "damaged.JPEG"
    picture(0, 200, 200).save(path, "PNG" if "png" in damage else "JPEG")
    raw = path.read_bytes()
    if damage in ("missing", "folder"):
        path.unlink()
    if damage == "folder":
        path.mkdir()
    if path.is_file():
        path.write_bytes({"truncated": raw[: len(raw) // 2], "empty": b"", "text": b"hello"}.get(damage, raw[:5000]))
    unreadable = {"missing": "No such file", "folder": "Is a directory"}
    hint = rf"cannot read .*damaged\.JPEG: {unreadable.get(damage)}"
    if damage not in unreadable:
        hint = r"damaged\.JPEG is damaged, or no image: restore or remove it"
    told: list[tuple[str, int, int]] = []
    for look in (
        lambda: refuse_damaged([*paths, path], lambda *one: told.append(one)),
        lambda: Pictures([path], 8, lambda image, _, size: middle(image, size, size))[:],
    ):
        with pytest.raises(InputError, match=hint) as caught:
            look()
        assert "\n" not in str(caught.value)
    assert told == [("check images", 0, 9)]


def test_whole_files_pass(paths: list[Path]) -> None:
    told: list[tuple[str, int, int]] = []
    refuse_damaged(paths, lambda *one: told.append(one))
    assert told[-1] == ("check images", 8, 8)
