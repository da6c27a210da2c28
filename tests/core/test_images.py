"""Preprocessing: equal to torch's bilinear interpolation, exact where nothing is resized."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.core.errors import InputError
from hwnas.core.images import Preprocessing, interpolation, preprocess


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    resolution=st.integers(1, 48),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 99),
)
def test_equals_torch_interpolate(height: int, width: int, resolution: int, channels: int, seed: int) -> None:
    torch = pytest.importorskip("torch")
    images = np.random.default_rng(seed).integers(0, 256, (2, height, width, channels), dtype=np.uint8)
    mean, std = (0.3, 0.4, 0.5)[:channels], (0.2, 0.25, 0.3)[:channels]
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    pixels = (pixels - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    wanted = torch.nn.functional.interpolate(
        pixels, size=(resolution, resolution), mode="bilinear", align_corners=False
    ).numpy()
    got = preprocess(images, resolution, mean, std)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, wanted, atol=2e-5)


def test_numbers_worked_by_hand() -> None:
    images = np.array([[[[0], [255]], [[255], [0]]]], dtype=np.uint8)
    same = preprocess(images, 2, (0.5,), (0.5,))
    np.testing.assert_allclose(same[0, 0], [[-1, 1], [1, -1]], atol=1e-6)
    assert interpolation(2, 4).tolist() == [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]


@given(size=st.integers(1, 60), resolution=st.integers(1, 60))
def test_interpolation_keeps_constant_images(size: int, resolution: int) -> None:
    np.testing.assert_allclose(interpolation(size, resolution).sum(axis=1), 1, atol=1e-6)


def test_document_reads_back() -> None:
    preprocessing = Preprocessing(28, (0.286,), (0.353,))
    assert Preprocessing.from_json(preprocessing.to_json()) == preprocessing


def test_a_crop_reads_back_and_is_spelt_out() -> None:
    cut = Preprocessing(224, (0.5,) * 3, (0.2,) * 3, crop=0.875)
    document = cut.to_json()
    assert Preprocessing.from_json(document) == cut
    assert (document["crop"], document["shorter_side"]) == (0.875, cut.shorter_side) == (0.875, 256)
    assert "shorter side to 256 pixels" in document["resize"]
    assert "the middle 224 x 224" in document["resize"]
    whole = Preprocessing(224, (0.5,), (0.2,))
    assert whole.shorter_side == 224
    assert not {"crop", "shorter_side"} & set(whole.to_json())


@pytest.mark.parametrize(("size", "shorter"), [(128, 147), (160, 183), (192, 220), (236, 270)])
def test_the_shorter_side_is_rounded_up(size: int, shorter: int) -> None:
    """As once-for-all tests images of `size` pixels."""
    assert Preprocessing(size, (0.5,), (0.2,), crop=0.875).shorter_side == shorter


PLAIN = {"resolution": 2, "mean": [1], "std": [1]}


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        {"resolution": 2, "mean": [1], "std": []},
        {"resolution": "x"},
        [1],
        *(PLAIN | {"crop": crop} for crop in (0, 2, "x")),
    ],
)
def test_bad_document_is_one_line(document: object) -> None:
    with pytest.raises(InputError, match="not a preprocessing"):
        Preprocessing.from_json(document)


def test_wrong_channels_name_the_shape() -> None:
    with pytest.raises(InputError, match="N x H x W x 3 uint8, got 1x4x4x1"):
        preprocess(np.zeros((1, 4, 4, 1), dtype=np.uint8), 4, (0.0,) * 3, (1.0,) * 3)
