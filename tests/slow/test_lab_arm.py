"""The whole job on another processor: an emulated aarch64 behind a real SSH server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import arm_lab
import pytest
import ssh_lab
from command_line import hwnas
from small_workspace import make_workspace
from tiny_space import TINY
from tiny_training import RECIPE_TEXT, stripes

from hwnas.ofa_supernet.datasets import READERS
from hwnas.spaces.ofa_mbv3 import LAYOUTS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(ssh_lab.SSHD is None, reason=ssh_lab.MISSING),
    pytest.mark.skipif(arm_lab.QEMU is None or arm_lab.APT is None, reason=arm_lab.MISSING),
]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setitem(LAYOUTS, "ofa_mbv3/tiny/v1", TINY)
    monkeypatch.setitem(READERS, "stripes", stripes)
    path = make_workspace(tmp_path / "ws", RECIPE_TEXT, stripes(tmp_path).splits().held)
    folder = tmp_path / "sshd"
    folder.mkdir()
    python = arm_lab.build(tmp_path / "arm")
    with ssh_lab.running(folder) as made:
        (path / "devices/lab-arm.toml").write_text(ssh_lab.device_toml(made, "lab-arm", str(python)) + ssh_lab.BRIEF)
        yield path


def test_a_model_is_made_for_another_processor_and_verified_there(workspace: Path) -> None:
    at = ["--device", "lab-arm", "--workspace", str(workspace), "--json"]
    code, out, err = hwnas("profile", *at)
    assert code == 0, err
    (profile,) = json.loads(out)["devices"]
    assert not profile["failed"]
    provenance = json.loads((workspace / "luts/lab-arm/random/table.json").read_text())
    assert provenance["device"]["machine"] == "aarch64"
    assert "Cortex-A57" in provenance["device"]["cpu"]
    code, out, err = hwnas("specialize", "--latency", "10s", *at)
    assert code == 0, err
    document = json.loads(out)
    assert (document["holds"], document["device"], document["verified_by"]) == (True, "lab-arm", "measurement")
    assert document["measured"]["latency_ms"]["p90"] > 1
