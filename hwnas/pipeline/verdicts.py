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

    @classmethod
    def of(cls, arch: Arch, limit_ms: float, measurement: Measurement) -> Verdict:
        """The verdict that a measurement gives, dated now."""
        samples = tuple(float(value) for value in measurement.samples_ms)
        return cls(arch, limit_ms, samples, datetime.now(UTC).isoformat(timespec="seconds"))

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
        return {"arch": self.arch.to_json(), "limit_ms": self.limit_ms, "samples_ms": samples, "date": self.date}

    @classmethod
    def from_json(cls, document: Any) -> Verdict | None:
        """Read what `to_json` wrote; None for what is no verdict."""
        try:
            samples = tuple(float(value) for value in document["samples_ms"])
            arch = Arch.from_json(document["arch"])
            return cls(arch, float(document["limit_ms"]), samples, str(document["date"])) if samples else None
        except (KeyError, TypeError, ValueError, InputError):
            return None


class Verdicts:
    """The verdicts in a latency table's folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL
        read = [Verdict.from_json(line) for line in read_lines(self._path)]
        self._known = [verdict for verdict in read if verdict is not None]

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
