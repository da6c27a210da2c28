"""The runner itself: it keeps models, measures them in rounds, and answers requests."""

from __future__ import annotations

import gc
import math
import os
import random
import select
import signal
import sys
from typing import Any, BinaryIO, Callable, Dict

import numpy as np

from .energy import energy
from .facts import probe
from .frames import ClosedError, Frame, FrameError, StreamError, encode_frame, read_frame
from .memory import ARGUMENT, peak_memory
from .memory import main as memory_main
from .sensors import temperature_c
from .session import Loaded
from .watch import Watch

FIRST_SECONDS = 60
"""For the first request to come; after that whoever started the runner does not know of it, and it ends."""
IDLE_SECONDS = 1800
"""Between requests, before a runner takes it that nobody is there any more: a silent link closes no stream."""


class Runner:
    """Keeps the loaded models and answers requests; `gone` says whether anyone still listens."""

    def __init__(self, gone: Callable[[], bool] = lambda: False) -> None:
        self.models: Dict[str, Loaded] = {}
        self.gone = gone

    def answer(self, header: Dict[str, Any], body: bytes) -> Frame:
        """Carry out one request; whatever goes wrong inside becomes an error answer."""
        handlers: Dict[str, Callable[[Dict[str, Any], bytes], Frame]] = {
            "probe": lambda header, body: ({"facts": probe()}, b""),
            "configure": self._configure,
            "load": self._load,
            "measure": self._measure,
            "look": lambda header, body: ({"temperature_c": temperature_c()}, b""),
            "memory": lambda header, body: (peak_memory(body, int(header["threads"])), b""),
            "energy": lambda header, body: (
                energy(self.models[header["name"]].run, float(header["seconds"])),
                b"",
            ),
            "unload": self._unload,
        }
        try:
            handler = handlers.get(str(header.get("do")))
            if handler is None:
                raise ValueError(f"no request is called {header.get('do')!r}")
            reply, data = handler(header, body)
            return {"ok": True, **reply}, data
        except Exception as error:  # the one place that may: a failing model must not take the runner down
            text = " ".join(str(error).split())[:2000]
            return {"ok": False, "error": f"{type(error).__name__}: {text}"}, b""

    def _configure(self, header: Dict[str, Any], body: bytes) -> Frame:
        cores = header.get("cores")
        if cores is not None:
            os.sched_setaffinity(0, cores)
        return {}, b""

    def _load(self, header: Dict[str, Any], body: bytes) -> Frame:
        loaded = Loaded(body, int(header["threads"]), int(header["seed"]))
        self.models[str(header["name"])] = loaded
        return {"create_seconds": loaded.create_seconds, "device_seconds": loaded.device_seconds}, b""

    def _unload(self, header: Dict[str, Any], body: bytes) -> Frame:
        for name in header["names"]:
            self.models.pop(name, None)
        return {}, b""

    def _measure(self, header: Dict[str, Any], body: bytes) -> Frame:
        models = {name: self.models[name] for name in header["names"]}
        if not models:
            raise ValueError("no model to measure")
        before = {name: model.device_seconds for name, model in models.items()}
        gc.collect()
        gc.disable()
        watch = Watch(float(header.get("fastest_mhz") or 0.0))
        try:
            warm = {name: self._warm(model, header["rules"]) for name, model in models.items()}
            self._rounds(models, header["rules"], random.Random(header["seed"]))
            conditions = watch.conditions()
        finally:
            gc.enable()
        entries = [
            {
                "name": name,
                "samples": len(model.samples_ns),
                "bursts": model.bursts,
                "warm_up": warm[name],
                "device_seconds": model.device_seconds - before[name],
            }
            for name, model in models.items()
        ]
        samples_ns = [sample for model in models.values() for sample in model.samples_ns]
        return {"models": entries, "conditions": conditions}, (np.array(samples_ns, dtype="<f8") / 1e6).tobytes()

    def _warm(self, model: Loaded, rules: Dict[str, Any]) -> Dict[str, Any]:
        self._leave_if_gone()
        model.samples_ns, model.bursts = [], []
        return model.warm_up(rules["warm_up_tolerance"], rules["warm_up_max_seconds"])

    def _rounds(self, models: Dict[str, Loaded], rules: Dict[str, Any], rng: random.Random) -> None:
        rounds = rules["rounds"]
        runs = math.ceil(rules["min_samples"] / rounds)
        min_ns, max_ns = (int(rules[key] * 1e9 / rounds) for key in ("min_seconds", "max_seconds"))
        order = list(models.values())
        for _ in range(rounds):
            rng.shuffle(order)
            for model in order:
                self._leave_if_gone()
                model.sample(rules["settle_runs"], runs, min_ns, max_ns)

    def _leave_if_gone(self) -> None:
        if self.gone():
            raise SystemExit(0)


def serve(
    read: Callable[[int], bytes],
    out: BinaryIO,
    runner: Runner,
    alarm: Callable[[int], Any] = lambda seconds: None,
) -> int:
    """Answer requests until the stream ends or is out of step; the exit status.

    `alarm` is told in how many seconds to end this process, unless it is told otherwise before.
    """
    patience = FIRST_SECONDS
    while True:
        try:
            alarm(patience)
            header, body = read_frame(read)
            alarm(0)
            patience = IDLE_SECONDS
        except ClosedError:
            return 0
        except StreamError as error:
            _send(out, {"ok": False, "error": str(error)}, b"")
            return 2
        except FrameError as error:
            _send(out, {"ok": False, "damaged": True, "error": str(error)}, b"")
            continue
        if header.get("do") == "quit":
            _send(out, {"ok": True}, b"")
            return 0
        _send(out, *runner.answer(header, body))


def _send(out: BinaryIO, header: Dict[str, Any], body: bytes) -> None:
    out.write(encode_frame(header, body))
    out.flush()


def main() -> int:
    """Serve stdin and stdout."""
    if sys.argv[1:2] == [ARGUMENT]:
        return memory_main(int(sys.argv[2]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Frames get a descriptor of their own: whatever a library prints goes to stderr and harms none.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    poller = select.poll()
    poller.register(0, select.POLLHUP)

    def gone() -> bool:
        return any(event & (select.POLLHUP | select.POLLERR) for _, event in poller.poll(0))

    try:
        return serve(lambda size: os.read(0, min(size, 1 << 20)), out, Runner(gone), signal.alarm)
    except BrokenPipeError:
        os._exit(0)  # nobody listens; flushing at exit would only fail again
