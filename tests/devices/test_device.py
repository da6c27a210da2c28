"""The real runner process: round trips, broken models, dead runners."""

import contextlib
import os
import signal
import struct
import sys
import time

import numpy as np
import pytest
from processes import alive
from tiny_models import matmul, mismatched

from hwnas.core.errors import DeviceError, InputError
from hwnas.core.protocols import DeviceModel
from hwnas.devices import runner
from hwnas.devices.device import ModelsFailedError, open_device
from hwnas.devices.facts import identity
from hwnas.devices.profile import DeviceProfile, MeasuringRules
from hwnas.devices.transport import LocalTransport, Replay, RunnerDiedError
from hwnas.testing import DeviceContract

QUICK = MeasuringRules(group=3, rounds=3, min_samples=10, min_seconds=0.001, warm_up_max_seconds=0.05)
LOCAL = DeviceProfile(name="here", blocks=QUICK)


class TestLocal(DeviceContract):
    def device(self):
        return open_device(LOCAL)

    def models(self):
        return [DeviceModel(f"m{i}", matmul(16, i + 1)) for i in range(4)]


@pytest.fixture(scope="module")
def device():
    with open_device(LOCAL) as opened:
        yield opened


def test_facts_are_probed(device):
    facts = device.facts()
    assert facts["runtime"] == "onnxruntime"
    assert facts["runtime_version"]
    assert facts["device"] == "here"
    assert facts["threads"] == 1
    assert facts["bits"] == 8 * struct.calcsize("P")
    assert isinstance(facts["isa"], list)
    assert facts["rules"]["rounds"] == 3
    assert identity(facts) == identity({**facts, "clock_mhz": 1, "rules": None})
    assert identity(facts) != identity({**facts, "threads": 2})


def test_measures_in_groups_and_returns_every_sample(device):
    before = device.device_seconds
    models = [DeviceModel(f"m{i}", matmul(16, i + 1)) for i in range(5)]
    results = dict(device.measure(models))
    assert sorted(results) == [f"m{i}" for i in range(5)]
    for result in results.values():
        assert len(result.samples_ms) >= 10
        assert np.all(result.samples_ms > 0)
    sampled = sum(result.samples_ms.sum() for result in results.values()) / 1e3
    assert device.device_seconds - before > sampled


def test_more_work_takes_longer(device):
    results = dict(device.measure([DeviceModel("small", matmul(16)), DeviceModel("large", matmul(256, 8))]))
    assert results["large"].median > 3 * results["small"].median


def test_other_rules_over_the_same_runner(device):
    longer = device.with_rules(QUICK.model_copy(update={"min_samples": 90}))
    assert len(dict(longer.measure([DeviceModel("m", matmul())]))["m"].samples_ms) >= 90


@pytest.mark.parametrize("broken", [b"", b"no onnx", mismatched()])
def test_a_broken_model_is_named_and_the_others_are_measured(device, broken):
    models = [DeviceModel("a", matmul()), DeviceModel("broken", broken), DeviceModel("b", matmul())]
    results = {}
    with pytest.raises(ModelsFailedError, match="broken") as caught:
        for name, measurement in device.measure(models):
            results[name] = measurement
    assert sorted(results) == ["a", "b"]
    assert list(caught.value.failed) == ["broken"]
    assert "\n" not in str(caught.value)


def test_a_killed_runner_is_replaced(device):
    os.kill(device._channel._transport.pid, signal.SIGKILL)
    assert list(dict(device.measure([DeviceModel("m", matmul()), DeviceModel("n", matmul())]))) == ["m", "n"]


class Fragile(Replay):
    """Dies on one model, as a segmentation fault in a runtime would."""

    def request(self, header, body=b"", timeout_s=60.0):
        if header.get("do") == "load" and header["name"] == "deadly":
            raise RunnerDiedError("the runner stopped (exit -11)")
        return super().request(header, body, timeout_s)


def test_a_model_that_kills_runners_costs_only_itself():
    names = ["a", "deadly", "b"]
    results = {}
    connected = open_device(LOCAL, connect=lambda: Fragile({}, lambda name: np.ones(4)))
    with connected as fragile, pytest.raises(ModelsFailedError) as caught:
        for name, measurement in fragile.measure([DeviceModel(name, b"") for name in names]):
            results[name] = measurement
    assert sorted(results) == ["a", "b"]
    assert list(caught.value.failed) == ["deadly"]


class Noisy(LocalTransport):
    """A way to a real runner on which one byte of the third request's body changes, once in all."""

    sent = 0

    def _send(self, data: bytes) -> None:
        Noisy.sent += 1
        super()._send(data[:-1] + bytes([data[-1] ^ 1]) if Noisy.sent == 3 else data)


