"""What verification said, kept for good: one line a verdict, beside the latency table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from hwnas.core.arch import Arch
from hwnas.core.errors import InputError
from hwnas.core.files import append_line, read_lines
from hwnas.core.metrics import Measurement

JOURNAL = "verdicts.jsonl"


@dataclass(frozen=True, eq=False)
class Verdict:
    """One verification: every sample, in ms, of one exported model."""

    arch: Arch
    limit_ms: float
    samples_ms: tuple[float, ...]
    date: str
    device: dict[str, Any]
    """What the device was (`hwnas.devices.facts.identity`): a verdict holds for that device alone."""

    @classmethod
    def of(cls, arch: Arch, limit_ms: float, measurement: Measurement, device: dict[str, Any]) -> Verdict:
        """The verdict that a measurement gives, dated now."""
        samples = tuple(float(value) for value in measurement.samples_ms)
        return cls(arch, limit_ms, samples, datetime.now(UTC).isoformat(timespec="seconds"), device)

    def measurement(self) -> Measurement:
        """Its samples, as measured."""
        return Measurement(np.array(self.samples_ms))

    @property
    def median_ms(self) -> float:
        return self.measurement().median

    @property
    def p90_ms(self) -> float:
        return self.measurement().p90

    @property
    def holds(self) -> bool:
        """The measured p90 is within the limit."""
        return self.p90_ms <= self.limit_ms

    def to_json(self) -> dict[str, Any]:
        """One line of the journal."""
        samples = [round(value, 6) for value in self.samples_ms]
        return {
            "arch": self.arch.to_json(),
            "limit_ms": self.limit_ms,
            "date": self.date,
            "device": self.device,
            "samples_ms": samples,
        }

    @classmethod
    def from_json(cls, document: Any) -> Verdict | None:
        """Read what `to_json` wrote; None for what is no verdict."""
        try:
            samples = tuple(float(value) for value in document["samples_ms"])
            arch = Arch.from_json(document["arch"])
            limit_ms, date, device = float(document["limit_ms"]), str(document["date"]), dict(document["device"])
            return cls(arch, limit_ms, samples, date, device) if samples else None
        except (KeyError, TypeError, ValueError, InputError):
            return None


class Verdicts:
    """The verdicts in a latency table's folder that are of a device as it is now."""

    def __init__(self, folder: Path, device: dict[str, Any]) -> None:
        self._path = folder / JOURNAL
        read = [Verdict.from_json(line) for line in read_lines(self._path)]
        self._known = [verdict for verdict in read if verdict is not None and verdict.device == device]

    def keep(self, verdict: Verdict) -> None:
        """Write a verdict down; once this returns it is kept."""
        append_line(self._path, verdict.to_json())
        self._known.append(verdict)

    def of_space(self, space_id: str) -> list[Verdict]:
        """Verdicts on architectures of a space, oldest first."""
        return [verdict for verdict in self._known if verdict.arch.space_id == space_id]

    def missed(self, limit_ms: float) -> frozenset[Arch]:
        """Architectures that were measured beyond this limit: they are out."""
        return frozenset(verdict.arch for verdict in self._known if verdict.p90_ms > limit_ms)

    def missed_at(self, limit_ms: float) -> int:
        """How many models that were verified for this very limit missed it."""
        return sum(verdict.limit_ms == limit_ms and not verdict.holds for verdict in self._known)

    def held(self, limit_ms: float) -> frozenset[Arch]:
        """Architectures that were measured within this limit."""
        return frozenset(verdict.arch for verdict in self._known if verdict.p90_ms <= limit_ms)
