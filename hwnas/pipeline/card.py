"""The card of a trained supernet: what it is, how it was made, what it can do."""

from __future__ import annotations

import csv
from collections.abc import Mapping

import numpy as np

from hwnas.core.additive import compile_additive
from hwnas.core.count import macs, params
from hwnas.core.metrics import Floats
from hwnas.evaluators.predictor import FitReport
from hwnas.evaluators.ranking import ENDS
from hwnas.ofa_supernet.curve import CURVE
from hwnas.ofa_supernet.folder import SupernetFolder


def supernet_card(
    folder: SupernetFolder, accuracies: Floats, report: FitReport, sizes: Mapping[str, int], tested: Mapping[str, float]
) -> str:
    """Markdown; every figure with what it was measured on.

    `sizes` are the numbers of images of the splits, `tested` the accuracies of named subnets on the test images.
    """
    recipe, space = folder.recipe, folder.space
    least, most = compile_additive(space, lambda net: float(macs(net))).range()
    ends = [params(space.lower(arch)) for arch in (space.smallest, space.largest)]
    images = min(recipe.predictor.images, sizes["predictor"])
    low, middle, high = np.percentile(accuracies, (0, 50, 100))
    told = ", ".join(f"{name} {accuracy:.1%}" for name, accuracy in tested.items())
    lines = [
        f"# {folder.path.name}",
        "",
        f"A once-for-all supernet of the space `{space.id}`, trained on {folder.dataset}.",
        "",
        "| | |",
        "|---|---|",
        f"| classes | {', '.join(recipe.labels)} |",
        f"| subnets | {least / 1e6:.2f} to {most / 1e6:.1f} M MACs, {ends[0]:,} to {ends[1]:,} parameters |",
        f"| training | {_training(folder)} |",
        f"| accuracy on the {sizes['test']:,} test images | {told} |",
        f"| accuracy of {len(accuracies)} subnets, {recipe.predictor.proposed} of them found by searches | "
        f"{low:.1%} to {high:.1%}, median {middle:.1%} (each on {images:,} of {sizes['predictor']:,} "
        "held-out training images, adjusted for how easy they are) |",
        f"| accuracy predictor | {_ranking(report)}, RMSE {100 * report.rmse:.2f} points (cross-validated) |",
        "| weights | float32; a subnet needs its batch normalisation recalibrated, which `hwnas specialize` does |",
        "",
        "`recipe.toml` is the whole recipe; `curve.csv` has one row an epoch; `subnets.jsonl` is what the predictor",
        f"was fitted on. {_images(folder, sizes)}",
        "",
    ]
    if recipe.about:
        lines += [recipe.about, ""]
    return "\n".join(lines)


def _training(folder: SupernetFolder) -> str:
    """Epochs, stages, hours, and on what."""
    with (folder.path / CURVE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    hours = sum(float(row["seconds"]) for row in rows) / 3600
    stages = [
        f"{stage.name} {stage.epochs}{' by the sandwich rule' if stage.sandwich else ''}"
        for stage in folder.recipe.stage
    ]
    hardware = dict.fromkeys(row["hardware"] for row in rows if row.get("hardware"))
    where = f" on {' and '.join(hardware)}" if hardware else ""
    return f"{len(rows)} epochs ({', '.join(stages)}), {hours:.1f} hours{where}"


def _ranking(report: FitReport) -> str:
    """What is known of the predictor's order; models of earlier versions know less."""
    told = f"Kendall's tau {report.kendall_tau:.3f}"
    if report.kendall_tau_better_half is None or report.top_tenth is None or report.bottom_tenth is None:
        return told
    return (
        f"{told}, among the better half {report.kendall_tau_better_half:.3f}; finds {report.top_tenth:.0%} of the best "
        f"{ENDS:.0%} and {report.bottom_tenth:.0%} of the worst"
    )


def _images(folder: SupernetFolder, sizes: Mapping[str, int]) -> str:
    parts = (
        f"{sizes['test']:,} test images, {sizes['calibration']:,} training images for calibration and "
        f"{sizes['choice']:,} held-out training images for choosing among finalists"
    )
    if folder.packed:
        return f"`images.safetensors.xz` holds the {parts}."
    return f"The images are not here: `hwnas specialize` takes {parts} from the folder that `--data` names."
