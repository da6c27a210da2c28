"""Memory of a model: the peak of a process of its own that loads and runs it, above what the process had before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any, Dict, List

ARGUMENT = "memory"
"""What the runner is called with to be such a process."""
RUNS = 3
"""The first run allocates; the allocator is at rest after the second."""
TIMEOUT_SECONDS = 300.0
"""For a process to load a model and run it four times: ten times what an emulated device takes, the slowest seen."""


def peak_memory(model: bytes, threads: int) -> Dict[str, Any]:
    """Bytes, from a process that ends with the model.

    Raises:
        ValueError: the model does not run there.
    """
    command = [sys.executable, *own_program(), ARGUMENT, str(threads)]
    done = subprocess.run(command, input=model, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=TIMEOUT_SECONDS)
    words = done.stdout.split()
    if done.returncode or len(words) != 2:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise ValueError(lines[-1] if lines else f"exit {done.returncode}")
    idle, peak = map(int, words)
    return {"peak_bytes": peak - idle, "idle_bytes": idle}


def own_program() -> List[str]:
    """How Python was told to run this runner: an archive, or a module of an installed package."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name.endswith(".__main__"):
        return ["-m", spec.parent]
    return [sys.argv[0]]


def main(threads: int) -> int:
    """Read a model from stdin; write the idle and the peak bytes to stdout."""
    import onnxruntime  # noqa: F401 - counts as idle

    from .session import Loaded

    signal.alarm(int(TIMEOUT_SECONDS))  # it ends by itself where the runner, which would end it, is gone
    model = sys.stdin.buffer.read()
    idle = _forget_peak()
    loaded = Loaded(model, threads, 0)
    for _ in range(RUNS):
        loaded.run()
    sys.stdout.write(f"{idle} {_peak()}\n")
    return 0


def _forget_peak() -> int:
    """Bytes in use now; the peak is counted from here on, where the kernel can forget the one so far."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # resets VmHWM to VmRSS (proc(5))
        return _status("VmRSS")
    except OSError:
        return _peak()


def _peak() -> int:
    try:
        return _status("VmHWM")
    except OSError:
        import resource

        kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return kib if sys.platform == "darwin" else kib * 1024  # bytes there, KiB elsewhere (getrusage(2))


def _status(field: str) -> int:
    with open(f"/proc/{os.getpid()}/status") as file:
        for line in file:
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    raise OSError(f"no {field}")
