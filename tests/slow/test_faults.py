"""Two hundred seeded faults in campaigns over SSH, all on real processes: no row is lost, none is doubled.

A campaign that a fault ends must end with a message of one line that names the device; the same campaign again goes on
where it stood. At the end the journal holds every row once, and what was measured before the fault is still there,
unchanged.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import ssh_lab
from processes import alive
from proxy import Proxy
from tiny_models import matmul

from hwnas.core.errors import HwnasError
from hwnas.core.files import read_lines
from hwnas.devices.bootstrap import START_SECONDS
from hwnas.devices.campaign import campaign
from hwnas.devices.device import open_device
from hwnas.devices.profile import DeviceProfile, MeasuringRules, SshSettings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(ssh_lab.SSHD is None, reason=ssh_lab.MISSING),
]

FAULTS = 20
"""Of each of the ten kinds."""
ROWS = 12
GROUPS = (4, 3)
"""Models side by side, by turns: three groups are measured by one process, four of them by four."""
MODELS = [(f"m{i}", matmul(16, i + 1)) for i in range(ROWS)]
SAMPLES = 500
"""Of each model, by their number and not by their time, so that every campaign sends about as many bytes."""
MOST = 0.8
"""Of what an undisturbed campaign takes, in seconds or bytes: harm falls anywhere in so much, and always within it."""
KNOWN_SECONDS = 5.0
"""Within so long a runner is gone whose number is known."""
LEAVE_SECONDS = START_SECONDS + 20
"""One that nobody could know of, because the link fell silent before it told its number, ends by itself."""
RUNNER_SHARE = 0.5
"""Of a campaign's time, what its runner is there for, at least."""
PROCESSES = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Usual:
    """What an undisturbed campaign takes, its runner being kept on the device already."""

    seconds: float
    passed: dict[bool, int]
    """Bytes to the server, and from it, the greeting included."""
    journal: int
    """Bytes."""


@dataclass
class Rig:
    """A server, a proxy before it, and a journal."""

    server: ssh_lab.Server
    proxy: Proxy
    journal: Path
    python: list[str]
    usual: Usual
    alone: dict[int, float]
    """Runners that nobody could know of, and since when."""
    group: int

    def profile(self) -> DeviceProfile:
        server = self.server
        settings = SshSettings(
            host="127.0.0.1",
            port=self.proxy.port,
            key=server.key,
            known_hosts=server.folder / "known_through_proxy",
            config=server.folder / "none",
            python=self.python,
            connect_seconds=2,
            return_seconds=15,
        )
        rules = MeasuringRules(
            group=self.group, rounds=2, min_samples=SAMPLES, min_seconds=1e-6, settle_runs=0, warm_up_max_seconds=0.01
        )
        return DeviceProfile(name="far", kind="ssh", blocks=rules, ssh=settings)

    def run(self) -> None:
        with open_device(self.profile()) as device:
            campaign(device, [(name, lambda model=model: model) for name, model in MODELS], self.journal)

    def vouch(self) -> None:
        """Record the server's key for the proxy's port."""
        self.trust(self.server.folder / "host_key")

    def trust(self, key: Path) -> None:
        """Record this key for the proxy's port, and no other."""
        (self.server.folder / "known_through_proxy").write_text(ssh_lab.known_line(self.proxy.port, key))


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[ssh_lab.Server]:
    with ssh_lab.running(tmp_path_factory.mktemp("sshd")) as made:
        yield made


@pytest.fixture(scope="module")
def usual(server, tmp_path_factory) -> dict[int, Usual]:
    """By the size of a group; the fastest of three campaigns, so that faults fall within whatever one takes."""
    folder = tmp_path_factory.mktemp("usual")
    _undisturbed(server, folder, GROUPS[0])  # hands the runner over
    return {group: min((_undisturbed(server, folder, group) for _ in range(3)), key=_seconds) for group in GROUPS}


