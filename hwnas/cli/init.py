"""``hwnas init``: make a workspace."""

from __future__ import annotations

from pathlib import Path

import click

from hwnas.cli._options import json_option, quiet_stdout, show


@click.command("init", short_help="Make a workspace.")
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
def command(folder: Path, as_json: bool) -> None:
    """Make a workspace in FOLDER, which is new or empty.

    It holds settings, the device file of this machine and a trained supernet: everything that specialize needs.

    \b
    Example:
      hwnas init ws && cd ws && hwnas specialize --latency 2ms
    """
    with quiet_stdout():
        from hwnas.workspace import Workspace

        workspace = Workspace.init(folder)
    text = f"{workspace.path}: a new workspace; go on with 'cd {workspace.path} && hwnas specialize --latency 2ms'"
    show({"schema": 1, "workspace": str(workspace.path)}, text, as_json)
