"""Workspaces of a benchmark's own: nothing that was measured before, and device files that it writes itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hwnas.core.files import write_atomic
from hwnas.workspace import DEVICES, SETTINGS, SUPERNETS, Workspace

QUICK_RULES = """
[blocks]
rounds = 2
min_samples = 4
min_seconds = 0.001
warm_up_max_seconds = 0.02
[networks]
rounds = 2
min_samples = 6
min_seconds = 0.01
warm_up_max_seconds = 0.1
"""
"""Of a quick run: the end of a device file."""


def own_workspace(source: Workspace, target: Path, subnets: int, devices: Mapping[str, str]) -> Workspace:
    """A workspace that measures `subnets` networks of the default supernet of `source`; `devices` are files by name.

    The supernets, which nothing writes, are linked. What a workspace at `target` has measured stays.
    """
    settings = f'supernet = "{source.settings.supernet}"\n[measure]\nsubnets = {subnets}\n'
    write_atomic(target / SETTINGS, settings)
    for name, text in devices.items():
        write_atomic(target / DEVICES / f"{name}.toml", text)
    if not (target / SUPERNETS).is_symlink():
        (target / SUPERNETS).symlink_to(source.supernets_folder.resolve(), target_is_directory=True)
    return Workspace(target)


def local_toml(threads: int, rules: str = "") -> str:
    """The file of this machine as a device called `local`."""
    return f'name = "local"\nkind = "local"\nthreads = {threads}\n{rules}'