def _undisturbed(server: ssh_lab.Server, folder: Path, group: int) -> Usual:
    proxy = Proxy(server.port)
    proxy.start()
    rig = Rig(server, proxy, folder / f"{proxy.port}.jsonl", [sys.executable], Usual(0.0, {}, 0), {}, group)
    rig.vouch()
    started = time.monotonic()
    rig.run()
    spent = time.monotonic() - started
    proxy.stop()
    return Usual(spent, proxy.passed, rig.journal.stat().st_size)


def _seconds(usual: Usual) -> float:
    return usual.seconds


@pytest.fixture(scope="module")
def alone() -> dict[int, float]:
    return {}


@pytest.fixture
def rig(server, usual, alone, tmp_path, monkeypatch, request) -> Iterator[Rig]:
    group = GROUPS[request.node.callspec.params["seed"] % len(GROUPS)]
    monkeypatch.setattr("hwnas.devices.device.FIRST_SECONDS", 6.0)
    monkeypatch.setattr("hwnas.devices.device.LOAD_SECONDS", 4.0)
    monkeypatch.setattr("hwnas.devices.device.PATIENCE_SECONDS", 4.0)
    monkeypatch.setattr("hwnas.devices.ssh.ANSWER_SECONDS", 8.0)
    proxy = Proxy(server.port)
    proxy.start()
    made = Rig(server, proxy, tmp_path / "journal.jsonl", [sys.executable], usual[group], alone, group)
    made.vouch()
    yield made
    proxy.stop()


def rows(journal: Path) -> list[str]:
    return [line["name"] for line in read_lines(journal) if line["kind"] == "measured"]


def survive(rig: Rig, run: Callable[[], None]) -> str | None:
    """One run with its fault, then runs without until one ends well; the message of the first, if it failed."""
    message = None
    try:
        run()
    except HwnasError as error:
        message = str(error)
        assert "\n" not in message
        assert "far" in message or str(rig.journal.parent) in message
    before = read_lines(rig.journal) if rig.journal.exists() else []
    rig.proxy.harm = None
    rig.run()
    after = read_lines(rig.journal)
    assert after[: len(before)] == before
    assert sorted(rows(rig.journal)) == sorted(name for name, _ in MODELS)
    end = time.monotonic() + KNOWN_SECONDS
    while runners(rig) and time.monotonic() < end:
        time.sleep(0.05)
    for process in runners(rig):
        os.kill(process, signal.SIGCONT)  # one that was stopped before it told its number
        rig.alone[process] = time.monotonic()
    return message


def runners(rig: Rig) -> list[int]:
    """The processes on the device that measure, or are about to; not the shells, not what earlier faults left alone.

    They are known by the server's home: once a connection is gone they are nobody's children.
    """
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (place / "cmdline").read_bytes().split(b"\0")
            if words[0] == sys.executable.encode() and words[1] == b"-c" and b'"hwnas"' in words[2]:
                at_home = f"HOME={rig.server.folder}/home".encode() in (place / "environ").read_bytes().split(b"\0")
                found += [int(place.name)] * (at_home and alive(int(place.name)))
    return [process for process in found if process not in rig.alone]


@pytest.mark.parametrize("seed", range(FAULTS))
@pytest.mark.parametrize("harm", ["cut", "stall", "flip"])
def test_the_network_does_harm(rig: Rig, harm: str, seed: int) -> None:
    rng = random.Random(f"{harm}{seed}")
    rig.proxy.to_server = rng.random() < 0.5
    rig.proxy.harm, rig.proxy.after = harm, rng.randrange(int(MOST * rig.usual.passed[rig.proxy.to_server]))
    survive(rig, rig.run)
    assert rig.proxy.done


@contextlib.contextmanager
def beside(thread: threading.Thread) -> Iterator[None]:
    """A thread from the beginning of the body on, waited for at its end."""
    thread.start()
    try:
        yield
    finally:
        thread.join()


def in_its_life(rig: Rig, seed: int) -> None:
    """Return at some moment while a runner is there; between two of a campaign's processes there is none."""
    _await_runner(rig)
    time.sleep(random.Random(seed).uniform(0, RUNNER_SHARE * rig.usual.seconds))
    _await_runner(rig)