def test_a_damaged_request_is_no_fault_of_the_model():
    with open_device(LOCAL, connect=Noisy) as noisy:
        results = dict(noisy.measure([DeviceModel("a", matmul(16, 2)), DeviceModel("b", matmul(16, 3))]))
    assert sorted(results) == ["a", "b"]
    assert Noisy.sent > 3


def test_replay_gives_recorded_samples():
    samples = {"m": np.array([1.0, 2.0, 3.0])}
    with open_device(LOCAL, connect=lambda: Replay({"cpu": "recorded"}, samples)) as replayed:
        assert replayed.facts()["cpu"] == "recorded"
        assert dict(replayed.measure([DeviceModel("m", b"")]))["m"].median == 2.0
        with pytest.raises(ModelsFailedError, match="no recording of x"):
            list(replayed.measure([DeviceModel("x", b"")]))


def test_pins_to_cores():
    core = min(os.sched_getaffinity(0))
    with open_device(LOCAL.model_copy(update={"cores": [core]})) as pinned:
        assert pinned.facts()["usable_cores"] == [core]


def test_a_core_that_is_not_there():
    with (
        pytest.raises(InputError, match=r"here cannot be pinned to cores = \[4096\].*correct its device file"),
        open_device(DeviceProfile(name="here", cores=[4096])),
    ):
        pytest.fail("opened")


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise SystemExit('no onnxruntime here')", "no onnxruntime here"),
        ("print('welcome to this machine')", "runner stopped"),
        ("import sys; sys.stdin.buffer.read(1)", "runner stopped"),
    ],
)
def test_a_runner_that_is_none(program, reason):
    command = [sys.executable, "-c", program]
    with pytest.raises(DeviceError, match=reason), open_device(LOCAL, connect=lambda: LocalTransport(command)):
        pass


def test_a_command_that_is_not_there():
    with pytest.raises(DeviceError, match="cannot start"):
        LocalTransport(["/nonexistent/python"])


def test_silence_ends_the_wait():
    transport = LocalTransport([sys.executable, "-c", "import time; time.sleep(60)"])
    with contextlib.closing(transport), pytest.raises(RunnerDiedError, match="no answer in time"):
        transport.request({"do": "probe"}, timeout_s=0.2)


def test_the_runner_ignores_ctrl_c_and_leaves_with_its_parent():
    transport = LocalTransport()
    transport.request({"do": "probe"})
    os.kill(transport.pid, signal.SIGINT)
    assert transport.request({"do": "probe"})[0]["ok"]
    transport._child.stdin.close()
    assert transport._child.wait(timeout=10) == 0
    with contextlib.suppress(OSError):
        transport.close()


def test_the_runner_leaves_in_mid_measurement():
    transport = LocalTransport()
    transport.request({"do": "load", "name": "m", "threads": 1, "seed": 0}, matmul())
    rules = QUICK.model_copy(update={"rounds": 10_000, "min_seconds": 100.0, "max_seconds": 100.0})
    header = {"do": "measure", "names": ["m"], "rules": rules.model_dump(), "seed": 0}
    transport._send(runner.encode_frame(header))
    time.sleep(0.2)
    assert alive(transport.pid)
    transport._child.stdin.close()
    assert transport._child.wait(timeout=10) == 0
    transport.close()


def test_what_libraries_print_harms_no_frame():
    noisy = (
        "import os\nfrom hwnas.devices.runner import serve\nprobe = serve.probe\n"
        "serve.probe = lambda: (os.write(1, b'noise'), probe())[1]\nserve.main()"
    )
    with contextlib.closing(LocalTransport([sys.executable, "-c", noisy])) as transport:
        assert transport.request({"do": "probe"})[0]["ok"]


def test_ctrl_c_waits_for_no_measurement(monkeypatch):
    long = QUICK.model_copy(update={"rounds": 1000, "min_seconds": 60.0, "max_seconds": 60.0})

    def interrupted(self, size, deadline):
        if self.requests > 3:  # configure, probe, load, then measure
            raise KeyboardInterrupt
        return read(self, size, deadline)

    def counted(self, data):
        self.requests = getattr(self, "requests", 0) + 1
        return send(self, data)

    read, send = LocalTransport._read, LocalTransport._send
    monkeypatch.setattr(LocalTransport, "_read", interrupted)
    monkeypatch.setattr(LocalTransport, "_send", counted)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), open_device(LOCAL, long) as opened:
        list(opened.measure([DeviceModel("m", matmul())]))
    assert time.monotonic() - start < 30  # half of what the measurement would take
