"""A training of a second: recipe, made-up data, and how another process gets to know them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tiny_space import TINY

from hwnas.core.progress import Progress, silent
from hwnas.ofa_supernet import trainer
from hwnas.ofa_supernet.data import Split
from hwnas.ofa_supernet.datasets import READERS, Dataset
from hwnas.spaces.ofa_mbv3 import LAYOUTS

PROBE_IMAGES = 60
LABELS = ("none", "top", "bottom", "both")
RECIPE_TEXT = """
space = "ofa_mbv3/tiny/v1"
dataset = "stripes"
data = "nowhere"
labels = ["none", "top", "bottom", "both"]
mean = [0.5]
std = [0.5]
seed = 5
train_images = 64
batch = 32
teacher_resolution = 8

[[stage]]
name = "full"
epochs = 3
learning_rate = 0.1
warmup_steps = 1
resolutions = [8]

[[stage]]
name = "kernel"
epochs = 2
learning_rate = 0.02
kernels = [3, 5, 7]
resolutions = [8]
distill = 1.0

[[stage]]
name = "depth and expansion"
epochs = 2
learning_rate = 0.02
subnets = 2
kernels = [3, 5, 7]
depths = [1, 2]
expansions = [2, 3]
resolution_bias = 1.0
distill = 0.5
sort_channels = true
"""
EPOCHS = 7
SANDWICH_TEXT = """
space = "ofa_mbv3/tiny/v1"
dataset = "stripes"
data = "nowhere"
labels = ["none", "top", "bottom", "both"]
mean = [0.5]
std = [0.5]
seed = 5
train_images = 96
batch = 32
dropout = 0.2
average = 0.9

[augment]
shift = 1
area = 0.6
mixup = 0.3

[[stage]]
name = "sandwich"
epochs = 3
learning_rate = 0.1
warmup_steps = 1
kernels = [3, 5, 7]
depths = [1, 2]
expansions = [1, 2, 3]
sandwich = true
subnets = 2
distill = 1.0
"""
"""Everything that a step draws."""


def stripes(folder: Path, size: int = 8, progress: Progress = silent) -> Dataset:
    """Noise with a bright upper or lower half, both or none (mirroring keeps the class)."""
    splits = []
    for seed, count in enumerate((300, 20)):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 4, count, dtype=np.uint8)
        images = rng.integers(0, 100, (count, 8, 8, 1), dtype=np.uint8)
        images[labels % 2 == 1, :4] += 120
        images[labels >= 2, 4:] += 120
        splits.append(Split(images, labels))
    return Dataset(splits[0], splits[1], LABELS)


def register() -> None:
    """Make space and data known to a process that is made for them alone."""
    torch.set_num_threads(1)
    LAYOUTS["ofa_mbv3/tiny/v1"] = TINY
    READERS["stripes"] = stripes
    trainer.PROBE_IMAGES = PROBE_IMAGES
