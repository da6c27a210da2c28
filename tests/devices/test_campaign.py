"""Campaigns keep what is finished, whatever happens."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import gone_within

from hwnas.core.errors import InputError
from hwnas.core.files import read_lines
from hwnas.devices import campaign as module
from hwnas.devices.campaign import ANCHOR, campaign
from hwnas.devices.device import open_device
from hwnas.devices.profile import DeviceProfile, MeasuringRules
from hwnas.devices.transport import Replay, RunnerDiedError

QUICK = MeasuringRules(group=2, rounds=2, min_samples=6, min_seconds=0.001, warm_up_max_seconds=0.02)
PROFILE = DeviceProfile(name="here", blocks=QUICK)
NAMES = [f"m{i}" for i in range(7)]

HERE = Path(__file__).parent.parent

SCRIPT = """
import sys
from pathlib import Path
from hwnas.devices.campaign import campaign
from hwnas.devices.device import open_device
from hwnas.devices.profile import DeviceProfile, MeasuringRules
from tiny_models import matmul
rules = MeasuringRules(group=2, rounds=2, min_samples=6, min_seconds=0.001, warm_up_max_seconds=0.02)
PROFILE = DeviceProfile(name="here", blocks=rules)
with open_device(PROFILE) as device:
    print(device._channel._transport.pid, flush=True)
    campaign(device, [(f"n{i}", lambda: matmul(96, 4)) for i in range(40)], Path(sys.argv[1]))
