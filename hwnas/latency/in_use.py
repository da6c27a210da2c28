"""The latency model that a workspace uses for a device: whichever was best, corrected as networks are measured.

`CorrectedTable` is one such model, which fits itself anew. Any other kind is fitted once (`FittedLatency`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hwnas.core.additive import Additive
from hwnas.core.arch import Arch, ArchBatch
from hwnas.core.errors import InputError
from hwnas.core.files import sha256
from hwnas.core.metrics import LATENCY, Floats, Metric, Prediction, Timed
from hwnas.core.problem import Statistic
from hwnas.core.protocols import SearchSpace
from hwnas.latency.closed_loop import Correction, Limit, Points
from hwnas.latency.lut import CorrectedTable
from hwnas.latency.model_file import read_document, reading, remove_weights, write_document, writing
from hwnas.luts import LatencyTable
from hwnas.luts.table import profile_again


@dataclass(frozen=True, eq=False)
class Floored:
    """A sum that was fitted, and says of networks far from those that it was fitted on no less than `floor_ms`."""

    total: Additive
    floor_ms: float

    def __call__(self, batch: ArchBatch) -> Floats:
        """N medians in ms."""
        return np.maximum(self.total(batch), self.floor_ms)

    def least(self) -> Arch:
        """An architecture of the least median, exactly."""
        return self.total.least()

    def range(self) -> tuple[float, float]:
        """Least and greatest median in ms, exactly."""
        low, high = self.total.range()
        return max(low, self.floor_ms), max(high, self.floor_ms)


if TYPE_CHECKING:
    from hwnas.latency.gcn_space import GcnLatency

    ArchLatency = Additive | Floored | GcnLatency
    """Medians of architectures in ms. Torch, which graph networks need, is imported where there is one."""


LEAST_SHARE = 0.001
"""Of the median: the lower bound is no less, for it is a time."""


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
        lower = median * max(LEAST_SHARE, 1 - self.interval)
        return Prediction(median, self.correction.p90(base), lower, median * (1 + self.interval))

    def reachable(self, statistic: Statistic = "median") -> tuple[float, float]:
        """Least and greatest predicted value over the space: exact for sums.

        For a graph network the ends that were found, and no narrower than what was measured.
        """
        low, high = self._corrected(np.array(self.base.range()), statistic).tolist()
        if isinstance(self.base, Additive | Floored):
            return low, high
        measured = self.points.p90 if statistic == "p90" else self.points.median
        return min(low, float(measured.min())), max(high, float(measured.max()))

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
        points = self.points.join(Points.of(batch, measurements, verdict=True))
        return FittedLatency(
            self.space, self.name, self.base, points, self.interval, limit=self.limit.moved(limit_ms, statistic)
        )

    def save(self, path: Path) -> None:
        """Write the model and every measured network, whole or not at all; a graph network has a file beside `path`."""
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
        write_document(path, document)
        remove_weights(path, but=document.get("weights"))

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
                total = Additive.from_json(space, document["additive"])
                base = Floored(total, float(document["floor_ms"])) if "floor_ms" in document else total
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
        if isinstance(self.base, Floored):
            return {"additive": self.base.total.to_json(), "floor_ms": self.base.floor_ms}
        made = path.with_name(f"{path.stem}.new.safetensors")
        self.base.gcn.save(made)
        digest = sha256(made)
        # Its name tells its content: a kill leaves the old pair of files or the new one.
        weights = path.with_name(f"{path.stem}.{digest[:12]}.safetensors")
        with writing(path):
            made.replace(weights)
        return {"weights": weights.name, "weights_sha256": digest}

    def _corrected(self, base: Floats, statistic: Statistic) -> Floats:
        return self.correction.p90(base) if statistic == "p90" else self.correction.median(base)

    def _fit(self) -> Correction:
        base = self.base(ArchBatch(self.space.id, self.points.genes))
        known = np.isfinite(base)  # an earlier search may have measured what lies outside
        points, base = self.points.take(known), base[known]
        profiled = ~points.verdict
        level = float(np.median(points.median[profiled] / base[profiled])) if profiled.any() else 1.0
        return Correction.fit(points, base, self.limit, level=level)


def load_latency(space: SearchSpace, table: LatencyTable, path: Path) -> LatencyInUse:
    """The model that a table's folder keeps, of whichever kind.

    Raises:
        InputError: a file is missing, damaged or of another space.
    """
    if read_document(path, space).get("model", CorrectedTable.name) == CorrectedTable.name:
        return CorrectedTable.load(space, table, path)
    return FittedLatency.load(space, path)


def _gcn(space: SearchSpace, path: Path, digest: str) -> GcnLatency:
    from hwnas.latency.gcn import GCN
    from hwnas.latency.gcn_space import GcnLatency

    if not path.exists() or sha256(path) != digest:
        raise InputError(f"{path} is missing or damaged: {profile_again(path)}")
    return GcnLatency(space, GCN.load(path), outside="infinite")
