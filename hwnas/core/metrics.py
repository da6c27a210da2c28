"""What is measured and what is predicted, with units in the names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """A quantity: `sense` says whether more of it is better."""

    name: str
    unit: str
    sense: Literal["min", "max"]

    @property
    def key(self) -> str:
        """Name with unit, as documents spell it: ``latency_ms``."""
        return f"{self.name}_{self.unit}" if self.unit else self.name


LATENCY = Metric("latency", "ms", "min")
ACCURACY = Metric("accuracy", "", "max")
MACS = Metric("macs", "", "min")
PARAMS = Metric("params", "", "min")


@dataclass(frozen=True, eq=False)
class Measurement:
    """Every sample of one model's latency on one device, in milliseconds, in the order they were taken."""

    samples_ms: Floats

    @property
    def median(self) -> float:
        return float(np.median(self.samples_ms))

    @property
    def p90(self) -> float:
        """90th percentile: what MLPerf reports for a single stream of requests."""
        return float(np.percentile(self.samples_ms, 90))

    @property
    def spread(self) -> float:
        """Inter-quartile range over the median: how noisy this measurement was."""
        low, high = np.percentile(self.samples_ms, (25, 75))
        return float((high - low) / self.median)

    def to_json(self) -> dict[str, Any]:
        """The summary that manifests and documents carry; the samples are stored apart."""
        return {"median": self.median, "p90": self.p90, "spread": self.spread, "samples": len(self.samples_ms)}


@dataclass(frozen=True, eq=False)
class Prediction:
    """An estimator's answer for N architectures, each field N values in the metric's unit.

    `lower` and `upper` bound the median: the model's own interval. `p90` is the device's tail, modelled for itself.
    """

    median: Floats
    p90: Floats
    lower: Floats
    upper: Floats
