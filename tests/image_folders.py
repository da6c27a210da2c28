"""Folders of made-up images, as users have them: train/CLASS/*.JPEG and val/CLASS/*.JPEG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ["ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen", "ibis", "jay"]


def picture(seed: int, width: int = 40, height: int = 30) -> Image.Image:
    """Noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def image_folder(path: Path, train: int = 25, val: int = 10, classes: list[str] = CLASSES) -> Path:
    """So many images of each class, each of its own size, as JPEG or PNG."""
    for part, count in (("train", train), ("val", val)):
        for label, name in enumerate(classes):
            (path / part / name).mkdir(parents=True)
            for index in range(count):
                seed = 1000 * label + index + 500 * (part == "val")
                suffix = "png" if index % 5 == 0 else "JPEG"
                picture(seed, 30 + seed % 17, 30 + seed % 13).save(path / part / name / f"{name}_{index}.{suffix}")
    return path
