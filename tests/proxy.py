"""A TCP proxy that does harm: cuts, stalls or corrupts a connection after so many bytes."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from typing import Literal

Harm = Literal["cut", "stall", "flip"]


@dataclass
class Proxy:
    """Forwards connections to a port of this machine; the first `harmed` of them come to harm."""

    target: int
    port: int = 0
    harm: Harm | None = None
    after: int = 0
    """Bytes forwarded in one direction before the harm is done."""
    to_server: bool = False
    harmed: int = 1
    done: int = 0
    """How often harm was done."""
    passed: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    """Bytes forwarded to the server, and from it."""
    _open: list[socket.socket] = field(default_factory=list)

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        for one in (self._listener, *self._open):
            _close(one)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.target), timeout=5)
                except OSError:
                    _close(near)
                    continue
                far.settimeout(None)
                self._open += [near, far]
                for source, sink, to_server in ((near, far, True), (far, near, False)):
                    threading.Thread(target=self._forward, args=(source, sink, to_server), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, to_server: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 14):
                due = self.harm is not None and to_server == self.to_server and self.done < self.harmed
                if due and passed + len(data) > self.after:
                    self.done += 1
                    at = self.after - passed
                    if self.harm == "flip":
                        data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
                    else:
                        sink.sendall(data[:at])
                        if self.harm == "stall":
                            return
                        break
                passed += len(data)
                self.passed[to_server] += len(data)
                sink.sendall(data)
        _close(source)
        _close(sink)


def _close(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
