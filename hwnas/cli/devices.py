"""``hwnas devices``: what can be measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hwnas.cli._options import json_option, quiet_stdout, show, workspace_option


@click.command("devices", short_help="List devices and what is probed on them.")
@workspace_option
@json_option
def command(workspace_path: Path, as_json: bool) -> None:
    """List the devices of the workspace, each with what is probed on it.

    \b
    Example:
      hwnas devices --json
    """
    with quiet_stdout():
        from hwnas.workspace import Workspace

        workspace = Workspace(workspace_path)
        devices = [_device(workspace.device_file(name)) for name in workspace.device_names()]
    text = "\n".join(map(_text, devices)) or f"no device files in {workspace.devices_folder}"
    show({"schema": 1, "devices": devices}, text, as_json)


def _device(file: Path) -> dict[str, Any]:
    from hwnas.core.errors import DeviceError
    from hwnas.devices.device import open_device
    from hwnas.devices.profile import load_profile

    profile = load_profile(file)
    facts, error = None, None
    try:
        with open_device(profile) as device:
            facts = device.facts()
    except DeviceError as problem:  # a device that is away is listed as such, and does not hide the others
        error = str(problem)
    written = profile.model_dump(mode="json", exclude_unset=True)
    return {"device": profile.name, "file": str(file), "profile": written, "facts": facts, "error": error}


def _text(device: dict[str, Any]) -> str:
    lines = [f"{device['device']}  ({device['file']})"]
    if device["error"]:
        lines.append(f"  cannot be reached: {device['error']}")
    lines += [f"  {key:<16}{value}" for key, value in (device["facts"] or {}).items() if key not in ("device", "rules")]
    return "\n".join(lines)
