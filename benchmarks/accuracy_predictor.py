"""How well does the accuracy predictor order subnets that it has not seen? Both shipped supernets, random subnets.

Every random subnet of a supernet's journal is predicted by a predictor fitted without its fold, the subnets that
searches found among those it is fitted to. Kendall's tau over all, and within the better half.

What is measured of a subnet is noisy, and no predictor can follow noise. How noisy it is shows where each subnet's
accuracy is worked out from either half of its images: `reliability` is the correlation of the whole measurement with
another like it (Spearman and Brown, 1910), `ceiling` Kendall's tau between the measured and the true accuracies, if
both are normal (2 / pi arcsin of their correlation: Kendall, Rank Correlation Methods, 1948, section 9.4).
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from _common import ROOT, finish, markdown, parser
from numpy.typing import NDArray

from hwnas.core.arch import Arch, ArchBatch
from hwnas.core.files import read_lines
from hwnas.core.metrics import Floats
from hwnas.evaluators.predictor import AccuracyPredictor
from hwnas.evaluators.ranking import Ranking
from hwnas.ofa_supernet.folder import SUBNETS, SupernetFolder
from hwnas.pipeline.judge import rows
from hwnas.pipeline.subnets import comparable

NAME = "accuracy_predictor"
FOLDS = 10
QUICK_FOLDS, QUICK_SUBNETS = 2, 60


def journal(folder: SupernetFolder) -> tuple[ArchBatch, NDArray[np.int64], NDArray[np.bool_]]:
    """N architectures in the order in which they were drawn, the images that each saw, and what it got right."""
    lines = sorted(read_lines(folder.path / SUBNETS), key=lambda line: int(line["draw"]))
    archs = ArchBatch.of([Arch(folder.space.id, tuple(line["genes"])) for line in lines])
    seen = np.array([rows(line["draw"], line["images"], line["of"]) for line in lines])
    packed = [np.frombuffer(bytes.fromhex(line["hits"]), np.uint8) for line in lines]
    hits = np.array([np.unpackbits(bits, count=line["images"]) for bits, line in zip(packed, lines, strict=True)])
    return archs, seen, hits.astype(bool)


def out_of_fold(folder: SupernetFolder, archs: ArchBatch, accuracies: Floats, random: int, folds: int) -> Floats:
    """Predictions for the first `random` architectures, each by a predictor that has not seen it."""
    fold = np.random.default_rng(0).permutation(random) % folds
    predicted = np.zeros(random)
    for index in range(folds):
        unseen = np.flatnonzero(fold == index)
        seen = np.setdiff1d(np.arange(len(archs)), unseen)
        model = AccuracyPredictor.fit(folder.space, archs.take(seen), accuracies[seen], folder.recipe.seed)
        predicted[unseen] = model.evaluate(archs.take(unseen))
    return predicted


def reliability(seen: NDArray[np.int64], hits: NDArray[np.bool_], random: int) -> float:
    """Correlation of the measured accuracies of the random subnets with others measured like them."""
    parts = [comparable(seen[:, start::2], hits[:, start::2])[:random] for start in (0, 1)]
    halves = float(np.asarray(np.corrcoef(parts))[0, 1])
    return 2 * halves / (1 + halves)


def looked_at(path: Path, quick: bool) -> dict[str, Any]:
    """The figures of one supernet."""
    folder = SupernetFolder(path)
    archs, seen, hits = journal(folder)
    random = folder.recipe.predictor.subnets - folder.recipe.predictor.proposed
    accuracies = comparable(seen, hits)
    if quick:
        kept = np.arange(min(QUICK_SUBNETS, random))
        archs, accuracies, random = archs.take(kept), accuracies[kept], len(kept)
    predicted = out_of_fold(folder, archs, accuracies, random, QUICK_FOLDS if quick else FOLDS)
    figures: dict[str, Any] = {"supernet": path.name, "random": random, "searched": len(archs) - random}
    figures |= asdict(Ranking.of(predicted, accuracies[:random]))
    figures["std"] = float(accuracies[:random].std())
    figures["reliability"] = known = reliability(seen, hits, random)
    figures["ceiling"] = float(2 / np.pi * np.arcsin(np.sqrt(max(0.0, known))))
    return figures


def main() -> None:
    asked_for = parser(__doc__)
    asked_for.add_argument("--supernet", type=Path, action="append", help="folder; all shipped ones by default")
    given = asked_for.parse_args()
    shipped = [ROOT / "ofa_supernet" / name for name in ("fashion-mnist", "cifar10")]
    figures = [
        looked_at(path, given.quick)
        for path in given.supernet or [path for path in shipped if (path / SUBNETS).exists()]
    ]
    header = ("supernet", "random subnets", "std, points", "tau", "better half", "ceiling", "P@top 10%", "P@bottom 10%")
    cells = [
        [
            row["supernet"],
            row["random"],
            f"{100 * row['std']:.2f}",
            f"{row['kendall_tau']:.3f}",
            f"{row['kendall_tau_better_half']:.3f}",
            f"{row['ceiling']:.3f}",
            f"{row['top_tenth']:.0%}",
            f"{row['bottom_tenth']:.0%}",
        ]
        for row in figures
    ]
    finish(given, NAME, {"supernets": figures}, [markdown(header, cells)])


if __name__ == "__main__":
    main()
