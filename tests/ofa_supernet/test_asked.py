"""A recipe for other images than its own: what it says of its own is forgotten, what is left out is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_folders import CLASSES, image_folder

from hwnas.ofa_supernet import asked as module
from hwnas.ofa_supernet.asked import asked
from hwnas.ofa_supernet.recipe import parse_recipe

RECIPE = """
space = "ofa_basic/small/v1"
dataset = "cifar10"
data = "elsewhere"
about = "CIFAR-10, which these are not."
image_size = 24
labels = ["one", "two"]
mean = [0.1, 0.2, 0.3]
std = [0.1, 0.2, 0.3]
data_sha256 = "0000"
pack = false

[[stage]]
name = "full"
epochs = 1
learning_rate = 0.1
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def test_another_folder_takes_the_place_of_all_that_is_said_of_the_data(tmp_path: Path, recipe_file: Path) -> None:
    folder = image_folder(tmp_path / "mine")
    text, splits = asked(recipe_file, folder)
    recipe = parse_recipe(text, recipe_file)
    assert (recipe.dataset, recipe.data, recipe.about) == ("folder", folder, "")
    assert recipe.labels == CLASSES
    assert recipe.pack is True
    pixels = splits.train.images[: len(splits.train)] / 255
    assert pixels.shape[1:] == (24, 24, 3)
    np.testing.assert_allclose(recipe.mean, pixels.mean((0, 1, 2)), atol=1e-4)
    np.testing.assert_allclose(recipe.std, pixels.std((0, 1, 2)), atol=1e-4)


def test_moments_come_from_chunks(tmp_path: Path, recipe_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = image_folder(tmp_path / "mine")
    whole = asked(recipe_file, folder)[0]
    monkeypatch.setattr(module, "CHUNK", 7)
    told: list[tuple[int, int]] = []

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "mean and deviation":
            told.append((done, total))

    assert asked(recipe_file, folder, progress)[0] == whole
    assert told[0] == (7, told[0][1])
    assert told[-1][0] == told[-1][1]
