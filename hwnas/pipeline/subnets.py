"""Accuracies of sampled subnets, which the accuracy predictor is fitted on: a line a subnet, in a journal.

Each subnet is measured on images of its own. On the same images for all, what merely suits those images would look like
skill, and a search over thousands of candidates finds just that. That some draw easier images than others is taken out
again by `comparable`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hwnas.core.arch import Arch, ArchBatch
from hwnas.core.files import append_line, read_lines
from hwnas.core.genetics import sample, unique
from hwnas.core.metrics import Floats
from hwnas.core.progress import Progress
from hwnas.evaluators.predictor import AccuracyPredictor
from hwnas.ofa_supernet import folder as names
from hwnas.ofa_supernet.data import Split
from hwnas.ofa_supernet.folder import SupernetFolder
from hwnas.ofa_supernet.network import OfaSupernet
from hwnas.pipeline.judge import Asked, Hits, Judge, rows
from hwnas.pipeline.proposals import proposed
from hwnas.pipeline.spread import Spread
from hwnas.strategies.sampling import joined

SWEEPS = 10
"""Of the alternation in `comparable`; with 400 subnets on 1,500 of 6,000 images each, three are within 1e-6 of many."""

ROUNDS = 2
"""Of searching with what is known and measuring what was found; the second knows where the first was too hopeful."""


def measure_subnets(
    made: SupernetFolder, supernet: OfaSupernet, splits: Mapping[str, Split], spread: Spread, progress: Progress
) -> tuple[ArchBatch, Floats]:
    """Measure random subnets, then such as searches find, through a journal; N architectures, N accuracies.

    A predictor is fitted on what is measured and searched with, `ROUNDS` times; each time what it finds is measured.
    """
    recipe = made.recipe
    wanted = recipe.predictor
    held_out = splits["predictor"]
    images = min(wanted.images, len(held_out))
    calibration = splits["calibration"].images[: wanted.calibration_images]
    judge = Judge(supernet, recipe, calibration, held_out, images)
    journal = _Journal(made, judge, spread, partial(progress, "subnets"), wanted.subnets)
    batch = _sampled(made, wanted.subnets - wanted.proposed)
    accuracies = journal.measure(batch)
    for number in range(1, ROUNDS + 1):
        count = wanted.proposed * number // ROUNDS - wanted.proposed * (number - 1) // ROUNDS
        if count:
            predictor = AccuracyPredictor.fit(made.space, batch, accuracies, recipe.seed)
            new = proposed(made.space, predictor, batch, count, np.random.default_rng([recipe.seed, number]))
            batch = joined([batch, new])
            accuracies = journal.measure(batch)
    return batch, accuracies


class _Journal:
    """What is measured already, and the measuring of what is not."""

    def __init__(
        self, made: SupernetFolder, judge: Judge, spread: Spread, progress: Callable[[int, int], None], total: int
    ) -> None:
        self._path = made.path / names.SUBNETS
        self._judge = judge
        self._spread = spread
        self._progress = progress
        self._total = total
        self._setting = {
            "images": judge.images,
            "of": len(judge.held_out),
            "calibration": len(judge.calibration),
            "weights": made.weights_sha256(),
        }
        self._known = {
            Asked(Arch(made.space.id, tuple(line["genes"])), line["draw"]): _unpacked(line["hits"], judge.images)
            for line in read_lines(self._path)
            if {key: line.get(key) for key in self._setting} == self._setting
        }

    def measure(self, batch: ArchBatch) -> Floats:
        """Accuracies of N architectures; the n-th sees the n-th draw of images."""
        asked = [Asked(arch, draw) for draw, arch in enumerate(batch)]
        missing = [one for one in asked if one not in self._known]
        done = len(asked) - len(missing)
        self._progress(done, self._total)
        for one, hits in self._spread(self._judge, missing):
            line = {"genes": list(one.arch.genes), "accuracy": float(hits.mean()), "draw": one.draw}
            append_line(self._path, line | {"hits": np.packbits(hits).tobytes().hex()} | self._setting)
            self._known[one] = hits
            done += 1
            self._progress(done, self._total)
        seen = np.array([rows(one.draw, self._judge.images, len(self._judge.held_out)) for one in asked])
        return comparable(seen, np.array([self._known[one] for one in asked]))


def _sampled(made: SupernetFolder, count: int) -> ArchBatch:
    """The smallest, the largest, and distinct random ones."""
    ends = ArchBatch.of([made.space.smallest, made.space.largest])
    drawn = sample(made.space, 2 * count, np.random.default_rng(made.recipe.seed))
    return unique(joined([ends, drawn])).take(np.arange(count))


def _unpacked(text: str, images: int) -> Hits:
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8), count=images).astype(np.bool_)


def comparable(seen: NDArray[np.int64], hits: Hits) -> Floats:
    """Accuracies as if each of N subnets had seen all images: both are N x M, `seen` numbers the images.

    A hit is taken as the subnet's skill plus the image's ease, without interaction (a two-way layout, by alternation),
    and the average ease is added to every skill. An ease is drawn towards the average as by one view more, so that
    images that hardly anybody else saw still say something about a subnet.
    """
    views = np.bincount(seen.ravel())
    ease = np.zeros(len(views))
    for _ in range(SWEEPS):
        skill = (hits - ease[seen]).mean(axis=1)
        ease = np.bincount(seen.ravel(), (hits - skill[:, None]).ravel()) / (views + 1)
    return np.asarray(skill + ease[views > 0].mean())
