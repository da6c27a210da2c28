"""SSH: one connection a device, kept up, and a runner in a channel of it."""

from __future__ import annotations

import getpass
import hashlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import paramiko

from hwnas.core.errors import DeviceError
from hwnas.devices import bootstrap, host_keys, runner
from hwnas.devices.archive import runner_archive
from hwnas.devices.profile import DeviceProfile
from hwnas.devices.ssh_route import Hop, route
from hwnas.devices.transport import ConnectionLostError, RunnerDiedError

logger = logging.getLogger(__name__)
# It logs what it raises as well, with a traceback; without a handler of its own that would go to stderr.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

KEEPALIVE_SECONDS = 15
"""Between signs of life on an idle connection: less than the minute after which home routers forget one."""
ANSWER_SECONDS = 30.0
"""For a device to start Python, which takes seconds on a small board or under emulation."""
PAUSES = (0.5, 1, 2, 5, 10)
"""Seconds between attempts to reach a lost device; the last one repeats."""
LEAVE_SECONDS = 2.0
"""For a runner to leave once its stdin is closed, which it looks at between bursts."""
PIECE = 1 << 15
"""Bytes a send: as many as paramiko puts into one packet."""
CUT_OFF = ("saw EOF", "timeout")
"""In what paramiko says of a connection that ended while it logged in, which it calls an authentication error too."""
LOST = (paramiko.SSHException, OSError, EOFError)
"""What paramiko raises when a connection breaks or never comes about."""

Result = TypeVar("Result")


