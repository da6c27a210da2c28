"""`train`: from a recipe to a whole supernet folder: weights, accuracy predictor, packed images, card, hashes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hwnas.core.arch import ArchBatch
from hwnas.core.errors import InputError
from hwnas.core.files import append_line, read_lines, write_atomic
from hwnas.core.genetics import sample, unique
from hwnas.core.images import Preprocessing
from hwnas.core.progress import Progress, silent
from hwnas.evaluators.predictor import AccuracyPredictor
from hwnas.export.onnx import build
from hwnas.export.verify import accuracy
from hwnas.ofa_supernet import folder as names
from hwnas.ofa_supernet.data import READERS, Split, pack
from hwnas.ofa_supernet.evaluate import recalibrated
from hwnas.ofa_supernet.folder import SupernetFolder
from hwnas.ofa_supernet.network import OfaSupernet
from hwnas.ofa_supernet.recipe import read_recipe
from hwnas.ofa_supernet.train import train
from hwnas.pipeline.card import supernet_card


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
        pack(splits, out / names.IMAGES)
    batch, accuracies = measure_subnets(made, supernet, splits, progress)
    predictor = AccuracyPredictor.fit(made.space, batch, accuracies, made.recipe.seed)
    predictor.save(made.predictor_path)
    write_atomic(out / names.CARD, supernet_card(made, accuracies, predictor))
    made.write_hashes()
    return made


def measure_subnets(
    made: SupernetFolder, supernet: OfaSupernet, splits: dict[str, Split], progress: Progress
) -> tuple[ArchBatch, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Sample subnets and measure each on held-out training images, through a journal; N architectures, N accuracies."""
    wanted = made.recipe.predictor
    rng = np.random.default_rng(made.recipe.seed)
    ends = ArchBatch.of([made.space.smallest, made.space.largest])
    drawn = sample(made.space, 2 * wanted.subnets, rng)
    batch = unique(ArchBatch(made.space.id, np.concatenate([ends.genes, drawn.genes])))
    batch = batch.take(np.arange(wanted.subnets))
    journal = made.path / names.SUBNETS
    known = {tuple(line["genes"]): float(line["accuracy"]) for line in read_lines(journal)}
    held_out = splits["predictor"].take(np.arange(min(wanted.images, len(splits["predictor"]))))
    calibration = splits["calibration"].images[: wanted.calibration_images]
    for index, arch in enumerate(batch):
        progress("subnets", index, len(batch))
        if arch.genes in known:
            continue
        network = recalibrated(supernet, arch, calibration, made.recipe)
        weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
        resolution = network.net.input_shape[1]
        preprocessing = Preprocessing(resolution, tuple(made.recipe.mean), tuple(made.recipe.std))
        # The exported file is three times as fast as the torch module, and it is what will be handed over.
        top1 = accuracy(build(network.net, weights), held_out.images, held_out.labels, preprocessing).top1
        append_line(journal, {"genes": list(arch.genes), "accuracy": top1, "images": len(held_out)})
        known[arch.genes] = top1
    progress("subnets", len(batch), len(batch))
    return batch, np.array([known[arch.genes] for arch in batch])
