"""The card of a trained supernet: what it is, how it was made, what it can do."""

from __future__ import annotations

import csv

import numpy as np

from hwnas.core.additive import compile_additive
from hwnas.core.count import macs, params
from hwnas.core.metrics import Floats
from hwnas.evaluators.predictor import AccuracyPredictor
from hwnas.ofa_supernet.curve import CURVE
from hwnas.ofa_supernet.data import PREDICTOR_IMAGES
from hwnas.ofa_supernet.folder import SupernetFolder


def supernet_card(folder: SupernetFolder, accuracies: Floats, predictor: AccuracyPredictor) -> str:
    """Markdown; every figure with what it was measured on."""
    recipe, space = folder.recipe, folder.space
    least, most = compile_additive(space, lambda net: float(macs(net))).range()
    ends = [params(space.lower(arch)) for arch in (space.smallest, space.largest)]
    with (folder.path / CURVE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    hours = sum(float(row["seconds"]) for row in rows) / 3600
    images = min(recipe.predictor.images, PREDICTOR_IMAGES)
    report = predictor.report
    low, middle, high = np.percentile(accuracies, (0, 50, 100))
    lines = [
        f"# {folder.path.name}",
        "",
        f"A once-for-all supernet of the space `{space.id}`, trained on {recipe.dataset}.",
        "",
        "| | |",
        "|---|---|",
        f"| classes | {', '.join(recipe.labels)} |",
        f"| subnets | {least / 1e6:.2f} to {most / 1e6:.1f} M MACs, {ends[0]:,} to {ends[1]:,} parameters |",
        f"| training | {len(rows)} epochs in {len(recipe.stage)} stages of progressive shrinking, {hours:.1f} hours |",
        f"| accuracy of {len(accuracies)} subnets, {recipe.predictor.proposed} of them found by searches | "
        f"{low:.1%} to {high:.1%}, median {middle:.1%} "
        f"(each on {images:,} of {PREDICTOR_IMAGES:,} held-out training images, adjusted for how easy they are) |",
        f"| accuracy predictor | Kendall's tau {report.kendall_tau:.3f}, RMSE {100 * report.rmse:.2f} points "
        "(cross-validated) |",
        "| weights | float32; a subnet needs its batch normalisation recalibrated, which `hwnas specialize` does |",
        "",
        "`recipe.toml` is the whole recipe; `curve.csv` has one row an epoch; `subnets.jsonl` is what the predictor",
        "was fitted on; `images.safetensors.xz` holds the test images, 2,000 training images for calibration and 3,000",
        "held-out training images for choosing among finalists.",
        "",
        "Train one like it: `hwnas train ofa_supernet/fashion-mnist/recipe.toml --out ofa_supernet/mine`.",
        "",
        "Fashion-MNIST: Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747, MIT licence.",
        "",
    ]
    return "\n".join(lines)
