"""A whole workspace in a second: a supernet with random weights and made-up images, and rules that measure briefly."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hwnas.core.arch import ArchBatch
from hwnas.core.genetics import sample, unique
from hwnas.evaluators.predictor import AccuracyPredictor
from hwnas.ofa_supernet import folder as names
from hwnas.ofa_supernet.checkpoint import save_weights
from hwnas.ofa_supernet.data import Split, pack
from hwnas.ofa_supernet.folder import SupernetFolder
from hwnas.ofa_supernet.network import OfaSupernet
from hwnas.workspace import Workspace

SUPERNET = "random"

# The band of the search is nearly the whole range below the limit, so that a busy machine does not empty it.
SETTINGS = f"""
device = "local"
supernet = "{SUPERNET}"
[search]
population = 40
generations = 5
finalists = 2
max_rounds = 3
headroom = 0.9
[measure]
subnets = 18
"""

DEVICE = """
name = "local"
[blocks]
group = 32
rounds = 2
min_samples = 4
min_seconds = 0.0005
settle_runs = 1
warm_up_max_seconds = 0.005
[networks]
rounds = 2
min_samples = 10
min_seconds = 0.002
warm_up_max_seconds = 0.02
[verify]
rounds = 2
min_samples = 20
min_seconds = 0.01
warm_up_max_seconds = 0.02
"""

RECIPE = """
space = "ofa_mbv3/small/v1"
dataset = "fashion-mnist"
data = "nowhere"
labels = ["T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]
mean = [0.286]
std = [0.353]
[[stage]]
name = "full"
epochs = 1
learning_rate = 0.1
"""


SIZES = {"test": 40, "calibration": 8, "choice": 12}


def noise(count: int, seed: int) -> Split:
    """Images of nothing, each with a label."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 28, 28, 1), dtype=np.uint8)
    return Split(images, rng.integers(0, 10, count, dtype=np.uint8))


def make_workspace(path: Path, recipe: str = RECIPE, splits: dict[str, Split] | None = None) -> Path:
    """A workspace in `path` whose supernet has random weights; nothing of it is measured yet."""
    (path / "devices").mkdir(parents=True)
    (path / "devices/local.toml").write_text(DEVICE)
    supernet = path / "ofa_supernet" / SUPERNET
    supernet.mkdir(parents=True)
    (supernet / names.RECIPE).write_text(recipe)
    made = SupernetFolder(supernet)
    save_weights(supernet / names.WEIGHTS, OfaSupernet(made.space, seed=1).state_dict(), {"space": made.space.id})
    rng = np.random.default_rng(0)
    drawn = unique(sample(made.space, 60, rng)).take(np.arange(30))
    ends = ArchBatch.of([made.space.smallest, made.space.largest])
    batch = ArchBatch(made.space.id, np.concatenate([ends.genes, drawn.genes]))
    AccuracyPredictor.fit(made.space, batch, rng.uniform(0.8, 0.9, len(batch))).save(made.predictor_path)
    sizes = {"test": 40, "calibration": 8, "choice": 12}
    pack(
        splits or {name: noise(count, seed) for seed, (name, count) in enumerate(sizes.items())},
        supernet / names.IMAGES,
    )
    (supernet / names.CARD).write_text("# Random\n")
    made.write_hashes()
    (path / "hwnas.toml").write_text(SETTINGS)
    return Workspace(path).path