print("done", flush=True)
"""


def replayed(profile: DeviceProfile = PROFILE, **facts):
    return open_device(profile, connect=lambda: Replay(facts, lambda name: np.arange(1.0, 8.0) + int(name[1:])))


def models(asked: list[str]):
    def build(name: str):
        return lambda: (asked.append(name), b"")[1]

    return [(name, build(name)) for name in NAMES]


def test_measures_and_reports(tmp_path):
    told, asked = [], []
    with replayed() as device:
        result = campaign(device, models(asked), tmp_path / "j.jsonl", lambda done, total: told.append((done, total)))
    assert list(result.measurements) == NAMES
    assert result.measurements["m3"].median == 7.0
    assert sorted(asked) == NAMES
    assert told[0] == (0, 7)
    assert told[-1] == (7, 7)
    assert result.device_seconds > 0


def test_nothing_is_measured_twice(tmp_path):
    journal = tmp_path / "j.jsonl"
    asked: list[str] = []
    with replayed() as device:
        first = campaign(device, models(asked)[:3], journal)
        asked.clear()
        result = campaign(device, models(asked), journal)
    assert sorted(asked) == NAMES[3:]
    assert list(result.measurements) == NAMES
    assert result.device_seconds > first.device_seconds


def test_another_device_or_other_rules_set_the_journal_aside(tmp_path, caplog):
    journal = tmp_path / "j.jsonl"
    for number, (profile, cpu) in enumerate(
        [
            (PROFILE, "a"),
            (PROFILE, "b"),
            (PROFILE.model_copy(update={"blocks": QUICK.model_copy(update={"seed": 1})}), "b"),
        ]
    ):
        asked: list[str] = []
        with replayed(profile, cpu=cpu) as device:
            campaign(device, models(asked), journal)
        assert sorted(asked) == NAMES
        assert len(list(tmp_path.glob("j.old*.jsonl"))) == number
    assert "set aside" in caplog.text


def test_failures_are_told_and_tried_again(tmp_path, caplog):
    journal = tmp_path / "j.jsonl"
    samples = {name: np.ones(5) for name in NAMES if name != "m2"}
    with open_device(PROFILE, connect=lambda: Replay({}, samples)) as device:
        result = campaign(device, models([]), journal)
    assert list(result.failed) == ["m2"]
    assert "m2" not in result.measurements
    assert len(result.measurements) == 6
    assert "m2" in caplog.text
    with open_device(PROFILE, connect=lambda: Replay({}, lambda name: np.ones(5))) as device:
        assert list(campaign(device, models([]), journal).measurements) == NAMES


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_journal_cut_anywhere_loses_at_most_its_last_line(tmp_path_factory, data):
    journal = tmp_path_factory.mktemp("cut") / "j.jsonl"
    with replayed() as device:
        campaign(device, models([]), journal)
        content = journal.read_bytes()
        cut = data.draw(st.integers(0, len(content)))
        journal.write_bytes(content[:cut])
        kept = {json.loads(line)["name"] for line in content[:cut].split(b"\n")[1:-1]}
        asked: list[str] = []
        result = campaign(device, models(asked), journal).measurements
    assert set(result) == set(NAMES)
    assert not kept & set(asked)
    assert len(asked) <= len(NAMES) - len(kept)


@pytest.mark.parametrize("samples", [[], [1.0, None], [0.0], "text", [[1.0]], [float("nan")]])
def test_a_line_that_is_no_measurement_is_measured_again(tmp_path, samples):
    journal = tmp_path / "j.jsonl"
    with replayed() as device:
        campaign(device, models([])[:1], journal)
        with journal.open("a") as file:
            file.write(json.dumps({"kind": "measured", "name": "m1", "samples_ms": samples}) + "\n")
        asked: list[str] = []
        campaign(device, models(asked)[:2], journal)
    assert asked == ["m1"]


def test_one_writer_at_a_time(tmp_path):
    journal = tmp_path / "j.jsonl"
    with module._locked(journal), replayed() as device, pytest.raises(InputError, match="another hwnas"):
        campaign(device, models([]), journal)


def test_an_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with replayed() as device, pytest.raises(InputError, match="cannot write"):
        campaign(device, models([]), tmp_path / "file" / "j.jsonl")


def test_sigkill_loses_nothing_finished_and_leaves_no_runner(tmp_path):
    """Kill the real thing as soon as it has got a little further, thrice; then let it finish."""
    journal = tmp_path / "j.jsonl"
    for target in (2, 12, 24, None):
        before = finished(journal)
        child = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(journal)], stdout=subprocess.PIPE, text=True, cwd=HERE
        )
        runner_pid = int(child.stdout.readline())
        while target is not None and len(finished(journal)) < target:
            time.sleep(0.001)
        if target is not None:
            os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        assert gone_within(runner_pid, 10)
        after = finished(journal)
        assert {name: after[name] for name in before} == before
    assert child.returncode == 0
    assert len(finished(journal)) == 40
    names = [line["name"] for line in read_lines(journal) if line["kind"] == "measured"]
    assert len(names) == len(set(names))


def finished(journal: Path) -> dict[str, list[float]]:
    return {line["name"]: line["samples_ms"] for line in read_lines(journal) if line["kind"] == "measured"}


WITH_ANCHOR = PROFILE.model_copy(update={"blocks": QUICK.model_copy(update={"group": 4})})


def test_every_group_has_its_anchor_and_repeats_an_earlier_model(tmp_path):
    journal = tmp_path / "j.jsonl"

    def samples(name: str):
        return np.full(5, 100.0) if name == ANCHOR else np.arange(1.0, 8.0) + int(name[1:])

    def once():
        with open_device(WITH_ANCHOR, connect=lambda: Replay({}, samples)) as device:
            return campaign(device, models([]), journal, anchor=lambda: b"")

    result = once()
    assert list(result.measurements) == NAMES
    assert {one.anchor_ms for one in result.measurements.values()} == {100.0}
    assert len(result.repeats) == 3  # seven models, two a group, and none before the first
    lines = read_lines(journal)
    assert sum(line["kind"] == "anchor" for line in lines) == 4
    assert len(next(line for line in lines if line["kind"] == "anchor")["samples_ms"]) == 5
    again = once()
    assert not again.fresh
    assert [name for name, _ in again.repeats] == [name for name, _ in result.repeats]
    assert {one.anchor_ms for one in again.measurements.values()} == {100.0}


def test_an_anchor_that_does_not_run_harms_no_row(tmp_path):
    samples = {name: np.ones(5) for name in NAMES}
    with open_device(WITH_ANCHOR, connect=lambda: Replay({}, samples)) as device:
        result = campaign(device, models([]), tmp_path / "j.jsonl", anchor=lambda: b"")
    assert list(result.measurements) == NAMES
    assert not result.failed
    assert {one.anchor_ms for one in result.measurements.values()} == {None}


def test_a_repetition_that_does_not_run_harms_no_row(tmp_path):
    journal = tmp_path / "j.jsonl"
    samples = {name: np.ones(5) for name in [*NAMES, ANCHOR]}

    def forget(done: int, total: int) -> None:
        for line in read_lines(journal):
            if line["kind"] == "measured":
                samples.pop(line["name"], None)

    with open_device(WITH_ANCHOR, connect=lambda: Replay({}, samples)) as device:
        result = campaign(device, models([]), journal, forget, anchor=lambda: b"")
    assert list(result.measurements) == NAMES
    assert not result.failed
    assert not result.repeats


def test_rows_beside_another_anchor_are_not_mixed(tmp_path):
    journal = tmp_path / "j.jsonl"
    for number, anchor in enumerate((b"one", b"one", b"two")):
        with open_device(WITH_ANCHOR, connect=lambda: Replay({}, lambda name: np.ones(5))) as device:
            result = campaign(device, models([]), journal, anchor=lambda anchor=anchor: anchor)
        assert bool(result.fresh) == (number != 1)


class Fragile(Replay):
    """Measures m2 with nothing else; `dies` or says so."""

    def __init__(self, dies: bool) -> None:
        super().__init__({}, lambda name: np.ones(5))
        self.dies = dies

    def request(self, header, body=b"", timeout_s=60.0):
        if header["do"] == "measure" and "m2" in header["names"] and len(header["names"]) > 1:
            if self.dies:
                raise RunnerDiedError("killed")
            return {"ok": False, "error": "out of memory"}, b""
        return super().request(header, body, timeout_s)


@pytest.mark.parametrize("dies", [True, False])
def test_a_row_that_was_measured_alone_has_no_anchor(dies, tmp_path):
    """What breaks a group, a death or an error, costs the others nothing but the anchor beside them."""
    with open_device(WITH_ANCHOR, connect=lambda: Fragile(dies)) as device:
        result = campaign(device, models([]), tmp_path / "j.jsonl", anchor=lambda: b"")
    assert (list(result.measurements), result.failed) == (NAMES, {})
    alone = {name for name, one in result.measurements.items() if one.anchor_ms is None}
    assert {"m2", "m3"} <= alone  # and later groups that repeat m2
    assert {"m0", "m1"}.isdisjoint(alone)


@pytest.mark.parametrize(("count", "processes"), [(2, 1), (6, 1), (8, 4), (40, 4), (41, 5)])
def test_groups_are_spread_over_processes(tmp_path, count: int, processes: int) -> None:
    """Two models a group, no anchor: four groups are four processes, fewer are one; twenty are four of five groups."""
    opened = []

    def connect():
        opened.append(Replay({}, lambda name: np.arange(1.0, 8.0)))
        return opened[-1]

    with open_device(PROFILE, connect=connect) as device:
        campaign(device, [(f"m{i}", lambda: b"") for i in range(count)], tmp_path / "j.jsonl")
    assert len(opened) == processes
