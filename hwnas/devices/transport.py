"""How a runner is reached: one request, one answer. A pipe to a child process here; `ssh.py` has the other."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

import numpy as np

from hwnas.core.errors import DeviceError
from hwnas.core.metrics import Floats
from hwnas.devices import runner


class RunnerDiedError(DeviceError):
    """The runner stopped or no longer makes sense; a fresh one may work."""


class ConnectionLostError(DeviceError):
    """The way to the runner broke, through no fault of a model; what was asked is worth asking again."""


class Transport(Protocol):
    """A channel to one runner."""

    def request(self, header: dict[str, Any], body: bytes = b"", timeout_s: float = 60.0) -> runner.Frame:
        """Send one request and wait for its answer, which may be an error answer.

        Raises:
            RunnerDiedError: the runner is gone, silent for `timeout_s`, or out of step.
            ConnectionLostError: the connection is gone, and the runner with it.
        """
        ...

    def close(self) -> None:
        """End the runner; harmless when it is gone already."""
        ...


class LocalTransport:
    """A runner as a child process, in a process group of its own so that Ctrl-C reaches only the parent."""

    def __init__(self, command: Sequence[str] | None = None) -> None:
        # -P: what lies in the folder where hwnas was called must not shadow the child's modules.
        self._command = list(command or (sys.executable, "-P", "-m", runner.__name__))
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        try:
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                bufsize=0,
                process_group=0,
            )
        except OSError as error:
            self._errors.close()
            raise DeviceError(f"cannot start the runner {self._command[0]}: {error.strerror}") from error

    @property
    def pid(self) -> int:
        """Process id of the runner."""
        return self._child.pid

    def request(self, header: dict[str, Any], body: bytes = b"", timeout_s: float = 60.0) -> runner.Frame:
        deadline = time.monotonic() + timeout_s
        try:
            self._send(runner.encode_frame(header, body))
            return runner.read_frame(lambda size: self._read(size, deadline))
        except (BrokenPipeError, runner.ClosedError, runner.FrameError, TimeoutError, ValueError) as error:
            raise RunnerDiedError(self._epitaph(error)) from error

    def close(self) -> None:
        if self._errors.closed:
            return
        for pipe in (self._child.stdin, self._child.stdout):
            assert pipe is not None
            pipe.close()  # the runner leaves when its stdin closes
        try:
            self._child.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            self._kill()
            self._child.wait()
        self._errors.close()

    def _send(self, data: bytes) -> None:
        assert self._child.stdin is not None
        view = memoryview(data)
        while view:
            view = view[os.write(self._child.stdin.fileno(), view) :]

    def _read(self, size: int, deadline: float) -> bytes:
        assert self._child.stdout is not None
        handle = self._child.stdout.fileno()
        ready, _, _ = select.select([handle], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError("no answer in time")
        return os.read(handle, min(size, 1 << 20))

    def _kill(self) -> None:
        """The runner, and what it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)

    def _epitaph(self, error: Exception) -> str:
        try:
            status: int | str = self._child.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            self._kill()
            status = "killed, it gave no sense"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        last = lines[-1].strip() if lines else str(error)
        return f"the runner stopped (exit {status}): {last[:300]}"


class Replay:
    """The shipped fake: answers with recorded samples (milliseconds) by model name; an unknown name fails to load.

    `conditions` are told in turn, one set a measurement and one a look at the temperature; after the last, none are.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        samples: Mapping[str, Floats] | Callable[[str], Floats],
        conditions: Iterable[Mapping[str, float]] = (),
    ) -> None:
        self._facts = dict(facts)
        self._samples = samples
        self._conditions = iter(conditions)

    def request(self, header: dict[str, Any], body: bytes = b"", timeout_s: float = 60.0) -> runner.Frame:
        match header.get("do"):
            case "probe":
                return {"ok": True, "facts": dict(self._facts)}, b""
            case "load" if self._find(header["name"]) is None:
                return {"ok": False, "error": f"no recording of {header['name']}"}, b""
            case "load":
                return {"ok": True, "create_seconds": 0.0, "device_seconds": 0.0}, b""
            case "measure":
                return self._measured(header["names"])
            case "look":
                return {"ok": True, **next(self._conditions, {})}, b""
            case "memory" | "energy":
                return {"ok": False, "error": "no recording of that"}, b""
            case _:
                return {"ok": True}, b""

    def close(self) -> None:
        pass

    def _measured(self, names: Sequence[str]) -> runner.Frame:
        parts = {name: found for name in names if (found := self._find(name)) is not None}
        warm = {"steady": True, "runs": 0, "seconds": 0.0}
        models = [
            {"name": name, "samples": len(part), "warm_up": warm, "device_seconds": float(part.sum()) / 1e3}
            for name, part in parts.items()
        ]
        body = np.concatenate([*parts.values(), np.zeros(0)]).astype("<f8").tobytes()
        return {"ok": True, "models": models, "conditions": dict(next(self._conditions, {}))}, body

    def _find(self, name: str) -> Floats | None:
        if callable(self._samples):
            return np.asarray(self._samples(name), dtype=np.float64)
        return self._samples.get(name)
