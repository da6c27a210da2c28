"""What `specialize` found, and the document that tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hwnas.core.protocols import Predictor, SearchSpace
from hwnas.core.quality import disturbance
from hwnas.devices.consumption import Energy, Memory
from hwnas.devices.profile import DeviceProfile
from hwnas.pipeline.candidates import Candidate
from hwnas.pipeline.finalists import Exported
from hwnas.pipeline.names import option_values
from hwnas.pipeline.verdicts import Verdict


@dataclass(frozen=True, eq=False)
class SpecializeReport:
    """A model that was measured to hold the limit, or simulated where the device is a simulator."""

    device: DeviceProfile
    limit_ms: float
    binding: bool
    space: SearchSpace
    candidate: Candidate
    exported: Exported
    verdict: Verdict
    latency_model: str
    """What was searched with, as the report card calls it."""
    predictor: Predictor
    """What told the candidates' accuracies."""
    rounds: int
    supernet: str = ""
    table: str = ""
    package: str | None = None
    """None where only an architecture was asked for."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    memory: Memory | None = None
    """None where the device cannot tell it."""
    energy: Energy | None = None
    """None where it was not asked for."""
    faster: Candidate | None = None
    """A subnet below the band that is predicted to be more accurate, by more than the predictor's own error."""

    def to_json(self) -> dict[str, Any]:
        """The document of `hwnas specialize --json`."""
        latency = {"median": self.verdict.median_ms, "p90": self.verdict.p90_ms}
        simulated = self.device.simulated
        used = {} if self.energy is None else self.energy.to_json()
        peak = None if self.memory is None else self.memory.peak_bytes
        test, agreement = self.exported.test, self.exported.agreement
        accuracy = None if test is None else {"top1": test.top1, "images": test.images, "split": "test"}
        artifact = {
            "file": "model.onnx",
            "runtime": self.device.runtime,
            "precision": "float32",
            "latency_ms": latency,
            "verified_by": self.device.verified_by,
            "memory_bytes": peak,
            "top1": None if test is None else test.top1,
        }
        measured = {
            "latency_ms": latency,
            "interval_95_ms": {name: list(ends) for name, ends in self.verdict.intervals.items()},
            "disturbed": disturbance(self.verdict.measurement),
            "memory_bytes": peak,
            **used,
        }
        return {
            "schema": 1,
            "holds": self.verdict.holds,
            "binding": self.binding,
            "device": self.device.name,
            "device_kind": self.device.device_kind,
            "verified_by": self.device.verified_by,
            "supernet": self.supernet,
            "weights": self.exported.weights,
            "package": self.package,
            "table": self.table,
            "arch": self.candidate.arch.to_json(),
            "choices": option_values(self.space, self.candidate.arch),
            "constraints": [{"metric": "latency", "statistic": "p90", "limit": self.limit_ms, "unit": "ms"}],
            "predicted": {**self.candidate.to_json()["predicted"], **self._models()},
            "measured": None if simulated else measured,
            "simulated": {"latency_ms": latency, **used} if simulated else None,
            "accuracy": accuracy,
            "agreement": None if agreement is None else asdict(agreement),
            "artifacts": [] if self.package is None else [artifact],
            "faster": None if self.faster is None else self.faster.to_json(),
            "rounds": self.rounds,
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
        }

    def _models(self) -> dict[str, str | None]:
        """What predicted."""
        note = self.predictor.note or None
        return {
            "latency_model": self.latency_model,
            "accuracy_model": self.predictor.name,
            "accuracy_note": note,
        }
