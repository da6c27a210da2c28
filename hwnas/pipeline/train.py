"""`train`: from a recipe to a whole supernet folder: weights, accuracy predictor, packed images, card, hashes."""

from __future__ import annotations

from pathlib import Path

from hwnas.core.errors import InputError
from hwnas.core.files import refuse_no_folder, write_atomic
from hwnas.core.progress import Progress, silent
from hwnas.evaluators.predictor import AccuracyPredictor
from hwnas.ofa_supernet import folder as names
from hwnas.ofa_supernet.asked import asked
from hwnas.ofa_supernet.data import pack
from hwnas.ofa_supernet.folder import SupernetFolder
from hwnas.ofa_supernet.ranks import open_ranks
from hwnas.ofa_supernet.recipe import parse_recipe
from hwnas.ofa_supernet.train import train
from hwnas.pipeline.card import supernet_card
from hwnas.pipeline.spread import Spread, local
from hwnas.pipeline.subnets import measure_subnets


def train_supernet(
    recipe: Path,
    out: Path,
    resume: bool = False,
    data: Path | None = None,
    accelerator: str = "auto",
    spread: Spread = local,
    progress: Progress = silent,
) -> SupernetFolder:
    """Train the recipe's supernet into `out` and make the folder whole; what is finished is kept.

    `data` is a folder of images in place of the recipe's data set. Where `torchrun` started several processes, all
    train and the first does the rest, on the machines that `spread` knows of.

    Raises:
        InputError: the recipe or its data is wrong, or `out` holds another training, or a finished one that was not
            to be resumed.
    """
    finished = (out / names.HASHES).exists()
    if finished and not resume:
        raise InputError(f"{out} holds a finished supernet: name another folder with --out")
    refuse_no_folder(out)
    ranks = open_ranks(accelerator)
    text, splits = asked(recipe, data, progress)
    made = SupernetFolder(out)
    if finished:
        wanted = parse_recipe(text, recipe)
        if made.recipe.trains_like(wanted) and made.recipe.predictor == wanted.predictor:
            return made
        raise InputError(f"{out} holds a finished supernet of another recipe: name another folder with --out")
    supernet = train(text, splits, out, resume, progress, ranks).cpu().eval()
    if ranks.rank:
        return made
    if made.packed and not (out / names.IMAGES).exists():
        progress("pack", 0, 1)
        pack(splits.held, out / names.IMAGES)
        progress("pack", 1, 1)
    batch, accuracies = measure_subnets(made, supernet, splits.held, spread, progress)
    progress("predictor", 0, 1)
    predictor = AccuracyPredictor.fit(made.space, batch, accuracies, made.recipe.seed)
    predictor.save(made.predictor_path)
    progress("predictor", 1, 1)
    write_atomic(out / names.CARD, supernet_card(made, accuracies, predictor))
    made.write_hashes()
    return made
