"""Augmentation: one sampling does what doing each part by itself would."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.core.images import preprocess
from hwnas.ofa_supernet import augment
from hwnas.ofa_supernet.augment import Augmentation

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.25]
COUNT, SIZE = 12, 16


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (COUNT, SIZE, SIZE, 3), dtype=np.uint8)


def seen(images: np.ndarray, views: augment.Views, resolution: int, rows: np.ndarray | None = None) -> np.ndarray:
    stored = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    rows = np.arange(len(images)) if rows is None else rows
    value = augment.inputs(lambda wanted: stored[torch.from_numpy(wanted)], views, rows, resolution, MEAN, STD)
    assert value.is_contiguous(memory_format=torch.channels_last)
    return value.numpy()


def plain(images: np.ndarray, resolution: int) -> np.ndarray:
    return preprocess(images, resolution, tuple(MEAN), tuple(STD))


@pytest.mark.parametrize("resolution", [SIZE, 24, 11])
def test_a_view_that_changes_nothing_is_what_packages_do(images: np.ndarray, resolution: int) -> None:
    views = augment.draw(Augmentation(mirror=False), COUNT, (SIZE, SIZE), np.random.default_rng(0))
    np.testing.assert_allclose(seen(images, views, resolution), plain(images, resolution), atol=2e-5)


def test_half_are_mirrored(images: np.ndarray) -> None:
    views = augment.draw(Augmentation(), COUNT, (SIZE, SIZE), np.random.default_rng(1))
    got, straight, mirrored = seen(images, views, SIZE), plain(images, SIZE), plain(images[:, :, ::-1], SIZE)
    which = [np.allclose(got[row], mirrored[row], atol=2e-5) for row in range(COUNT)]
    assert 2 <= sum(which) <= COUNT - 2
    for row in np.flatnonzero(~np.array(which)):
        np.testing.assert_allclose(got[row], straight[row], atol=2e-5)


@pytest.mark.parametrize(("pad", "mode"), [("reflect", "symmetric"), ("edge", "edge"), ("zeros", "constant")])
def test_shifts_are_whole_pixels(images: np.ndarray, pad: str, mode: str) -> None:
    most = 3
    views = augment.draw(Augmentation(False, most, pad), COUNT, (SIZE, SIZE), np.random.default_rng(2))
    padded = np.pad(images, ((0, 0), (most, most), (most, most), (0, 0)), mode=mode)
    offsets = np.rint(views.transforms[:, :, 2] * SIZE / 2).astype(int) + most
    assert len(np.unique(offsets, axis=0)) > 5
    for one, image, (right, down) in zip(seen(images, views, SIZE), padded, offsets, strict=True):
        shifted = image[None, down : down + SIZE, right : right + SIZE]
        np.testing.assert_allclose(one, plain(shifted, SIZE)[0], atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(area=st.floats(0.05, 0.99), seed=st.integers(0, 2**31))
def test_crops_lie_inside_and_keep_their_share(area: float, seed: int) -> None:
    views = augment.draw(Augmentation(area=area), 50, (20, 30), np.random.default_rng(seed))
    size, offset = np.abs(views.transforms[:, [0, 1], [0, 1]]), views.transforms[:, :, 2]
    assert (np.abs(offset) + size <= 1 + 1e-6).all()
    assert (size.prod(axis=1) >= area * 0.74).all()  # where the aspect would not fit, a side is cut to the image's
    assert (size <= 1).all()


def test_mixtures_mix_images_and_labels_alike(images: np.ndarray) -> None:
    views = augment.draw(Augmentation(False, mixup=1.0), COUNT, (SIZE, SIZE), np.random.default_rng(3))
    weight = float(views.weight)
    assert 0 < weight < 1
    straight = plain(images, SIZE)
    mixed = weight * straight + (1 - weight) * straight[views.partners]
    np.testing.assert_allclose(seen(images, views, SIZE), mixed, atol=5e-5)
    labels = np.arange(COUNT) % 4
    wanted = augment.targets(labels, views, np.arange(COUNT), 4, 0.0)
    one_hot = np.eye(4)[labels]
    np.testing.assert_allclose(wanted, weight * one_hot + (1 - weight) * one_hot[views.partners], atol=1e-6)


def test_smoothed_targets_add_up_to_one() -> None:
    views = augment.draw(Augmentation(), 3, (4, 4), np.random.default_rng(0))
    wanted = augment.targets(np.array([0, 2, 1]), views, np.array([1, 2]), 5, 0.1)
    np.testing.assert_allclose(wanted.sum(axis=1), 1, atol=1e-6)
    assert wanted[0, 2] == pytest.approx(0.92)


@settings(max_examples=20, deadline=None)
@given(world=st.integers(1, 5), seed=st.integers(0, 2**31))
def test_processes_see_together_what_one_sees(images: np.ndarray, world: int, seed: int) -> None:
    views = augment.draw(Augmentation(True, 2, area=0.5, mixup=0.5), COUNT, (SIZE, SIZE), np.random.default_rng(seed))
    whole = seen(images, views, 12)
    for rank in range(world):
        rows = np.arange(rank, COUNT, world)
        np.testing.assert_allclose(seen(images, views, 12, rows), whole[rows], atol=1e-6)
