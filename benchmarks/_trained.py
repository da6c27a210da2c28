"""The trained supernet that some scripts look at, its images, and what its subnets make of them."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _common import ROOT, Interval, progress, random_subnets
from _data import cifar10
from numpy.typing import NDArray

from hwnas.core.arch import Arch, ArchBatch
from hwnas.core.count import macs
from hwnas.core.files import write_json
from hwnas.ofa_supernet.data import Split
from hwnas.ofa_supernet.datasets import READERS, Splits
from hwnas.ofa_supernet.evaluate import inputs, predictions
from hwnas.ofa_supernet.folder import SupernetFolder
from hwnas.ofa_supernet.recalibration import recalibrate, set_statistics
from hwnas.ofa_supernet.recipe import Recipe
from hwnas.ofa_supernet.static import StaticNet

RANDOM = 201
"""Random subnets whose quantiles of MACs are looked at; the seed is far from those of trainings and searches."""
SEED = 30_000
BATCH = 250
"""Images a pass, small ones."""

Hits = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Subject:
    """A supernet with the images of its recipe."""

    folder: SupernetFolder
    recipe: Recipe
    splits: Splits

    def over_the_range(self, count: int) -> list[Arch]:
        """The smallest, the largest, and `count` - 2 random ones at even quantiles of MACs."""
        space = self.folder.space
        drawn = list(random_subnets(space, RANDOM, SEED))
        drawn.sort(key=lambda arch: macs(space.lower(arch)))
        between = [drawn[round(RANDOM * part / (count - 1))] for part in range(1, count - 1)]
        return [space.smallest, *between, space.largest]

    def random(self, count: int) -> ArchBatch:
        """The first random ones."""
        return random_subnets(self.folder.space, RANDOM, SEED).take(np.arange(count))

    def hits(self, network: StaticNet, split: Split) -> Hits:
        """Which images a network classifies rightly, with statistics of the calibration images."""
        calibration = self.splits.held["calibration"].images
        size = network.net.input_shape[1]
        batches = (
            inputs(calibration[start : start + BATCH], size, self.recipe) for start in range(0, len(calibration), BATCH)
        )
        set_statistics(network, recalibrate(network.net, network.weights, batches))
        found = predictions(network.eval(), split.images, self.recipe)
        return np.asarray(found == split.labels)


def options(parser: argparse.ArgumentParser) -> None:
    """Which supernet, and where its images are."""
    parser.add_argument(
        "--supernet", type=Path, default=ROOT / "ofa_supernet/fashion-mnist", help="folder (%(default)s)"
    )
    parser.add_argument("--data", type=Path, help="its images; those of CIFAR-10 are unpacked from HWNAS_DATA")


def subject(asked_for: argparse.Namespace) -> Subject:
    """The supernet that was asked for, with its images."""
    folder = SupernetFolder(asked_for.supernet)
    data = asked_for.data
    if data is None and asked_for.supernet.name == "cifar10":
        data = cifar10(asked_for.cache / "cifar10")
    recipe = folder.recipe if data is None else folder.recipe.model_copy(update={"data": data})
    dataset = READERS[recipe.dataset](recipe.data, recipe.size, progress())
    if recipe.data_sha256 not in (None, dataset.sha256()):
        raise SystemExit(f"{recipe.data} holds other images than those that {folder.path} was trained on")
    return Subject(folder, recipe, dataset.splits(progress()))


def cache_of(asked_for: argparse.Namespace, name: str) -> Path:
    """Where trainings against these very weights are kept."""
    weights = SupernetFolder(asked_for.supernet).weights_sha256()[:8]
    return Path(asked_for.cache) / f"{name}-{'quick' if asked_for.quick else asked_for.supernet.name}-{weights}"


def write_hits(path: Path, hits: dict[str, Hits]) -> None:
    """What a network classified rightly, by split."""
    write_json(path, {name: [len(each), np.packbits(each).tobytes().hex()] for name, each in hits.items()})


def read_hits(path: Path) -> dict[str, Hits]:
    """What `write_hits` wrote."""
    found = {}
    for name, (count, packed) in json.loads(path.read_text()).items():
        found[name] = np.unpackbits(np.frombuffer(bytes.fromhex(packed), np.uint8), count=count).astype(bool)
    return found


def name_of(arch: Arch) -> str:
    """Of a file."""
    return "-".join(map(str, arch.genes))


def paired(first: Hits, second: Hits) -> Interval:
    """Of the difference in accuracy, over the same images."""
    return Interval.of(list(first.astype(float) - second.astype(float)))
