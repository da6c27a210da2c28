"""``hwnas train``: train a supernet."""

from __future__ import annotations

import os
from pathlib import Path

import click

from hwnas.cli._options import json_option, quiet_stdout, show
from hwnas.cli._progress import progress
from hwnas.core.progress import silent


@click.command("train", short_help="Train a supernet.")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the supernet: ofa_supernet/NAME.",
)
@click.option(
    "--data",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Train on these images in place of the recipe's: train/CLASS/*.jpg and val/CLASS/*.jpg.",
)
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in DIR, a minute old at most.")
@click.option(
    "--accelerator",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="What to train on; auto takes CUDA where torch sees it.",
)
@click.option(
    "--ray",
    metavar="ADDRESS",
    help="Measure subnets for the predictor on a Ray cluster: its address, auto, or local to start one here.",
)
@json_option
def command(
    recipe: Path, out: Path, data: Path | None, resume: bool, accelerator: str, ray: str | None, as_json: bool
) -> None:
    """Train a supernet as RECIPE (a TOML file) says, on one machine or, started by torchrun, on many.

    A checkpoint is written every minute and after every epoch; a training that was killed goes on with --resume and
    ends with the same weights.

    \b
    Examples:
      hwnas train ofa_supernet/fashion-mnist/recipe.toml --out ofa_supernet/mine
      hwnas train docs/recipes/cifar10.toml --data pets --out ofa_supernet/pets
      torchrun --nproc-per-node 2 -m hwnas.cli train pets.toml --out ofa_supernet/pets
    """
    first = os.environ.get("RANK", "0") == "0"
    with quiet_stdout(), progress() as report:
        from hwnas.pipeline.spread import local, over_ray
        from hwnas.pipeline.train import train_supernet

        spread = local if ray is None else over_ray(ray)
        train_supernet(recipe, out, resume, data, accelerator, spread, report if first else silent)
    if first:
        show({"schema": 1, "supernet": str(out)}, f"{out}: trained", as_json)
