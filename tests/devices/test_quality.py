"""The gate: what is marked, what is refused, and that a busy program is seen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_models import matmul

from hwnas.core.errors import DeviceError
from hwnas.core.files import read_lines
from hwnas.core.metrics import Conditions, Measurement
from hwnas.core.protocols import DeviceModel
from hwnas.core.quality import REMEDIES, disturbance
from hwnas.devices import device as module
from hwnas.devices.campaign import campaign
from hwnas.devices.device import open_device
from hwnas.devices.profile import DeviceProfile, MeasuringRules
from hwnas.devices.transport import Replay

QUIET = {"cpu_share": 0.99, "others": 0.02, "stolen": 0.0}
BUSY = {"cpu_share": 0.99, "others": 1.0, "stolen": 0.0}
RULES = MeasuringRules(group=2, rounds=2, min_samples=6, min_seconds=0.001, warm_up_max_seconds=0.02)
PROFILE = DeviceProfile(name="here", blocks=RULES)
MODELS = [(name, lambda: b"") for name in ("a", "b", "c", "d")]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(module, "WAITS", (0.0, 0.0, 0.0))


def replayed(conditions, strict=False, profile=PROFILE):
    return open_device(profile, connect=lambda: Replay({}, lambda name: np.ones(4), conditions), strict=strict)


@pytest.mark.parametrize(
    ("conditions", "steady", "word"),
    [
        (QUIET, True, ""),
        ({}, True, ""),
        (BUSY, True, "busy"),
        ({**QUIET, "stolen": 0.3}, True, "stolen"),
        ({**QUIET, "cpu_share": 0.8}, True, "preempted"),
        ({**QUIET, "fastest_mhz": 1800.0, "clock_mhz": 1200.0}, True, "throttled"),
        ({**QUIET, "fastest_mhz": 1800.0, "clock_mhz": 1800.0}, True, ""),
        (QUIET, False, "unsteady"),
    ],
)
def test_the_word(conditions, steady, word):
    measurement = Measurement(np.ones(3), steady, (), Conditions.from_json(conditions))
    assert disturbance(measurement) == word
    assert word in {*REMEDIES, "", "unsteady"}


def test_conditions_are_kept_with_the_samples(tmp_path):
    journal = tmp_path / "j.jsonl"
    with replayed([BUSY, QUIET]) as device:
        first = campaign(device, MODELS, journal)
    with replayed([]) as device:
        again = campaign(device, MODELS, journal)
    assert not again.fresh
    words = {name: disturbance(measurement) for name, measurement in first.measurements.items()}
    assert sorted(words.values()) == ["", "", "busy", "busy"]
    assert {name: disturbance(measurement) for name, measurement in again.measurements.items()} == words
    assert {name: m.conditions for name, m in again.measurements.items()} == {
        name: m.conditions for name, m in first.measurements.items()
    }


def test_strict_measures_again_what_was_disturbed(tmp_path):
    journal = tmp_path / "j.jsonl"
    with replayed([BUSY, QUIET]) as device:
        before = campaign(device, MODELS, journal)
    with replayed([BUSY, BUSY, QUIET], strict=True) as device:
        result = campaign(device, MODELS, journal)
    assert result.fresh == {name for name, m in before.measurements.items() if disturbance(m)}
    assert all(not disturbance(measurement) for measurement in result.measurements.values())
    with replayed([]) as device:
        assert not campaign(device, MODELS, journal).fresh


def test_strict_gives_up_and_keeps_what_was_good(tmp_path):
    journal = tmp_path / "j.jsonl"
    with (
        replayed([QUIET, BUSY, BUSY, BUSY, BUSY], strict=True) as device,
        pytest.raises(DeviceError, match=r"here was busy, 4 times at the same models: end the other programs"),
    ):
        campaign(device, MODELS, journal)
    assert len([line for line in read_lines(journal) if line["kind"] == "measured"]) == 2


def test_cooling_down():
    profile = PROFILE.model_copy(update={"cool_below_c": 60.0})
    with replayed([{"temperature_c": 59.0}, QUIET], profile=profile) as device:
        assert list(device.measure([DeviceModel("a", b"")]))
    with replayed([{"temperature_c": 71.0}, {"temperature_c": 59.0}, QUIET], profile=profile) as device:
        assert list(device.measure([DeviceModel("a", b"")]))


def test_what_never_cools_down(monkeypatch):
    monkeypatch.setattr(module, "COOLING_SECONDS", 0.0)
    profile = PROFILE.model_copy(update={"cool_below_c": 60.0})
    with (
        replayed([{"temperature_c": 90.0}] * 3, profile=profile) as device,
        pytest.raises(DeviceError, match="here stays at 90 degrees, its file wants it below 60"),
    ):
        list(device.measure([DeviceModel("a", b"")]))


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="this system does not tell its load")
def test_a_busy_program_is_seen():
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        rules = MeasuringRules(rounds=3, min_seconds=0.2, min_samples=10, warm_up_max_seconds=0.1)
        with open_device(DeviceProfile(name="here"), rules) as device:
            [(_, measurement)] = device.measure([DeviceModel("m", matmul())])
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
    assert disturbance(measurement) in REMEDIES
    assert measurement.conditions.others > 0.5
