"""`train`: from a recipe to a whole supernet folder: weights, accuracy predictor, packed images, card, hashes."""

from __future__ import annotations

from pathlib import Path

from hwnas.core.errors import InputError
from hwnas.core.files import write_atomic
from hwnas.core.progress import Progress, silent
from hwnas.evaluators.predictor import AccuracyPredictor
from hwnas.ofa_supernet import folder as names
from hwnas.ofa_supernet.data import READERS, pack
from hwnas.ofa_supernet.folder import SupernetFolder
from hwnas.ofa_supernet.recipe import read_recipe
from hwnas.ofa_supernet.train import train
from hwnas.pipeline.card import supernet_card
from hwnas.pipeline.subnets import measure_subnets


def train_supernet(recipe: Path, out: Path, resume: bool = False, progress: Progress = silent) -> SupernetFolder:
    """Train the recipe's supernet into `out` and make the folder whole; every finished epoch and subnet is kept.

    Raises:
        InputError: the recipe or its data is wrong, or `out` holds another training, or a finished one that was not
            to be resumed.
    """
    if (out / names.HASHES).exists():
        finished = SupernetFolder(out)
        if resume and finished.recipe == read_recipe(recipe):
            return finished
        raise InputError(f"{out} holds a finished supernet: name another folder with --out")
    supernet = train(recipe, out, resume, progress).eval()
    made = SupernetFolder(out)
    splits = READERS[made.recipe.dataset](made.recipe.data)
    if not (out / names.IMAGES).exists():
        progress("pack", 0, 1)
        pack(splits, out / names.IMAGES)
        progress("pack", 1, 1)
    batch, accuracies = measure_subnets(made, supernet, splits, progress)
    progress("predictor", 0, 1)
    predictor = AccuracyPredictor.fit(made.space, batch, accuracies, made.recipe.seed)
    predictor.save(made.predictor_path)
    progress("predictor", 1, 1)
    write_atomic(out / names.CARD, supernet_card(made, accuracies, predictor))
    made.write_hashes()
    return made
