"""`train`: from a recipe to a whole supernet folder: weights, accuracy predictor, packed images, card, hashes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from hwnas.core.errors import InputError
from hwnas.core.files import refuse_no_folder, write_atomic
from hwnas.core.progress import Progress, silent
from hwnas.devices.runner.facts import cpu_model
from hwnas.evaluators.predictor import AccuracyPredictor
from hwnas.ofa_supernet import folder as names
from hwnas.ofa_supernet.asked import asked
from hwnas.ofa_supernet.data import Split, pack
from hwnas.ofa_supernet.folder import SupernetFolder
from hwnas.ofa_supernet.network import OfaSupernet
from hwnas.ofa_supernet.ranks import Ranks, open_ranks
from hwnas.ofa_supernet.recipe import parse_recipe
from hwnas.ofa_supernet.train import train
from hwnas.pipeline.card import supernet_card
from hwnas.pipeline.judge import Asked, Judge
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
        if not made.recipe.trains_like(wanted):
            raise InputError(f"{out} holds a finished supernet of another recipe: name another folder with --out")
        if made.recipe.predictor == wanted.predictor:
            return made
        if ranks.rank == 0:
            (out / names.HASHES).unlink(missing_ok=True)
    supernet = train(text, splits, out, resume, progress, ranks, _hardware(ranks)).cpu().eval()
    made = SupernetFolder(out)  # whose recipe may have another [predictor] than before
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
    sizes = {name: len(split) for name, split in splits.held.items()}
    tested = _tested(made, supernet, splits.held)
    write_atomic(out / names.CARD, supernet_card(made, accuracies, predictor.report, sizes, tested))
    made.write_hashes()
    return made


def _tested(made: SupernetFolder, supernet: OfaSupernet, held: Mapping[str, Split]) -> dict[str, float]:
    """Accuracies of the smallest and of the largest subnet on the test images, as exported."""
    test = held["test"]
    judge = Judge(supernet, made.recipe, held["calibration"].images, test, len(test))
    ends = {"smallest": made.space.smallest, "largest": made.space.largest}
    return {name: float(judge.hits(Asked(arch, 0)).mean()) for name, arch in ends.items()}


def _hardware(ranks: Ranks) -> str:
    """On what an epoch runs, as its time depends on it."""
    cuda = ranks.device.type == "cuda"
    each = torch.cuda.get_device_name(ranks.device) if cuda else f"{cpu_model()}, {torch.get_num_threads()} threads"
    return each if ranks.world == 1 else f"{ranks.world} x {each}"
