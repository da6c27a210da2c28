"""Measures ONNX models on the machine it runs on; one self-contained file (Python 3.8+, numpy, onnxruntime).

``python runner.py`` answers framed requests on stdin with framed answers on stdout, so the same file serves a local
child process and a far device behind any byte pipe. A frame is::

    magic "HWN1" | header length u32 | body length u32 | crc32 u32 of lengths, header and body | header | body

all big-endian; the header is one JSON object, the body raw bytes. Requests (header key "do"):

    probe                               what this machine is
    configure  cores                    pin this process to these cores
    load       name threads seed + body an ONNX model: make a session and its input
    measure    names rules seed         warm up, then sample in interleaved rounds -> float64 samples as body
    unload     names                    drop sessions
    quit

Every answer has "ok"; a failure carries "error" and leaves the runner alive. A frame whose checksum is wrong is
answered with an error; one without the magic means that the stream is out of step, and ends the runner.

Why the measurements are as they are:

- Settings: one inter-operator thread and sequential execution (the models are chains; nothing runs side by side), all
  graph optimisations (what a deployment uses), spinning left at onnxruntime's default, intra-operator threads as asked.
- A sample is `time.perf_counter_ns` around one `session.run` from Python with the input made beforehand and the garbage
  collector off: what a caller waits for, the call's own few microseconds included.
- Warm-up runs in windows until the medians of two windows in a row agree within a tolerance (bounded in time).
- Samples come in rounds; a round visits every model once, in an order drawn anew, for a short burst. A slow spell of a
  shared machine so falls on all models alike instead of on one. The first runs of a burst are untimed: they refill the
  caches that the previous model took, and a deployed model runs on end.
- device_seconds counts session creation, warm-up and the bursts: what the device was busy for.
- The runner ignores SIGINT (its parent decides) and leaves, even in mid-measurement, when its stdin closes, so that a
  killed parent leaves no orphan.
"""

from __future__ import annotations

import gc
import json
import math
import os
import platform
import random
import select
import signal
import statistics
import struct
import sys
import time
import zlib
from typing import Any, BinaryIO, Callable, Dict, List, Tuple

import numpy as np

MAGIC = b"HWN1"
PREFIX = struct.Struct(">4sIII")
MAX_HEADER = 1 << 22
MAX_BODY = 1 << 30
WINDOW_RUNS = 5
WINDOW_NS = 2_000_000
"""A warm-up window has at least so many runs and lasts at least so long: one run of a tiny block is mostly clock."""

Frame = Tuple[Dict[str, Any], bytes]


class FrameError(ValueError):
    """The checksum or the header of a frame is wrong; the next frame may still be read."""


class StreamError(FrameError):
    """The stream is out of step: nothing after this can be read."""


class ClosedError(EOFError):
    """The other side closed the stream."""


def encode_frame(header: Dict[str, Any], body: bytes = b"") -> bytes:
    """One frame as bytes."""
    text = json.dumps(header).encode()
    if len(text) > MAX_HEADER or len(body) > MAX_BODY:
        raise ValueError(f"frame too large: header {len(text)}, body {len(body)} bytes")
    return PREFIX.pack(MAGIC, len(text), len(body), _checksum(text, body)) + text + body


def read_frame(read: Callable[[int], bytes]) -> Frame:
    """Read one frame; `read(n)` returns at most n bytes, none at the end of the stream.

    Raises:
        ClosedError: the stream ended, between frames or inside one.
        StreamError: no frame begins here.
        FrameError: this frame is damaged, but was read to its end.
    """
    magic, header_size, body_size, checksum = PREFIX.unpack(_exactly(read, PREFIX.size))
    if magic != MAGIC or header_size > MAX_HEADER or body_size > MAX_BODY:
        raise StreamError("no frame begins here")
    text = _exactly(read, header_size)
    body = _exactly(read, body_size)
    if _checksum(text, body) != checksum:
        raise FrameError("the checksum of a frame is wrong")
    try:
        header = json.loads(text)
    except ValueError as error:
        raise FrameError("the header of a frame is not JSON") from error
    if not isinstance(header, dict):
        raise FrameError("the header of a frame is not an object")
    return header, body


