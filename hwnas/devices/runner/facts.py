"""What this machine is, as far as it shows."""

from __future__ import annotations

import os
import platform
import struct
from pathlib import Path
from typing import Any, Dict, List

import numpy as np

from .sensors import ROOT, clock_mhz, energy_counters, max_clock_mhz, temperature_c


def probe() -> Dict[str, Any]:
    """The facts by name; what the machine hides is None."""
    import onnxruntime

    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    known = cores or [0]
    return {
        "cpu": cpu_model(),
        "machine": platform.machine(),
        "bits": 8 * struct.calcsize("P"),
        "isa": _extensions(),
        "os": platform.platform(),
        "cpu_count": os.cpu_count(),
        "usable_cores": cores,
        "governor": ", ".join(sorted({name for core in known if (name := _governor(core))})) or None,
        "clock_mhz": clock_mhz(known),
        "max_clock_mhz": max_clock_mhz(known),
        "cache_bytes": cache_bytes(known[0]),
        "memory_bytes": _memory_bytes(),
        "energy_counters": [counter.name for counter in energy_counters()],
        "temperature_c": temperature_c(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "runtime": "onnxruntime",
        "runtime_version": onnxruntime.__version__,
    }


EXTENSIONS = (
    *("sse4_2", "avx", "f16c", "fma", "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16"),
    *("avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "neon", "asimd", "fphp", "asimdhp", "asimddp", "bf16", "i8mm"),
    *("sve", "sve2", "sme", "sme2"),
)
"""Of those that Linux names (x86: flags, Arm: Features), the ones that kernels of neural networks choose by."""
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


def cache_bytes(core: int, root: Path = ROOT) -> Dict[str, int]:
    """Sizes of the caches that a core reads data through, by level ("L1", "L2"); empty where Linux hides them."""
    sizes: Dict[str, int] = {}
    for folder in sorted(root.glob(f"sys/devices/system/cpu/cpu{core}/cache/index*")):
        level, kind, size = (_first_line(str(folder / name)) or "" for name in ("level", "type", "size"))
        if kind in ("Data", "Unified") and size.endswith("K") and size[:-1].isdigit():
            sizes[f"L{level}"] = 1024 * int(size[:-1])
    return sizes


def cpu_model() -> str:
    """What the processor calls itself."""
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


def _extensions() -> List[str]:
    shown = (_field("/proc/cpuinfo", "flags") or _field("/proc/cpuinfo", "Features") or "").split()
    return [name for name in EXTENSIONS if name in shown]


def _governor(core: int) -> str | None:
    return _first_line(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor")


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
