"""Several devices side by side."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from command_line import hwnas
from small_workspace import DEVICE, make_workspace

from hwnas.core.errors import DeviceError
from hwnas.luts import LatencyTable
from hwnas.luts.table import Provenance, Row
from hwnas.pipeline.fleet import compare
from hwnas.pipeline.profile import ProfileReport
from hwnas.workspace import Workspace


def table(times: dict[str, float]) -> LatencyTable:
    provenance = Provenance(
        space="s", device={}, date="", rows=len(times), samples=0, median_spread=0, seconds=0, device_seconds=0
    )
    return LatencyTable({key: Row(time, time, 0.0, 1) for key, time in times.items()}, provenance)


@pytest.mark.parametrize(("factor", "agree"), [(1.0, True), (0.97, True), (1.2, False)])
def test_units_are_compared_on_common_rows(factor: float, agree: bool) -> None:
    first = {f"r{i}": 1.0 + i for i in range(30)}
    second = {f"r{i}": factor * (1.0 + i) for i in range(10, 40)}
    units = compare(("a", table(first)), ("b", table(second)))
    assert (units.rows, units.agree) == (20, agree)
    assert units.low <= units.median_ratio <= units.high
    assert units.median_ratio == pytest.approx(factor)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    path = make_workspace(tmp_path_factory.mktemp("fleet") / "ws")
    (path / "devices/twin.toml").write_text(DEVICE.replace('"local"', '"twin"'))
    away = '\nkind = "ssh"\n[ssh]\nhost = "127.0.0.1"\nport = 1\n[blocks]'
    (path / "devices/away.toml").write_text(DEVICE.replace('"local"', '"away"').replace("\n[blocks]", away))
    return path


def test_one_that_is_away_leaves_the_others_alone(workspace: Path) -> None:
    code, out, err = hwnas(
        "profile", "--device", "local,away", "--device", "twin", "--workspace", str(workspace), "--json"
    )
    document = json.loads(out)
    assert (code, [entry["device"] for entry in document["devices"]]) == (3, ["local", "away", "twin"]), err
    assert [("error" in entry, entry["rows"] > 0) for entry in document["devices"]] == [
        (False, True),
        (True, False),
        (False, True),
    ]
    (units,) = document["units"]
    assert units["devices"] == ["local", "twin"]
    assert "twin: blocks" in err


def test_a_wrong_name_is_told_before_anything_is_measured(workspace: Path) -> None:
    code, out, err = hwnas("profile", "--device", "local,nobody", "--workspace", str(workspace))
    assert (code, out) == (2, "")
    assert "nobody" in err
    assert "blocks" not in err


def test_all_and_a_name_are_too_much(workspace: Path) -> None:
    code, _, err = hwnas("profile", "--all", "--device", "local", "--workspace", str(workspace))
    assert (code, "not both" in err) == (2, True)


FAR = """
name = "{name}"
kind = "ssh"
[ssh]
host = "{host}"
port = 1
config = "{config}"
connect_seconds = 0.1
"""


def test_devices_on_one_machine_take_turns(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config"
    config.write_text("Host board\nHostName 192.0.2.1\nHost inner\nHostName 127.0.0.1\nProxyJump 192.0.2.2\n")
    hosts = {"b1": "board", "b2": "192.0.2.1", "b3": "192.0.2.3", "here": "127.0.0.1", "inner": "inner"}
    for name, host in hosts.items():
        (workspace / f"devices/{name}.toml").write_text(FAR.format(name=name, host=host, config=config))
    lock, busy, together = threading.Lock(), set(), []

    def profiled(_: Workspace, device: str, **options: object) -> ProfileReport:
        with lock:
            busy.add(device)
            together.append(frozenset(busy))
        time.sleep(0.2)
        with lock:
            busy.remove(device)
        raise DeviceError("seen")

    monkeypatch.setattr("hwnas.pipeline.fleet.profile_device", profiled)
    Workspace(workspace).profile_fleet(["local", *hosts])
    for name in hosts:
        (workspace / f"devices/{name}.toml").unlink()
    assert {"b1", "b3", "inner"} in together
    assert not any({"b1", "b2"} <= others for others in together)
    assert {frozenset({"local"}), frozenset({"here"})} <= set(together)