def _checksum(header: bytes, body: bytes) -> int:
    lengths = struct.pack(">II", len(header), len(body))
    return zlib.crc32(body, zlib.crc32(header, zlib.crc32(lengths)))


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    parts: List[bytes] = []
    while size:
        part = read(size)
        if not part:
            raise ClosedError("the stream ended")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def probe() -> Dict[str, Any]:
    """What this machine is, as far as it shows; what it hides is None."""
    import onnxruntime

    return {
        "cpu": _cpu_model(),
        "machine": platform.machine(),
        "os": platform.platform(),
        "cpu_count": os.cpu_count(),
        "usable_cores": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "governor": _first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "clock_mhz": _field("/proc/cpuinfo", "cpu MHz"),
        "memory_bytes": _memory_bytes(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "runtime": "onnxruntime",
        "runtime_version": onnxruntime.__version__,
    }


ARM_CORES = {
    "0xd03": "Cortex-A53",
    "0xd04": "Cortex-A35",
    "0xd05": "Cortex-A55",
    "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72",
    "0xd09": "Cortex-A73",
    "0xd0a": "Cortex-A75",
    "0xd0b": "Cortex-A76",
    "0xd0c": "Neoverse-N1",
    "0xd40": "Neoverse-V1",
    "0xd41": "Cortex-A78",
    "0xd42": "Cortex-A78AE",
    "0xd44": "Cortex-X1",
    "0xd46": "Cortex-A510",
    "0xd47": "Cortex-A710",
    "0xd48": "Cortex-X2",
    "0xd49": "Neoverse-N2",
    "0xd4d": "Cortex-A715",
    "0xd4e": "Cortex-X3",
    "0xd80": "Cortex-A520",
    "0xd81": "Cortex-A720",
    "0xd82": "Cortex-X4",
}
"""The part numbers of Arm's own cores (Arm's technical reference manuals, MIDR_EL1); Linux shows no names there."""


def _cpu_model() -> str:
    return _field("/proc/cpuinfo", "model name") or _arm_model() or platform.processor()


def _arm_model() -> str:
    """The board, where it has a name, and its kinds of cores, most numerous first."""
    board = (_first_line("/proc/device-tree/model") or _field("/proc/cpuinfo", "Hardware") or "").strip("\0 ")
    makers, parts = _fields("/proc/cpuinfo", "CPU implementer"), _fields("/proc/cpuinfo", "CPU part")
    kinds: Dict[str, int] = {}
    for maker, part in zip(makers, parts):
        name = ARM_CORES.get(part, part) if maker == "0x41" else f"implementer {maker} part {part}"
        kinds[name] = kinds.get(name, 0) + 1
    cores = " + ".join(f"{count} x {name}" for name, count in sorted(kinds.items(), key=lambda kind: -kind[1]))
    return ", ".join(text for text in (board, cores) if text)


def _field(path: str, name: str) -> str | None:
    return next(iter(_fields(path, name)), None)


def _fields(path: str, name: str) -> List[str]:
    """Every value of a field, one a processor."""
    try:
        with open(path, errors="replace") as file:
            pairs = [line.partition(":") for line in file]
    except OSError:
        return []
    return [value.strip() for key, _, value in pairs if key.strip() == name]


def _first_line(path: str) -> str | None:
    try:
        with open(path) as file:
            return file.readline().strip()
    except OSError:
        return None


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


class Loaded:
    """A session, its input, and its seconds on the device so far."""

    def __init__(self, model: bytes, threads: int, seed: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        start = time.perf_counter()
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.create_seconds = time.perf_counter() - start
        rng = np.random.default_rng(seed)
        feed = {entry.name: _input(entry, rng) for entry in session.get_inputs()}
        self.run: Callable[[], Any] = lambda: session.run(None, feed)
        self.run()  # a model that cannot run fails here, as an answer to "load"
        self.device_seconds = time.perf_counter() - start
        self.samples_ns: List[int] = []

    def warm_up(self, tolerance: float, max_seconds: float) -> Dict[str, Any]:
        """Run in windows until two in a row agree; says how it went."""
        start = time.perf_counter()
        before, runs, steady = math.inf, 0, False
        while not steady and time.perf_counter() - start < max_seconds:
            window = self._burst(WINDOW_RUNS, WINDOW_NS, int(max_seconds * 1e9))
            middle = statistics.median(window)
            steady = abs(middle - before) <= tolerance * middle
            before, runs = middle, runs + len(window)
        seconds = time.perf_counter() - start
        self.device_seconds += seconds
        return {"steady": steady, "runs": runs, "seconds": seconds}

    def sample(self, settle: int, runs: int, min_ns: int, max_ns: int) -> None:
        """`settle` untimed runs, then a burst of at least `runs` runs and `min_ns`, and no longer than `max_ns`."""
        start = time.perf_counter()
        for _ in range(settle):
            self.run()
        self.samples_ns += self._burst(runs, min_ns, max_ns)
        self.device_seconds += time.perf_counter() - start

    def _burst(self, runs: int, min_ns: int, max_ns: int) -> List[int]:
        clock, run = time.perf_counter_ns, self.run
        samples: List[int] = []
        start = clock()
        while True:
            before = clock()
            run()
            after = clock()
            samples.append(after - before)
            spent = after - start
            if (len(samples) >= runs and spent >= min_ns) or spent >= max_ns:
                return samples


def _input(entry: Any, rng: np.random.Generator) -> Any:
    kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
    shape = [size if isinstance(size, int) and size > 0 else 1 for size in entry.shape]
    if entry.type in kinds:
        return rng.standard_normal(shape).astype(kinds[entry.type])
    return rng.integers(0, 2, shape).astype(entry.type[len("tensor(") : -1])


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
        try:
            warm = {name: self._warm(model, header["rules"]) for name, model in models.items()}
            self._rounds(models, header["rules"], random.Random(header["seed"]))
        finally:
            gc.enable()
        entries = [
            {
                "name": name,
                "samples": len(model.samples_ns),
                "warm_up": warm[name],
                "device_seconds": model.device_seconds - before[name],
            }
            for name, model in models.items()
        ]
        samples_ns = [sample for model in models.values() for sample in model.samples_ns]
        return {"models": entries}, (np.array(samples_ns, dtype="<f8") / 1e6).tobytes()

    def _warm(self, model: Loaded, rules: Dict[str, Any]) -> Dict[str, Any]:
        self._leave_if_gone()
        model.samples_ns = []
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


def serve(read: Callable[[int], bytes], out: BinaryIO, runner: Runner) -> int:
    """Answer requests until the stream ends or is out of step; the exit status."""
    while True:
        try:
            header, body = read_frame(read)
        except ClosedError:
            return 0
        except StreamError as error:
            _send(out, {"ok": False, "error": str(error)}, b"")
            return 2
        except FrameError as error:
            _send(out, {"ok": False, "error": str(error)}, b"")
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Frames get a descriptor of their own: whatever a library prints goes to stderr and harms none.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    poller = select.poll()
    poller.register(0, select.POLLHUP)

    def gone() -> bool:
        return any(event & (select.POLLHUP | select.POLLERR) for _, event in poller.poll(0))

    try:
        return serve(lambda size: os.read(0, min(size, 1 << 20)), out, Runner(gone))
    except BrokenPipeError:
        os._exit(0)  # nobody listens; flushing at exit would only fail again


if __name__ == "__main__":
    sys.exit(main())
