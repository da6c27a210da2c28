"""A real OpenSSH server on loopback, with keys of its own: for tests and for people who have no second machine.

`make lab` runs ``python tests/ssh_lab.py start``: devices `lab-ssh` and `lab-arm` of this workspace; ``stop`` leaves
nothing behind, their tables and packages included.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import arm_lab

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
MISSING = "needs OpenSSH's server: install openssh-server"

CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile {folder}/sshd.pid
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
LogLevel VERBOSE
SetEnv HOME={folder}/home
"""
"""With a home of its own: what a person's shell does at every login is neither waited for nor harmed."""


@dataclass
class Server:
    """Where it runs, and the files that it was started with."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def key(self) -> Path:
        """The private key that it accepts."""
        return self.folder / "user_key"

    @property
    def known_hosts(self) -> Path:
        """Where its own key is recorded."""
        return self.folder / "known_hosts"

    @property
    def kept(self) -> Path:
        """Where runners are kept on the device."""
        return self.folder / "home/.cache/hwnas"

    def start(self) -> None:
        """Run it, and return when it listens."""
        assert SSHD is not None
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where root's sshd drops its rights
        (self.folder / "sshd_config").write_text(CONFIG.format(port=self.port, folder=self.folder))
        with (self.folder / "sshd.log").open("ab") as log:
            self.process = subprocess.Popen(
                [SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")], stdout=log, stderr=log, process_group=0
            )
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise RuntimeError((self.folder / "sshd.log").read_text())

    def stop(self) -> None:
        """End the server and every connection to it."""
        if self.process is not None:
            children = self.children()
            for process in (self.process.pid, *children):
                kill(process)
            self.process.wait()
            self.process = None

    def children(self) -> list[int]:
        """The processes that serve connections, and what they run."""
        assert self.process is not None
        return descendants(self.process.pid)

    def new_host_key(self) -> None:
        """As after setting the device up anew; takes effect with the next start."""
        make_key(self.folder / "host_key")


def server(folder: Path) -> Server:
    """Make keys and record the host's; not started yet."""
    made = Server(folder, free_port())
    make_key(folder / "host_key")
    make_key(made.key)
    shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
    made.known_hosts.write_text(known_line(made.port, folder / "host_key"))
    return made


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A server that is ended afterwards."""
    made = server(folder)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def known_line(port: int, key: Path) -> str:
    """The line of a known_hosts file that vouches for a key at a port of this machine."""
    kind, text = key.with_name(f"{key.name}.pub").read_text().split()[:2]
    return f"[127.0.0.1]:{port} {kind} {text}\n"


def make_key(path: Path) -> None:
    path.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def descendants(process: int) -> list[int]:
    """All processes below one, by /proc."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
    found, below = [], [process]
    while below:
        below = [child for child, parent in parents.items() if parent in below]
        found += below
    return found


def kill(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        pass


ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".lab"
DEVICES = ROOT / "devices"


def device_toml(made: Server, name: str = "lab-ssh", python: str = sys.executable) -> str:
    """A device file for a server."""
    return f"""# A server on this machine, made by 'make lab' and removed by 'make lab-stop'.
name = "{name}"
kind = "ssh"

[ssh]
host = "127.0.0.1"
port = {made.port}
key = "{made.key}"
known_hosts = "{made.known_hosts}"
config = "{made.folder}/no_config"
python = ["{python}"]
"""


BRIEF = """
# Emulated, everything takes some thirty times as long.
[blocks]
rounds = 2
min_samples = 4
min_seconds = 0.001
warm_up_max_seconds = 0.1
[networks]
rounds = 2
min_samples = 4
min_seconds = 0.01
warm_up_max_seconds = 0.5
[finalists]
rounds = 2
min_samples = 10
min_seconds = 0.1
[verify]
rounds = 2
min_samples = 20
min_seconds = 1.0
"""


def start() -> None:
    """Make a server and the device files of what it can run."""
    if SSHD is None:
        sys.exit(f"the laboratory {MISSING}")
    stop()
    FOLDER.mkdir()
    made = server(FOLDER)
    made.start()
    (DEVICES / "lab-ssh.toml").write_text(device_toml(made))
    print(f"lab-ssh listens on port {made.port}: try 'hwnas devices check lab-ssh'")
    if arm_lab.QEMU is None or arm_lab.APT is None:
        print(f"no lab-arm: it {arm_lab.MISSING}")
        return
    python = arm_lab.build(FOLDER / "arm")
    (DEVICES / "lab-arm.toml").write_text(device_toml(made, "lab-arm", str(python)) + BRIEF)
    print("lab-arm is the same server, and an emulated aarch64 behind it: try 'hwnas devices check lab-arm'")


def stop() -> None:
    """End the server and remove all that `start` made."""
    try:
        process = int((FOLDER / "sshd.pid").read_text())
        if str(FOLDER / "sshd_config").encode() in Path(f"/proc/{process}/cmdline").read_bytes():
            for one in (process, *descendants(process)):
                kill(one)
    except (FileNotFoundError, ProcessLookupError, ValueError):
        pass
    for name in ("lab-ssh", "lab-arm"):
        (DEVICES / f"{name}.toml").unlink(missing_ok=True)
        for made in (ROOT / "luts" / name, *(ROOT / "export").glob(f"*-{name}-*")):
            shutil.rmtree(made, ignore_errors=True)
    shutil.rmtree(FOLDER, ignore_errors=True)


if __name__ == "__main__":
    {"start": start, "stop": stop}[sys.argv[1]]()
