"""The latency model that a workspace uses for a device: whichever was best, corrected as networks are measured.

`CorrectedTable` is one such model, which fits itself anew. Any other kind is fitted once (`FittedLatency`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hwnas.core.additive import Additive
from hwnas.core.arch import Arch, ArchBatch
from hwnas.core.errors import InputError
from hwnas.core.files import sha256, write_json
from hwnas.core.metrics import LATENCY, Floats, Metric, Prediction, Timed
from hwnas.core.problem import Statistic
from hwnas.core.protocols import SearchSpace
from hwnas.latency.closed_loop import Correction, Limit, Points
from hwnas.latency.lut import CorrectedTable
from hwnas.latency.model_file import read_document, reading
from hwnas.luts import LatencyTable

if TYPE_CHECKING:
    from hwnas.latency.gcn_space import GcnLatency

    ArchLatency = Additive | GcnLatency
    """Medians of architectures in ms. Torch, which graph networks need, is imported where there is one."""


class LatencyInUse(Protocol):
    """What a search under a limit asks of a latency model, and tells it."""

    metric: Metric
    name: str
    """As in the report card."""
    space: SearchSpace
    points: Points

    def estimate(self, batch: ArchBatch) -> Prediction: ...

    def reachable(self, statistic: Statistic = "median") -> tuple[float, float]: ...

    def least(self, statistic: Statistic = "median") -> Arch: ...

    def update(
        self, batch: ArchBatch, measurements: Sequence[Timed], *, limit_ms: float | None = None
    ) -> LatencyInUse: ...

    def save(self, path: Path) -> None: ...


class FittedLatency:
    """A model of any kind as it was fitted, with a tail and a scale by measured networks. Immutable.

    `interval` is the relative half-width that medians of networks it was not fitted on kept within, nine in ten.
    """

    metric: Metric = LATENCY

    def __init__(
        self,
        space: SearchSpace,
        name: str,
        base: ArchLatency,
        points: Points,
        interval: float,
        *,
        limit: Limit | None = None,
        correction: Correction | None = None,
    ) -> None:
        self.space, self.name, self.base, self.points, self.interval = space, name, base, points, interval
        self.limit = limit or Limit()
        self.correction = correction or self._fit()

    def estimate(self, batch: ArchBatch) -> Prediction:
        """N predictions; infinite for what lies outside what was fitted on, so that no search proposes it."""
        base = self.base(batch)
        median = self.correction.median(base)
        return Prediction(
            median, self.correction.p90(base), median * max(0.0, 1 - self.interval), median * (1 + self.interval)
        )

    def reachable(self, statistic: Statistic = "median") -> tuple[float, float]:
        """Least and greatest predicted value over the space, as far as the model's own `range` knows them."""
        low, high = self._corrected(np.array(self.base.range()), statistic).tolist()
        return low, high

    def least(self, statistic: Statistic = "median") -> Arch:
        """The architecture of least predicted value; it is that of either statistic."""
        return self.base.least()

    def update(
        self,
        batch: ArchBatch,
        measurements: Sequence[Timed],
        *,
        limit_ms: float | None = None,
        statistic: Statistic = "p90",
    ) -> FittedLatency:
        """The closed loop's correction, with newly measured networks; the model itself stays as it is."""
        limit = Limit(limit_ms if limit_ms is not None else self.limit.ms, statistic)
        points = self.points.join(Points.of(batch, measurements, verdict=True))
        return FittedLatency(self.space, self.name, self.base, points, self.interval, limit=limit)

    def save(self, path: Path) -> None:
        """Write the model and every measured network, whole or not at all; a graph network has a file beside `path`."""
        old = set(_weights_files(path))
        document = {
            "schema": 1,
            "model": self.name,
            "space": self.space.id,
            "limit_ms": self.limit.ms,
            "statistic": self.limit.statistic,
            "correction": vars(self.correction),
            "interval": self.interval,
            **self._base_document(path),
            "points": self.points.to_json(),
        }
        write_json(path, document)
        for file in old - {path.with_name(str(document.get("weights")))}:
            file.unlink(missing_ok=True)

    @classmethod
    def load(cls, space: SearchSpace, path: Path) -> FittedLatency:
        """Read what `save` wrote.

        Raises:
            InputError: a file is missing, damaged or of another space.
        """
        with reading(path, space) as document:
            base: ArchLatency
            if "weights" in document:
                base = _gcn(space, path.with_name(document["weights"]), document["weights_sha256"])
            else:
                base = Additive.from_json(space, document["additive"])
            return cls(
                space,
                str(document["model"]),
                base,
                Points.from_json(document["points"]),
                float(document["interval"]),
                limit=Limit(document["limit_ms"], document["statistic"]),
                correction=Correction(**document["correction"]),
            )

    def _base_document(self, path: Path) -> dict[str, Any]:
        if isinstance(self.base, Additive):
            return {"additive": self.base.to_json()}
        made = path.with_name(f"{path.stem}.new.safetensors")
        self.base.gcn.save(made)
        digest = sha256(made)
        # Its name tells its content: a kill leaves the old pair of files or the new one.
        weights = path.with_name(f"{path.stem}.{digest[:12]}.safetensors")
        made.replace(weights)
        return {"weights": weights.name, "weights_sha256": digest}

    def _corrected(self, base: Floats, statistic: Statistic) -> Floats:
        return self.correction.p90(base) if statistic == "p90" else self.correction.median(base)

    def _fit(self) -> Correction:
        base = self.base(ArchBatch(self.space.id, self.points.genes))
        known = np.isfinite(base)  # an earlier search may have measured what lies outside
        return Correction.fit(self.points.take(known), base[known], self.limit)


def load_latency(space: SearchSpace, table: LatencyTable, path: Path) -> LatencyInUse:
    """The model that a table's folder keeps, of whichever kind.

    Raises:
        InputError: a file is missing, damaged or of another space.
    """
    if read_document(path, space).get("model", CorrectedTable.name) == CorrectedTable.name:
        return CorrectedTable.load(space, table, path)
    return FittedLatency.load(space, path)


def _weights_files(path: Path) -> list[Path]:
    return list(path.parent.glob(f"{path.stem}.*.safetensors"))


def _gcn(space: SearchSpace, path: Path, digest: str) -> GcnLatency:
    from hwnas.latency.gcn import GCN
    from hwnas.latency.gcn_space import GcnLatency

    if not path.exists() or sha256(path) != digest:
        raise InputError(f"{path} is missing or damaged: run `hwnas profile` again")
    return GcnLatency(space, GCN.load(path), outside="infinite")
