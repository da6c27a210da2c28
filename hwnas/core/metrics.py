"""What is measured and what is predicted, with units in the names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RESAMPLES = 1000
"""Of a bootstrap: enough for the ends of a 95% interval (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
section 14.2)."""
PARTS = 40
"""Into so many a measurement is cut whose visits are not known."""


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


@dataclass(frozen=True)
class Conditions:
    """What went on beside a measurement, as far as the device shows it.

    `cpu_share`: how much of the time the measuring thread was on a core; `others`: cores busy with anything else, on
    average; `stolen`: cores that other guests of the same host took; the clock after it, and the fastest that was seen.
    """

    cpu_share: float | None = None
    others: float | None = None
    stolen: float | None = None
    temperature_c: float | None = None
    clock_mhz: float | None = None
    fastest_mhz: float | None = None

    @classmethod
    def from_json(cls, document: Any) -> Conditions:
        """From a runner's answer or a journal; what is no number, or unknown here, is left out."""
        known = document if isinstance(document, dict) else {}
        numbers = {key: known.get(key) for key in cls.__dataclass_fields__}
        return cls(**{key: float(value) for key, value in numbers.items() if isinstance(value, int | float)})


@dataclass(frozen=True, eq=False)
class Measurement:
    """Every sample of one model's latency on one device, in milliseconds, in the order they were taken.

    `steady` says whether the warm-up had come to rest before the samples began; `bursts` how many samples each visit of
    the interleaved rounds took, as far as it is known. `anchor_ms` is the median of the anchor model in the same
    rounds, where there was one: the machine's speed at that time. `beside` names the models of these rounds, itself
    included; records do not keep it.
    """

    samples_ms: Floats
    steady: bool = True
    bursts: tuple[int, ...] = ()
    conditions: Conditions = Conditions()
    anchor_ms: float | None = None
    beside: tuple[str, ...] = ()

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

    @property
    def visits(self) -> list[Floats]:
        """The samples of each visit; where visits are not known, `PARTS` parts of equal length at most."""
        if self.bursts:
            return np.split(self.samples_ms, np.cumsum(self.bursts)[:-1])
        return np.array_split(self.samples_ms, min(PARTS, len(self.samples_ms)))

    def interval(self, percent: float) -> tuple[float, float]:
        """Where a percentile lies with 95% confidence, in ms, as far as this measurement itself can tell.

        By a bootstrap over visits (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8):
        the samples of one visit are alike, so that resampling them one by one would promise too much.
        """
        visits = self.visits
        drawn = np.random.default_rng(0).integers(len(visits), size=(RESAMPLES, len(visits)))
        found = [np.percentile(np.concatenate([visits[i] for i in chosen]), percent) for chosen in drawn]
        low, high = np.percentile(found, (2.5, 97.5)).tolist()
        return low, high

    def record(self) -> dict[str, Any]:
        """Everything, as a line of a journal."""
        return {
            "steady": self.steady,
            "conditions": {key: value for key, value in asdict(self.conditions).items() if value is not None},
            "anchor_ms": self.anchor_ms,
            "bursts": list(self.bursts),
            "samples_ms": self.samples_ms.tolist(),
        }

    @classmethod
    def from_record(cls, line: Mapping[str, Any]) -> Measurement | None:
        """What `record` gave; None where the line holds no samples that can be used."""
        try:
            samples = np.array(line["samples_ms"], dtype=np.float64)
        except (KeyError, TypeError, ValueError):
            return None
        if samples.ndim != 1 or not len(samples) or not bool(np.all(np.isfinite(samples) & (samples > 0))):
            return None
        bursts = line.get("bursts")
        visits = tuple(map(int, bursts)) if isinstance(bursts, list) and sum(bursts) == len(samples) else ()
        anchor = line.get("anchor_ms")
        anchor_ms = float(anchor) if isinstance(anchor, int | float) and anchor > 0 else None
        conditions = Conditions.from_json(line.get("conditions"))
        return cls(samples, bool(line.get("steady", True)), visits, conditions, anchor_ms)


class Timed(Protocol):
    """Anything that has a median and a p90, in ms."""

    @property
    def median(self) -> float: ...

    @property
    def p90(self) -> float: ...


@dataclass(frozen=True)
class Timing:
    """A median and a p90, in ms, that are not of one model's samples alone."""

    median: float
    p90: float


def with_shared_tail(measurements: Sequence[Measurement]) -> list[Timing]:
    """Each model's own median, and its p90 by the tail that all of them show together.

    For models that were sampled in the same interleaved rounds. The tail of a network of milliseconds is the
    machine's doing and falls on all alike, so that N models tell it from N times the samples: within one and a half
    seconds a single network's p90 repeats within 5% here, its median within 2%.
    """
    if not measurements:
        return []
    relative = [measurement.samples_ms / measurement.median for measurement in measurements]
    fewest = min(len(samples) for samples in relative)
    tail = float(np.percentile(np.concatenate([_evenly(samples, fewest) for samples in relative]), 90))
    return [Timing(measurement.median, tail * measurement.median) for measurement in measurements]


def _evenly(samples: Floats, count: int) -> Floats:
    """`count` samples, evenly over the time they were taken in: every model then counts the same."""
    return samples[np.linspace(0, len(samples) - 1, count).astype(np.intp)]


@dataclass(frozen=True, eq=False)
class Prediction:
    """An estimator's answer for N architectures, each field N values in the metric's unit.

    `lower` and `upper` bound the median: the model's own interval. `p90` is the device's tail, modelled for itself.
    """

    median: Floats
    p90: Floats
    lower: Floats
    upper: Floats
