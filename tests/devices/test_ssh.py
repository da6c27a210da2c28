"""SSH against a real OpenSSH server on loopback."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import numpy as np
import paramiko
import pytest
import ssh_lab
from processes import gone_within
from proxy import Proxy
from tiny_models import matmul, weighty

from hwnas.core.errors import DeviceError
from hwnas.core.protocols import DeviceModel
from hwnas.devices.device import open_device
from hwnas.devices.host_keys import HostKeyError
from hwnas.devices.profile import DeviceProfile, MeasuringRules, SshSettings
from hwnas.devices.ssh import SshConnection
from hwnas.devices.ssh_route import route
from hwnas.devices.transport import RunnerDiedError
from hwnas.testing import DeviceContract

pytestmark = pytest.mark.skipif(ssh_lab.SSHD is None, reason=ssh_lab.MISSING)
QUICK = MeasuringRules(group=3, rounds=3, min_samples=10, min_seconds=0.001, warm_up_max_seconds=0.05)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ssh_lab.running(tmp_path_factory.mktemp("sshd")) as made:
        yield made


def profile(server, **settings) -> DeviceProfile:
    base = {
        "host": "127.0.0.1",
        "port": server.port,
        "key": server.key,
        "known_hosts": server.known_hosts,
        "config": server.folder / "no_config",
        "python": [sys.executable],
        "return_seconds": 20,
    }
    return DeviceProfile(name="far", kind="ssh", blocks=QUICK, ssh=SshSettings(**{**base, **settings}))


class TestSsh(DeviceContract):
    @pytest.fixture(autouse=True)
    def _server(self, server):
        self.server = server

    def device(self):
        return open_device(profile(self.server))

    def models(self):
        return [DeviceModel(f"m{i}", matmul(16, i + 1)) for i in range(4)]


def test_the_runner_travels_once(server):
    for _ in range(2):
        with open_device(profile(server)) as device:
            assert device.facts()["runtime"] == "onnxruntime"
        (kept,) = server.kept.iterdir()
        before = kept.stat().st_mtime_ns
        with open_device(profile(server)):
            pass
        assert kept.stat().st_mtime_ns == before


def test_a_damaged_copy_is_replaced(server):
    with open_device(profile(server)):
        pass
    (kept,) = server.kept.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[:1000])
    with open_device(profile(server)) as device:
        assert device.facts()["runtime"] == "onnxruntime"
    assert kept.read_bytes() == whole


def test_an_unknown_host_key_is_refused(server, tmp_path):
    with (
        pytest.raises(HostKeyError, match=r"SHA256:\S+ .*hwnas devices trust far"),
        open_device(profile(server, known_hosts=tmp_path / "none")),
    ):
        pass


def test_a_key_that_is_not_accepted(server, tmp_path):
    ssh_lab.make_key(tmp_path / "other")
    with pytest.raises(DeviceError, match="accepts no key"), open_device(profile(server, key=tmp_path / "other")):
        pass


def test_a_connection_that_ends_at_the_login_is_no_refusal_of_a_key(server):
    """paramiko calls both an authentication error."""
    far = profile(server)
    lost = paramiko.AuthenticationException("Authentication failed: transport shut down or saw EOF")
    assert "cannot reach far" in str(SshConnection(far)._why(route(far.ssh)[-1], lost))


def test_a_closed_port(server):
    with pytest.raises(DeviceError, match="cannot reach far"), open_device(profile(server, port=ssh_lab.free_port())):
        pass


def test_a_device_without_python(server):
    with (
        pytest.raises(DeviceError, match=r"far.*: .*no-such-python: .*not found"),
        open_device(profile(server, python=["no-such-python"])),
    ):
        pass


def test_a_device_that_writes_much_to_stderr(server, tmp_path):
    """More than the window of a channel: unread, it would hold the writer for ever."""
    chatty, told = tmp_path / "chatty", tmp_path / "told"
    flood = f"(sleep 1; head -c 3000000 /dev/zero >&2; : >{told}) &"
    chatty.write_text(f'#!/bin/sh\n{flood}\nexec {sys.executable} "$@"\n')
    chatty.chmod(0o755)
    with open_device(profile(server, python=[str(chatty)])) as device:
        end = time.monotonic() + 20
        while not told.exists() and time.monotonic() < end:
            assert list(dict(device.measure([DeviceModel("m", matmul())]))) == ["m"]
        assert told.exists()


def test_a_killed_runner_is_replaced(server):
    with open_device(profile(server)) as device:
        pid = device._channel._transport.pid
        os.kill(pid, signal.SIGKILL)
        assert list(dict(device.measure([DeviceModel("m", matmul()), DeviceModel("n", matmul())]))) == ["m", "n"]


def test_a_runner_that_hangs_is_ended(server):
    with open_device(profile(server)) as device:
        transport = device._channel._transport
        os.kill(transport.pid, signal.SIGSTOP)
        with pytest.raises(RunnerDiedError, match="given up"):
            transport.request({"do": "probe"}, timeout_s=0.5)
        assert gone_within(transport.pid, 10)
        assert list(dict(device.measure([DeviceModel("m", matmul())]))) == ["m"]


def test_a_lost_connection_is_made_again(server):
    with open_device(profile(server)) as device:
        pid = device._channel._transport.pid
        for process in server.children():
            if process != pid:
                ssh_lab.kill(process)
        assert gone_within(pid, 10)
        results = dict(device.measure([DeviceModel("m", matmul())]))
        assert np.all(results["m"].samples_ms > 0)


def test_a_link_that_dies_silently_under_a_large_model(server, tmp_path):
    """The server still holds the connection, and its runner would measure on: it is ended before another begins."""
    proxy = Proxy(server.port, harm="stall", after=2_000_000, to_server=True)
    proxy.start()
    (tmp_path / "known").write_text(ssh_lab.known_line(proxy.port, server.folder / "host_key"))
    with open_device(profile(server, port=proxy.port, known_hosts=tmp_path / "known", connect_seconds=1)) as device:
        first = device._channel._transport.pid
        results = dict(device.measure([DeviceModel("large", weighty(8_000_000))]))
        assert np.all(results["large"].samples_ms > 0)
        assert proxy.done == 1
        assert gone_within(first, 5)
    proxy.stop()


def test_a_device_that_comes_back_as_another(server):
    with open_device(profile(server)) as device:
        device._channel.facts["governor"] = "performance"
        for process in server.children():
            ssh_lab.kill(process)
        with pytest.raises(DeviceError, match="came back as another: governor was 'performance'"):
            list(device.measure([DeviceModel("m", matmul())]))


def test_a_reboot_in_mid_measurement(server):
    slow = QUICK.model_copy(update={"min_seconds": 1.0})
    with open_device(profile(server), slow) as device:

        def reboot():
            time.sleep(0.5)
            server.stop()
            time.sleep(1.0)
            server.start()

        thread = threading.Thread(target=reboot)
        thread.start()
        results = dict(device.measure([DeviceModel(f"m{i}", matmul(16, i + 1)) for i in range(3)]))
        thread.join()
        assert sorted(results) == ["m0", "m1", "m2"]


def test_a_device_that_does_not_come_back(tmp_path):
    server = ssh_lab.server(tmp_path)
    server.start()
    with open_device(profile(server, return_seconds=1.0)) as device:
        server.stop()
        with pytest.raises(DeviceError, match="did not come back within 1 s"):
            list(device.measure([DeviceModel("m", matmul())]))


def test_a_device_set_up_anew_in_between(tmp_path):
    server = ssh_lab.server(tmp_path)
    server.start()
    with open_device(profile(server)) as device:
        server.stop()
        server.new_host_key()
        server.start()
        with pytest.raises(HostKeyError, match="not the recorded one"):
            list(device.measure([DeviceModel("m", matmul())]))
    server.stop()
