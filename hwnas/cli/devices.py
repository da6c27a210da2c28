"""``hwnas devices``: what can be measured, and whether it works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hwnas.cli._options import json_option, quiet_stdout, show, workspace_option


@click.group("devices", short_help="List devices; check, trust and clean them.", invoke_without_command=True)
@workspace_option
@json_option
@click.pass_context
def command(context: click.Context, workspace_path: Path, as_json: bool) -> None:
    """List the devices of the workspace, each with what is probed on it.

    \b
    Examples:
      hwnas devices --json
      hwnas devices check pixel
    """
    if context.invoked_subcommand is not None:
        given = context.get_parameter_source("workspace_path") is click.core.ParameterSource.COMMANDLINE
        if given or as_json:
            raise click.UsageError(f"give --workspace and --json after {context.invoked_subcommand}", context)
        return
    with quiet_stdout():
        from hwnas.workspace import Workspace

        workspace = Workspace(workspace_path)
        devices = [_device(name, workspace.device_file(name)) for name in workspace.device_names()]
    text = "\n".join(map(_text, devices)) or f"no device files in {workspace.devices_folder}"
    show({"schema": 1, "devices": devices}, text, as_json)


@command.command("check", short_help="Say in order what works and what to do about the rest.")
@click.argument("name")
@workspace_option
@json_option
def check(name: str, workspace_path: Path, as_json: bool) -> int:
    """Say in order what works on a device, and what to do about the rest.

    The exit code is 3 where the device cannot be measured; advice alone does not change it.

    \b
    Example:
      hwnas devices check pixel
    """
    with quiet_stdout():
        from hwnas.pipeline.device_check import check_device

        profile = _profile(workspace_path, name)
        steps = list(check_device(profile))
    works = all(step.state != "fails" for step in steps)
    told = {"schema": 1, "device": name, "device_kind": profile.device_kind, "works": works}
    document = {**told, "steps": [step.to_json() for step in steps]}
    verb = "simulated" if profile.simulated else "measured"
    lines = [f"{step.state:<8}{step.name:<12}{step.detail}" for step in steps]
    show(document, "\n".join([*lines, f"{name} {'can' if works else 'cannot'} be {verb}"]), as_json)
    return 0 if works else 3


@command.command("trust", short_help="Record a device's host key.")
@click.argument("name")
@click.option("--replace", is_flag=True, help="Take the place of a key that is recorded already.")
@workspace_option
@json_option
def trust(name: str, replace: bool, workspace_path: Path, as_json: bool) -> None:
    """Record the host key that a device shows now; compare the fingerprint with what the device itself says.

    \b
    Example:
      hwnas devices trust pixel
    """
    with quiet_stdout():
        from hwnas.devices.care import trust

        text = trust(_profile(workspace_path, name), replace)
    show({"schema": 1, "device": name, "trusted": text}, text, as_json)


@command.command("clean", short_help="Remove what the toolkit keeps on a device.")
@click.argument("name")
@workspace_option
@json_option
def clean(name: str, workspace_path: Path, as_json: bool) -> None:
    """Remove the runners that are kept on a device; the next measurement sends one again.

    \b
    Example:
      hwnas devices clean pixel
    """
    with quiet_stdout():
        from hwnas.devices.care import clean

        freed = clean(_profile(workspace_path, name))
    show({"schema": 1, "device": name, "freed_bytes": freed}, f"{name}: {freed:,} bytes freed", as_json)


def _profile(workspace_path: Path, name: str) -> Any:
    from hwnas.devices.profile import load_profile
    from hwnas.workspace import Workspace

    return load_profile(Workspace(workspace_path).device_file(name))


def _device(name: str, file: Path) -> dict[str, Any]:
    from hwnas.core.errors import DeviceError, InputError
    from hwnas.devices.profile import load_profile
    from hwnas.pipeline.opening import open_device

    written, facts, error = None, None, None
    try:
        profile = load_profile(file)
        written = profile.model_dump(mode="json", exclude_unset=True)
        with open_device(profile) as device:
            facts = device.facts()
    except (DeviceError, InputError) as problem:  # such a device is listed, and does not hide the others
        error = str(problem)
    return {"device": name, "file": str(file), "profile": written, "facts": facts, "error": error}


def _text(device: dict[str, Any]) -> str:
    lines = [f"{device['device']}  ({device['file']})"]
    if device["error"]:
        lines.append(f"  cannot be used: {device['error']}")
    lines += [f"  {key:<16}{value}" for key, value in (device["facts"] or {}).items() if key not in ("device", "rules")]
    return "\n".join(lines)