class SshConnection:
    """A connection to a device, made on first use and made anew when it was lost.

    Raises:
        DeviceError: the device cannot be reached, its host key is not trusted, or no key is accepted.
    """

    def __init__(self, profile: DeviceProfile) -> None:
        assert profile.ssh is not None
        self.device = profile.name
        self.settings = profile.ssh
        self._clients: list[paramiko.SSHClient] = []
        self._was_up = False
        self.left_behind: int | None = None
        """The process number of a runner that may still run there, because nobody could tell it to end."""

    def runner(self) -> SshTransport:
        """A fresh runner; where the connection was lost, after waiting for the device to come back."""
        if not self._was_up:
            return self._runner()
        deadline = time.monotonic() + self.settings.return_seconds
        for attempt in count():
            try:
                return self._runner()
            except host_keys.HostKeyError:
                raise
            except DeviceError as error:
                pause = PAUSES[min(attempt, len(PAUSES) - 1)]
                if time.monotonic() + pause > deadline:
                    raise DeviceError(
                        f"{self.device} was lost and did not come back within {self.settings.return_seconds:g} s "
                        f"({error}); what was measured is kept: give the same command again"
                    ) from error
                logger.warning("%s is lost (%s): trying again", self.device, error)
                self.close()
                time.sleep(pause)
        raise AssertionError("not reached")

    def _runner(self) -> SshTransport:
        self.end_left_behind()
        channel = self.program("start")
        try:
            process = _hand_over(channel, runner_archive())
        except (*LOST, ValueError) as error:
            raise DeviceError(
                f"{self.device} does not start the runner: {last_words(channel, error)}; 'python' in the [ssh] table "
                "of its file must start Python 3.8 or newer there"
            ) from error
        self._was_up = True
        self.left_behind = process
        return SshTransport(self, channel)

    def end_left_behind(self) -> None:
        """Kill the runner of before: it may still measure, on the same cores, for a connection that is gone."""
        if self.left_behind is not None:
            channel = self.program("end")
            try:
                with self.at_most(ANSWER_SECONDS):
                    channel.sendall(b"%08d" % self.left_behind)
            except LOST as error:
                self.close()
                raise DeviceError(f"cannot end the runner of before on {self.device}: {_reason(error)}") from error
            # Set too when the channel is closed, as by a lost connection: then there is no status.
            if not channel.status_event.wait(ANSWER_SECONDS) or channel.exit_status != 0:
                self.close()
                raise DeviceError(f"cannot end the runner of before on {self.device}: nothing comes from there")
            self.left_behind = None

    def connect(self) -> str:
        """Connect, or make sure that the connection is there; the name of the server."""
        self._transport()
        return route(self.settings)[-1].name

    def program(self, call: str) -> paramiko.Channel:
        """Run a function of `bootstrap.py` there; the channel is its stdin and stdout."""
        text = f"{Path(bootstrap.__file__).read_text()}\n{call}()\n".encode()
        command = [*self.settings.python, "-c", f"'{bootstrap.RECEIVE}'"]
        channel = None
        try:
            channel = self._transport().open_session(timeout=self.settings.connect_seconds)
            channel.settimeout(ANSWER_SECONDS)
            with self.at_most(ANSWER_SECONDS):
                channel.exec_command(" ".join(command))
                channel.sendall(b"%08d" % len(text) + text)
        except LOST as error:
            words = _reason(error) if channel is None else last_words(channel, error)
            self.close()
            raise DeviceError(
                f"cannot run {self.settings.python[0]} on {self.device}: {words}; is that 'python' of the [ssh] table "
                "right?"
            ) from error
        return channel

    def alive(self) -> bool:
        """Whether the server still answers: asked, not assumed."""
        transport = self._clients[-1].get_transport() if self._clients else None
        if transport is None or not transport.is_active():
            return False
        try:
            with self.at_most(2 * self.settings.connect_seconds):
                transport.open_session(timeout=self.settings.connect_seconds).close()
        except paramiko.ChannelException:  # it says no, as one that allows a single session does: an answer
            return True
        except LOST:
            return False
        return True

    @contextmanager
    def at_most(self, seconds: float) -> Iterator[None]:
        """Hang up where the body takes longer: paramiko itself waits for ever in places, as when it sends."""
        timer = threading.Timer(seconds, self.close)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def close(self) -> None:
        """Hang up, the outermost connection first: those inside would say good-bye through it."""
        while self._clients:
            self._clients.pop(0).close()

    def host_key(self) -> tuple[Hop, paramiko.PKey]:
        """The first server on the way whose key is not trusted, or else the device itself, with the key it shows."""
        hops = route(self.settings)
        try:
            for hop in hops[:-1]:
                try:
                    self._enter(hop, _Strict(hop, self.device))
                except host_keys.HostKeyError:
                    return hop, self._key(hop)
            return hops[-1], self._key(hops[-1])
        finally:
            self.close()

    def _key(self, hop: Hop) -> paramiko.PKey:
        seen = _Look()
        with suppress(_SeenError):
            self._enter(hop, seen)
        assert seen.key is not None
        return seen.key

    def _transport(self) -> paramiko.Transport:
        """The connection as it is, or a new one."""
        transport = self._clients[-1].get_transport() if self._clients else None
        if transport is None or not transport.is_active():
            self.close()
            try:
                for hop in route(self.settings):
                    self._enter(hop, _Strict(hop, self.device))
            except BaseException:
                self.close()
                raise
            transport = self._clients[-1].get_transport()
            assert transport is not None
        return transport

    def _enter(self, hop: Hop, policy: paramiko.MissingHostKeyPolicy) -> None:
        """Connect to the next server, through those that are entered already."""
        seconds = self.settings.connect_seconds
        client = paramiko.SSHClient()  # knows no host keys, so that the policy judges every one
        client.set_missing_host_key_policy(policy)
        try:
            sock = self._socket(hop)
            client.connect(
                hop.host,
                hop.port,
                hop.user,
                key_filename=[name for name in hop.keys if Path(name).exists()],  # type: ignore[arg-type]
                sock=sock,
                timeout=seconds,
                banner_timeout=seconds,
                auth_timeout=seconds,
                channel_timeout=seconds,
                transport_factory=partial(_preferring, host_keys.recorded(hop.name, hop.known_hosts)),
            )
        except LOST as error:
            client.close()
            raise self._why(hop, error) from error
        except BaseException:
            client.close()
            raise
        transport = client.get_transport()
        assert transport is not None
        transport.set_keepalive(KEEPALIVE_SECONDS)
        self._clients.append(client)

    def _socket(self, hop: Hop) -> Any:
        seconds = self.settings.connect_seconds
        if self._clients:
            transport = self._clients[-1].get_transport()
            assert transport is not None
            return transport.open_channel("direct-tcpip", (hop.host, hop.port), ("", 0), timeout=seconds)
        if hop.proxy_command:
            return paramiko.ProxyCommand(hop.proxy_command)
        made = socket.create_connection((hop.host, hop.port), timeout=seconds)
        # Without it the last packet of a model waits 40 ms for the acknowledgement of those before.
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def _why(self, hop: Hop, error: Exception) -> DeviceError:
        """What to tell a person about a server that cannot be entered."""
        if isinstance(error, paramiko.PasswordRequiredException):
            return DeviceError(f"the key for {hop.name} has a passphrase: add it to the agent with 'ssh-add'")
        cut_off = any(text in str(error) for text in CUT_OFF)
        refused = isinstance(error, paramiko.AuthenticationException) and not cut_off
        if refused or "authentication methods" in str(error):
            return DeviceError(
                f"{hop.name} accepts no key of {hop.user or getpass.getuser()}: add one there with 'ssh-copy-id', or "
                f"name user and key in the [ssh] table of {self.device}"
            )
        if isinstance(error, socket.gaierror):
            return DeviceError(
                f"cannot find {self.device}: no address is known for {hop.host!r}; set the device up as "
                f"devices/{self.device}.toml says, write its address there as host (or as HostName under "
                f"'Host {hop.host}' into {self.settings.config}), give 'ssh-copy-id' and 'hwnas devices trust "
                f"{self.device}', then 'hwnas devices check {self.device}'"
            )
        if isinstance(error, ConnectionRefusedError):
            return DeviceError(
                f"cannot reach {self.device}: nothing listens at {hop.name}; start its SSH server, or correct host and "
                "port in the [ssh] table"
            )
        if isinstance(error, TimeoutError):
            return DeviceError(
                f"{hop.name} does not answer within {self.settings.connect_seconds:g} s: is {self.device} switched on?"
            )
        return DeviceError(f"cannot reach {self.device} at {hop.name}: {_reason(error)}")


