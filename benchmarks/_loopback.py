"""This very machine as a device over SSH, through a real OpenSSH server on loopback (that of `make lab`, made anew)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _common import ROOT

from hwnas.devices.profile import DeviceProfile, load_profile

sys.path.insert(0, str(ROOT / "tests"))
from ssh_lab import Server, device_toml, running

DEVICE = "lab-ssh"


@contextmanager
def lab(folder: Path) -> Iterator[tuple[Server, str]]:
    """A server, whose files are in `folder`, and the text of a device file for it."""
    with running(folder) as made:
        yield made, device_toml(made, DEVICE)


@contextmanager
def over_ssh(here: DeviceProfile, folder: Path) -> Iterator[DeviceProfile]:
    """A device that is measured as `here` is; `folder` holds the server's files."""
    with lab(folder) as (_, text):
        (folder / f"{DEVICE}.toml").write_text(text)
        shared = {"threads": here.threads, "cores": here.cores, "blocks": here.blocks}
        yield load_profile(folder / f"{DEVICE}.toml").model_copy(update=shared)