def _await_runner(rig: Rig) -> None:
    end = time.monotonic() + 20
    while not runners(rig) and time.monotonic() < end:
        time.sleep(0.01)


@pytest.mark.parametrize("seed", range(FAULTS))
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP])
def test_the_runner_is_killed_or_hangs(rig: Rig, sign: signal.Signals, seed: int) -> None:
    harmed = []

    def harm() -> None:
        in_its_life(rig, seed)
        end = time.monotonic() + 20
        while not harmed and time.monotonic() < end:  # one may be about to make way for the next
            for process in runners(rig):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, sign)
                    harmed.append(process)

    def run() -> None:
        with beside(threading.Thread(target=harm)):
            rig.run()

    survive(rig, run)
    assert harmed


@pytest.mark.parametrize("seed", range(FAULTS))
def test_the_server_reboots(rig: Rig, seed: int) -> None:
    def harm() -> None:
        rig.server.stop()
        time.sleep(0.3)
        rig.server.start()

    timer = threading.Timer(random.Random(seed).uniform(0, MOST * rig.usual.seconds), harm)

    def run() -> None:
        with beside(timer):  # to its end: a person waits for the device to be there again
            rig.run()

    survive(rig, run)


@pytest.mark.parametrize("seed", range(FAULTS))
def test_the_client_is_killed(rig: Rig, seed: int) -> None:
    def run() -> None:
        client = PROCESSES.Process(target=rig.run)
        client.start()
        client.join(random.Random(seed).uniform(0, MOST * rig.usual.seconds))
        client.kill()
        client.join()
        assert client.exitcode == -signal.SIGKILL

    survive(rig, run)


@pytest.mark.parametrize("seed", range(FAULTS))
def test_the_disk_is_full(rig: Rig, seed: int) -> None:
    """A file of the client's can grow to some size and no further, as on a full disk; then the client may go on."""
    size = random.Random(seed).randrange(int(MOST * rig.usual.journal))
    told = rig.journal.parent / "told"

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        try:
            rig.run()
        except HwnasError as error:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            told.write_text(str(error))

    def run() -> None:
        client = PROCESSES.Process(target=limited)
        client.start()
        client.join()
        if told.exists():
            raise HwnasError(told.read_text())
        assert client.exitcode == 0

    message = survive(rig, run)
    assert message is not None
    assert "free some space" in message


@pytest.mark.parametrize("seed", range(FAULTS))
def test_the_kept_runner_has_another_hash(rig: Rig, seed: int) -> None:
    """One byte of the file that is kept on the device changes."""
    rig.run()
    rig.journal.unlink()
    (kept,) = rig.server.kept.iterdir()
    data, place = bytearray(kept.read_bytes()), random.Random(seed)
    data[place.randrange(len(data))] ^= 1 << place.randrange(8)
    kept.write_bytes(data)
    assert survive(rig, rig.run) is None


@pytest.mark.parametrize("seed", range(FAULTS))
def test_the_host_key_changes_on_the_way(rig: Rig, seed: int) -> None:
    """The connection is cut, and the server that answers then shows another key."""
    other = rig.journal.parent / "other"
    ssh_lab.make_key(other)

    def harm() -> None:
        in_its_life(rig, seed)
        rig.trust(other)
        for process in rig.server.children():
            ssh_lab.kill(process)

    def run() -> None:
        try:
            with beside(threading.Thread(target=harm)):
                rig.run()
        finally:
            rig.vouch()

    message = survive(rig, run)
    assert message is None or "SHA256:" in message or "does not start the runner" in message  # cut before it was up


def test_nothing_is_left_behind(alone: dict[int, float]) -> None:
    """After all the faults."""
    while left := [process for process in alone if alive(process)]:
        assert time.monotonic() < max(alone[process] for process in left) + LEAVE_SECONDS
        time.sleep(0.1)
