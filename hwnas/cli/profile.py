"""``hwnas profile``: measure devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hwnas.cli._options import json_option, quiet_stdout, show, supernet_option, workspace_option
from hwnas.cli._progress import progress
from hwnas.cli.report import card_lines, disturbed_lines


@click.command("profile", short_help="Measure a device and build its latency table.")
@click.option(
    "--device", "devices", metavar="NAME", multiple=True, help="A file of devices/; several: a,b,c, or repeated."
)
@click.option("--all", "every", is_flag=True, help="Every file of devices/.")
@supernet_option
@click.option("--budget", metavar="TIME", help="Measure about so long, the most telling blocks first: 20min, 90s.")
@click.option("--strict", is_flag=True, help="Keep nothing that other programs, guests or heat disturbed.")
@workspace_option
@json_option
def command(
    devices: tuple[str, ...],
    every: bool,
    supernet: str | None,
    budget: str | None,
    strict: bool,
    workspace_path: Path,
    as_json: bool,
) -> int:
    """Measure a device, build its latency table, and report how well it predicts.

    The table is of the blocks that a supernet's space has; neither the supernet's weights nor its images are needed.
    Every finished measurement is kept: interrupt it at any moment, and the same command goes on where it stopped.
    Several devices are measured side by side, and those that are the same are compared.

    \b
    Examples:
      hwnas profile
      hwnas profile --device pixel,jetson --json
      hwnas profile --device raspberry-pi --budget 10min
      hwnas profile --supernet ofa-mbv3-w1.0
    """
    if every and devices:
        raise click.UsageError("give --device or --all, not both")
    with quiet_stdout(), progress() as report:
        from hwnas.core.errors import InputError
        from hwnas.workspace import Workspace

        workspace = Workspace(workspace_path)
        named = tuple(dict.fromkeys(name for text in devices for name in text.split(",")))
        names = tuple(workspace.device_names()) if every else named or (workspace.settings.device,)
        if not names:
            raise InputError(f"no device files in {workspace.devices_folder}: write one (docs/devices.md says how)")
        for name in names:
            workspace.device_file(name)  # a name that is none is told before anything is measured
        fleet = workspace.profile_fleet(names, supernet=supernet, budget=budget, strict=strict, progress=report)
    document = fleet.to_json()
    text = [*map(_text, document["devices"]), *map(_units, document["units"])]
    show(document, "\n".join(text), as_json)
    return fleet.exit_code


def _units(units: dict[str, Any]) -> str:
    first, second = units["devices"]
    verdict = "agree" if units["agree"] else "differ: a table of one does not serve the other"
    return (
        f"{first} and {second} are the same model and {verdict}; {second} takes {units['median_ratio']:.3f} times as "
        f"long ({units['low']:.3f} to {units['high']:.3f} for nine rows in ten, {units['rows']} rows)"
    )


def _text(profile: dict[str, Any]) -> str:
    if "error" in profile:
        return f"{profile['device']}: not profiled: {profile['error']}"
    simulated = profile["device_kind"] == "simulator"
    how = "simulated" if simulated else "measured"
    busy = "simulated, nothing was measured" if simulated else f"{profile['device_seconds']:.0f} s on the device in all"
    lines = [
        f"{profile['device']}: {profile['rows']}{' simulated' * simulated} rows in {', '.join(profile['tables'])} "
        f"({profile['seconds']:.0f} s now; {busy})"
    ]
    if profile["drift"]:
        lines.append(f"  the machine's speed drifted by {profile['drift']:.1%}, which is taken out")
    if profile["within"]:
        lines.append(f"  measured again, nine of ten rows' medians fall within {profile['within']:.1%}")
    lines += [f"  {line}" for line in disturbed_lines(profile)]
    if profile["estimated"]:
        rest = profile["rows"] - profile["estimated"]
        lines.append(
            f"  {rest} rows are {how}, {profile['estimated']} estimated from them: without --budget all are {how}"
        )
    lines += [f"  failed: {name}" for name in profile["failed"]]
    lines += [f"  {line}" for line in card_lines(profile)]
    return "\n".join(lines)
