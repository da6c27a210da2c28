"""``hwnas devices`` and the main job, over a real SSH server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import ssh_lab
from command_line import hwnas
from small_workspace import DEVICE, make_workspace

pytestmark = pytest.mark.skipif(ssh_lab.SSHD is None, reason=ssh_lab.MISSING)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ssh_lab.running(tmp_path_factory.mktemp("sshd")) as made:
        yield made


@pytest.fixture(scope="module")
def workspace(server, tmp_path_factory) -> Path:
    path = make_workspace(tmp_path_factory.mktemp("work") / "ws")
    rules = DEVICE.split('name = "local"')[1]
    (path / "devices" / "far.toml").write_text(ssh_lab.device_toml(server, "far") + rules)
    return path


def devices(workspace: Path, *words: str) -> tuple[int, dict, str]:
    code, out, err = hwnas("devices", *words, "--workspace", str(workspace), "--json")
    return code, json.loads(out) if out else {}, err


def test_check_says_in_order_what_works(workspace: Path) -> None:
    code, document, _ = devices(workspace, "check", "far")
    names = [step["name"] for step in document["steps"]]
    assert (code, document["works"]) == (0, True)
    assert names == ["connection", "runner", "models", "steadiness", "clock", "cores"]


def test_check_ends_with_what_fails(workspace: Path, server) -> None:
    file = workspace / "devices" / "away.toml"
    file.write_text(
        ssh_lab.device_toml(server, "away").replace(f"port = {server.port}", f"port = {ssh_lab.free_port()}")
    )
    code, document, _ = devices(workspace, "check", "away")
    assert (code, document["works"]) == (3, False)
    assert [(step["name"], step["state"]) for step in document["steps"]] == [("connection", "fails")]
    file.unlink()


def test_a_phone_that_is_not_set_up_yet(workspace: Path) -> None:
    """The shipped file; its host is one that is surely nowhere."""
    text = (Path(__file__).parents[2] / "devices/pixel.toml").read_text()
    (workspace / "devices/pixel.toml").write_text(text.replace('host = "pixel"', 'host = "pixel.invalid"'))
    code, out, err = hwnas("profile", "--device", "pixel", "--workspace", str(workspace))
    assert (code, out) == (3, "")
    for step in ("devices/pixel.toml", "ssh-copy-id", "hwnas devices trust pixel", "hwnas devices check pixel"):
        assert step in err
    (workspace / "devices/pixel.toml").unlink()


def test_trust_records_a_key_and_replaces_it_only_when_asked(workspace: Path, server, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    file = workspace / "devices" / "new.toml"
    file.write_text(ssh_lab.device_toml(server, "new").replace(str(server.known_hosts), str(known)))
    assert hwnas("profile", "--device", "new", "--workspace", str(workspace))[0] == 3
    assert "is trusted from now on" in devices(workspace, "trust", "new")[1]["trusted"]
    assert "is trusted already" in devices(workspace, "trust", "new")[1]["trusted"]
    assert known.read_text() == server.known_hosts.read_text()
    ssh_lab.make_key(tmp_path / "other")
    known.write_text("# mine\n" + ssh_lab.known_line(server.port, tmp_path / "other"))
    code, _, err = devices(workspace, "trust", "new")
    assert (code, "--replace" in err) == (2, True)
    assert devices(workspace, "trust", "new", "--replace")[0] == 0
    assert known.read_text() == "# mine\n" + server.known_hosts.read_text()
    file.unlink()


def test_clean_leaves_nothing_there(workspace: Path, server) -> None:
    assert devices(workspace, "check", "far")[0] == 0
    assert server.kept.is_dir()
    assert devices(workspace, "clean", "far")[1]["freed_bytes"] > 1000
    assert not server.kept.exists()
    assert devices(workspace, "clean", "far")[1]["freed_bytes"] == 0


def test_flags_belong_after_the_subcommand(workspace: Path) -> None:
    code, _, err = hwnas("devices", "--workspace", str(workspace), "check", "far")
    assert (code, "after check" in err) == (2, True)


def test_only_far_devices_are_trusted_and_cleaned(workspace: Path) -> None:
    for word in ("trust", "clean"):
        code, _, err = devices(workspace, word, "local")
        assert (code, "is this machine" in err) == (2, True)


def test_the_main_job_over_ssh(workspace: Path) -> None:
    code, out, err = hwnas("profile", "--device", "far", "--workspace", str(workspace), "--json")
    assert code == 0, err
    (profile,) = json.loads(out)["devices"]
    assert profile["rows"] > 100
    code, out, err = hwnas(
        "specialize", "--latency", "50ms", "--device", "far", "--workspace", str(workspace), "--json"
    )
    assert code == 0, err
    document = json.loads(out)
    assert (document["holds"], document["device"]) == (True, "far")


def test_a_device_whose_settings_are_wrong_does_not_hide_the_others(workspace: Path, server) -> None:
    file = workspace / "devices" / "wrong.toml"
    file.write_text(ssh_lab.device_toml(server, "wrong").replace(f'key = "{server.key}"', 'key = "/nowhere/key"'))
    code, document, err = devices(workspace)
    found = {device["device"]: device["error"] for device in document["devices"]}
    assert (code, found["far"], found["local"]) == (0, None, None), err
    assert "/nowhere/key" in found["wrong"]
    file.unlink()
