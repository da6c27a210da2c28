"""``hwnas train``: train a supernet."""

from __future__ import annotations

from pathlib import Path

import click

from hwnas.cli._options import json_option, quiet_stdout, show
from hwnas.cli._progress import progress


@click.command("train", short_help="Train a supernet.")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the supernet: ofa_supernet/NAME.",
)
@click.option("--resume", is_flag=True, help="Go on from the last finished epoch in DIR.")
@json_option
def command(recipe: Path, out: Path, resume: bool, as_json: bool) -> None:
    """Train a supernet by progressive shrinking, as RECIPE (a TOML file) says.

    A checkpoint is written after every epoch, so at most one epoch is lost when it is interrupted.

    \b
    Examples:
      hwnas train ofa_supernet/fashion-mnist/recipe.toml --out ofa_supernet/mine
      hwnas train ofa_supernet/fashion-mnist/recipe.toml --out ofa_supernet/mine --resume
    """
    with quiet_stdout(), progress() as report:
        from hwnas.pipeline.train import train_supernet

        train_supernet(recipe, out, resume, report)
    show({"schema": 1, "supernet": str(out)}, f"{out}: trained", as_json)
