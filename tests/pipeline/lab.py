"""A device of which everything is known: each block takes a fixed time, a network the sum; verdicts may be forged."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import onnx
import pytest

from hwnas.core.additive import compile_additive, distinct_blocks
from hwnas.core.arch import Arch, ArchBatch
from hwnas.core.count import macs
from hwnas.core.metrics import Floats
from hwnas.core.net import NetSpec
from hwnas.devices.campaign import ANCHOR
from hwnas.devices.device import OpenDevice, open_device
from hwnas.devices.profile import DeviceProfile, MeasuringRules
from hwnas.devices.runner import Frame
from hwnas.devices.transport import Replay
from hwnas.spaces.ofa_mbv3 import OfaMbv3

CALL_MS = 0.01
"""What a call costs beside its blocks."""


def block_ms(net: NetSpec) -> float:
    """A block's time: a start and 25 million multiply-adds a millisecond."""
    return 0.004 + macs(net) / 25e6


class Lab:
    """The device, and what was asked of it. `verdict` turns a true time into the one that a verification sees."""

    def __init__(self, space: OfaMbv3, cpu: str = "abacus") -> None:
        self.space = space
        self.cpu = cpu
        self.verified: list[Arch] = []
        self.timed: list[str] = []
        self.broken: set[str] = set()
        self.speed = 1.0
        """How much faster than at first the device runs now."""
        self.verdict: Callable[[float], float] = lambda true_ms: true_ms
        self._blocks = {key: block_ms(net) for key, net in distinct_blocks(space).items()}
        self.cost = compile_additive(space, block_ms, CALL_MS)

    def true_ms(self, arch: Arch) -> float:
        """What a network takes."""
        return float(self.cost(ArchBatch.of([arch]))[0]) / self.speed

    def reachable(self) -> tuple[float, float]:
        """The least and the greatest time of a network."""
        return self.cost.range()

    def between(self, share: float) -> float:
        """A limit at this share of the reachable range."""
        least, most = self.reachable()
        return least + share * (most - least)

    def open(
        self, profile: DeviceProfile, rules: MeasuringRules | None = None, strict: bool = False
    ) -> AbstractContextManager[OpenDevice]:
        """Stands for `hwnas.devices.device.open_device`."""
        return open_device(profile, rules, connect=lambda: _Channel(self), strict=strict)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the pipeline measure here."""
        for module in ("specialize", "loop", "latency"):
            monkeypatch.setattr(f"hwnas.pipeline.{module}.open_device", self.open)

    def samples(self, name: str) -> Floats:
        """The times of a block or of a network by its genes."""
        if name == ANCHOR:
            return np.full(10, 0.1)
        if name in self._blocks:
            return np.full(10, self._blocks[name])
        space, genes = name.split(":")
        return np.full(10, self.true_ms(Arch(space, tuple(map(int, genes.split(","))))))


class _Channel(Replay):
    """A runner that knows a file by the architecture in its metadata."""

    def __init__(self, lab: Lab) -> None:
        super().__init__({"cpu": lab.cpu, "runtime": "onnxruntime", "runtime_version": "1"}, self._times)
        self._lab = lab
        self._files: dict[str, float] = {}

    def request(self, header: dict[str, Any], body: bytes = b"", timeout_s: float = 60.0) -> Frame:
        if header.get("do") == "load" and header["name"] in self._lab.broken:
            return {"ok": False, "error": "no such operator"}, b""
        if header.get("do") == "load" and not header["name"].endswith(".onnx"):
            self._lab.timed.append(header["name"])
        elif header.get("do") == "load":
            metadata = {entry.key: entry.value for entry in onnx.load_from_string(body).metadata_props}
            arch = Arch.from_json(json.loads(metadata["arch"]))
            self._lab.verified.append(arch)
            self._files[header["name"]] = self._lab.verdict(self._lab.true_ms(arch))
        return super().request(header, body, timeout_s)

    def _times(self, name: str) -> Floats:
        return np.full(10, self._files[name]) if name in self._files else self._lab.samples(name)
