"""What verification said, kept for good: one line a verdict, beside the latency table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from hwnas.core.arch import Arch
from hwnas.core.errors import InputError
from hwnas.core.files import append_line, read_lines
from hwnas.core.metrics import Measurement

JOURNAL = "verdicts.jsonl"


@dataclass(frozen=True, eq=False)
class Verdict:
    """One verification: every sample of one exported model, and what went on beside it."""

    arch: Arch
    limit_ms: float
    measurement: Measurement
    date: str
    device: dict[str, Any]
    """What the device was (`hwnas.devices.facts.identity`): a verdict holds for that device alone."""

    @classmethod
    def of(cls, arch: Arch, limit_ms: float, measurement: Measurement, device: dict[str, Any]) -> Verdict:
        """The verdict that a measurement gives, dated now."""
        return cls(arch, limit_ms, measurement, datetime.now(UTC).isoformat(timespec="seconds"), device)

    @property
    def median_ms(self) -> float:
        return self.measurement.median

    @property
    def p90_ms(self) -> float:
        return self.measurement.p90

    @property
    def holds(self) -> bool:
        """The measured p90 is within the limit."""
        return self.p90_ms <= self.limit_ms

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Of median and p90, in ms (`Measurement.interval`)."""
        return {"median": self.measurement.interval(50), "p90": self.measurement.interval(90)}

    def to_json(self) -> dict[str, Any]:
        """One line of the journal."""
        told = {"arch": self.arch.to_json(), "limit_ms": self.limit_ms, "date": self.date, "device": self.device}
        return {**told, **self.measurement.record()}

    @classmethod
    def from_json(cls, document: Any) -> Verdict | None:
        """Read what `to_json` wrote; None for what is no verdict."""
        try:
            measurement = Measurement.from_record(document)
            arch = Arch.from_json(document["arch"])
            limit_ms, date, device = float(document["limit_ms"]), str(document["date"]), dict(document["device"])
        except (KeyError, TypeError, ValueError, InputError):
            return None
        return None if measurement is None else cls(arch, limit_ms, measurement, date, device)


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
