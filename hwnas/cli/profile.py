"""``hwnas profile``: measure devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hwnas.cli._options import json_option, quiet_stdout, show, workspace_option
from hwnas.cli._progress import progress


@click.command("profile", short_help="Measure a device and build its latency table.")
@click.option("--device", "devices", metavar="NAME", multiple=True, help="A file of devices/; may be repeated.")
@workspace_option
@json_option
def command(devices: tuple[str, ...], workspace_path: Path, as_json: bool) -> int:
    """Measure a device, build its latency table, and report how well it predicts.

    Every finished measurement is kept: interrupt it at any moment, and the same command goes on where it stopped.

    \b
    Examples:
      hwnas profile
      hwnas profile --device local --json
    """
    with quiet_stdout(), progress() as report:
        from hwnas.workspace import Workspace

        workspace = Workspace(workspace_path)
        names = devices or (workspace.settings.device,)
        profiles = [workspace.profile(name, progress=report).to_json() for name in names]
    show({"schema": 1, "devices": profiles}, "\n".join(map(_text, profiles)), as_json)
    return 1 if any(profile["failed"] for profile in profiles) else 0


def _text(profile: dict[str, Any]) -> str:
    lines = [
        f"{profile['device']}: {profile['rows']} rows in {', '.join(profile['tables'])} "
        f"({profile['seconds']:.0f} s now; {profile['device_seconds']:.0f} s on the device in all)"
    ]
    lines += [f"  failed: {name}" for name in profile["failed"]]
    if profile["report_card"]:
        lines.append(
            f"  {'model':<19}{'spearman':>10}{'within 5%':>11}{'within 10%':>12}{'mape':>8}{'noise floor':>13}"
        )
    for row in profile["report_card"]:
        cells = [row["spearman"], row["within_5"], row["within_10"], row["mape"], row["noise_floor"]]
        shown = ["-" if cell is None else f"{cell:.3f}" for cell in cells]
        lines.append(f"  {row['model']:<19}{shown[0]:>10}{shown[1]:>11}{shown[2]:>12}{shown[3]:>8}{shown[4]:>13}")
    return "\n".join(lines)