class _Strict(paramiko.MissingHostKeyPolicy):
    """Refuses every key that is not recorded."""

    def __init__(self, hop: Hop, device: str) -> None:
        self.hop = hop
        self.device = device

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        host_keys.refuse_unknown(self.hop.name, key, self.hop.known_hosts, self.device)


class _SeenError(Exception):
    """The key has been seen, and that is all that was wanted."""


class _Look(paramiko.MissingHostKeyPolicy):
    """Looks at a key and goes no further."""

    key: paramiko.PKey | None = None

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        self.key = key
        raise _SeenError


def _preferring(known: list[paramiko.PKey], *arguments: Any, **options: Any) -> paramiko.Transport:
    """A transport that asks first for host keys of the types that are recorded, so that these can be compared."""
    transport = paramiko.Transport(*arguments, **options)
    security = transport.get_security_options()
    names = {key.get_name() for key in known}
    wanted = [kind for kind in security.key_types if kind in names or ("ssh-rsa" in names and "rsa" in kind)]
    security.key_types = (*wanted, *(kind for kind in security.key_types if kind not in wanted))
    return transport


def _hand_over(channel: paramiko.Channel, program: bytes) -> int:
    """Say which runner is wanted, and send it where it is not there; its process number."""
    channel.sendall(hashlib.sha256(program).hexdigest().encode())
    answer = _exactly(channel, 4)
    if answer == b"want":
        channel.sendall(b"%08d" % len(program) + program)
        answer = _exactly(channel, 4)
    if answer != b"here":
        raise EOFError(f"it said {answer!r}")
    return int(_exactly(channel, 8))


