"""``hwnas check``: check a workspace offline."""

from __future__ import annotations

from pathlib import Path

import click

from hwnas.cli._options import json_option, quiet_stdout, show, workspace_option


@click.command("check", short_help="Check every file of the workspace, offline.")
@workspace_option
@json_option
def command(workspace_path: Path, as_json: bool) -> int:
    """Check every file of the workspace, offline.

    Settings, devices, tables, latency models, journals of measurements, supernets and packages. The exit code is 1 if
    any file is broken; each is named with what is wrong.

    \b
    Example:
      hwnas check --workspace ws
    """
    with quiet_stdout():
        from hwnas.workspace import Workspace

        report = Workspace(workspace_path).check()
    marks = {True: "ok", False: "BROKEN"}
    lines = [f"{marks[item.ok]:<8}{item.kind:<10}{item.path}  {item.detail}".rstrip() for item in report.items]
    show(report.to_json(), "\n".join(lines), as_json)
    return 0 if report.holds else 1
