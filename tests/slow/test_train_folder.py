"""A folder of images that nobody has seen becomes a verified package by two commands and no code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import hwnas
from PIL import Image
from small_workspace import DEVICE, SETTINGS, SUPERNET

from hwnas.export.package import check_hashes, read_manifest

pytestmark = pytest.mark.slow

CLASSES = ("dots", "plain", "stripes")
RECIPE = """
space = "ofa_basic/small/v1"
dataset = "cifar10"
data = "elsewhere"
batch = 32

[predictor]
subnets = 20
searched = 0.0
images = 40

[augment]
shift = 2

[[stage]]
name = "sandwich"
epochs = 6
learning_rate = 0.1
warmup_steps = 5
resolutions = [22]
depths = [1, 2]
expansions = [50, 62, 75, 88, 100]
sandwich = true
distill = 1.0
"""


def draw(kind: str, rng: np.random.Generator) -> Image.Image:
    """A picture of some size in two colours, with noise."""
    height, width = rng.integers(40, 60, 2)
    rows, columns = np.mgrid[:height, :width]
    pattern = {
        "dots": (rows % 12 < 5) & (columns % 12 < 5),
        "plain": np.zeros((height, width), bool),
        "stripes": (rows + columns + rng.integers(12)) % 12 < 5,
    }[kind]
    low, high = rng.integers(0, 90, 3), rng.integers(160, 250, 3)
    pixels = np.where(pattern[..., None], high, low) + rng.normal(0, 8, (height, width, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for part, count in (("train", 120), ("val", 40)):
        for kind in CLASSES:
            folder = tmp_path / "patterns" / part / kind
            folder.mkdir(parents=True)
            for number in range(count):
                draw(kind, rng).save(folder / f"{number}.jpg")
    return tmp_path / "patterns"


def test_from_a_folder_of_images_to_a_verified_package(tmp_path: Path, images: Path) -> None:
    workspace, recipe = tmp_path / "ws", tmp_path / "recipe.toml"
    (workspace / "devices").mkdir(parents=True)
    (workspace / "devices/local.toml").write_text(DEVICE)
    (workspace / "hwnas.toml").write_text(SETTINGS.replace(SUPERNET, "patterns"))
    recipe.write_text(RECIPE)
    out = workspace / "ofa_supernet/patterns"
    code, text, err = hwnas("train", str(recipe), "--data", str(images), "--out", str(out), "--json")
    assert (code, json.loads(text)) == (0, {"schema": 1, "supernet": str(out)}), err
    words = ("--latency", "20ms", "--json", "--workspace", str(workspace))
    code, text, err = hwnas("specialize", *words)
    assert code == 0, err
    document = json.loads(text)
    assert document["holds"]
    assert document["verified_by"] == "measurement"
    assert document["accuracy"]["images"] == 120
    assert document["accuracy"]["top1"] > 0.6  # of three classes
    package = Path(document["package"])
    check_hashes(package)
    assert read_manifest(package)["labels"] == list(CLASSES)
    assert read_manifest(package)["provenance"]["dataset"] == "the folder patterns"
    picture = next((images / "val/stripes").iterdir())
    run = [sys.executable, str(package / "run.py"), str(picture)]
    assert "stripes" in subprocess.run(run, capture_output=True, text=True, check=True).stdout
