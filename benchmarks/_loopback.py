"""This very machine as a device over SSH, through a real OpenSSH server on loopback (that of `make lab`, made anew)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _common import ROOT

from hwnas.devices.profile import DeviceProfile, load_profile

sys.path.insert(0, str(ROOT / "tests"))
from ssh_lab import device_toml, running


@contextmanager
def over_ssh(here: DeviceProfile, folder: Path) -> Iterator[DeviceProfile]:
    """A device that is measured as `here` is; `folder` holds the server's files."""
    with running(folder) as made:
        (folder / "lab-ssh.toml").write_text(device_toml(made))
        shared = {"threads": here.threads, "cores": here.cores, "blocks": here.blocks}
        yield load_profile(folder / "lab-ssh.toml").model_copy(update=shared)