def _exactly(channel: paramiko.Channel, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = channel.recv(size - len(data))
        if not part:
            raise EOFError("the channel was closed")
        data += part
    return data


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def last_words(channel: paramiko.Channel, error: BaseException, before: bytes = b"") -> str:
    """The last line that a program wrote to stderr, of which `before` is read already, or else the error."""
    text = before
    with suppress(*LOST):
        channel.settimeout(1.0)
        while part := channel.recv_stderr(1 << 16):
            text += part
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1].strip()[:300] if lines else _reason(error)


class _SilentError(EOFError):
    """Nothing moved, and the server did not answer when asked."""


class SshTransport:
    """A runner in a channel."""

    def __init__(self, connection: SshConnection, channel: paramiko.Channel) -> None:
        self._connection = connection
        self._channel = channel
        self._errors = b""

    @property
    def pid(self) -> int | None:
        """Process id of the runner on the device."""
        return self._connection.left_behind

    def request(self, header: dict[str, Any], body: bytes = b"", timeout_s: float = 60.0) -> runner.Frame:
        sent = 0
        try:
            frame = runner.encode_frame(header, body)
            while sent < len(frame):  # slowly, if need be: a slow link is no fault of a model
                piece = frame[sent : sent + PIECE]
                sent += self._patiently(partial(self._channel.send, piece), time.monotonic() + timeout_s)
            deadline = time.monotonic() + timeout_s
            return runner.read_frame(
                lambda size: self._patiently(partial(self._channel.recv, min(size, 1 << 20)), deadline)
            )
        except (*LOST, runner.ClosedError, ValueError) as error:
            raise self._died(error) from error

    def close(self) -> None:
        """End the runner: it leaves when its stdin closes, and is killed where it does not."""
        if self._channel.closed:
            return
        with suppress(*LOST, DeviceError), self._connection.at_most(2 * ANSWER_SECONDS):
            self._channel.shutdown_write()
            if self._channel.status_event.wait(LEAVE_SECONDS) and self._channel.exit_status == 0:
                self._connection.left_behind = None
            else:
                self._connection.end_left_behind()
            self._channel.close()

    def _patiently(self, act: Callable[[], Result], deadline: float) -> Result:
        """Send or receive something; while nothing moves, make sure now and then that the server is still there."""
        while (left := deadline - time.monotonic()) > 0:
            self._channel.settimeout(min(left, self._connection.settings.connect_seconds))
            self._listen()
            try:
                with self._connection.at_most(left + ANSWER_SECONDS):
                    return act()
            except TimeoutError as error:
                if not self._connection.alive():
                    raise _SilentError("nothing comes from there any more") from error
        raise TimeoutError("no answer in time")

    def _listen(self) -> None:
        """Take what it wrote to stderr and keep the end: who fills the channel's window unread, waits for ever."""
        while self._channel.recv_stderr_ready():
            self._errors = (self._errors + self._channel.recv_stderr(PIECE))[-PIECE:]

    def _died(self, error: Exception) -> DeviceError:
        """The runner's end, or that of the connection: only the first says something about a model."""
        device = self._connection.device
        if isinstance(error, _SilentError) or not self._connection.alive():
            self._connection.close()
            return ConnectionLostError(f"the connection to {device} was lost ({_reason(error)})")
        ended = self._channel.status_event.wait(LEAVE_SECONDS) if self._channel.eof_received else False
        status = self._channel.recv_exit_status() if ended else "given up"  # -1: ended by a signal
        words = last_words(self._channel, error, self._errors)
        if ended:
            self._connection.left_behind = None
            self._channel.close()
        else:
            self.close()
        return RunnerDiedError(f"the runner on {device} stopped (exit {status}): {words}")
