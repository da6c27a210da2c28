"""The parts that can be replaced: each is one file and one registry line, proved by a suite in `hwnas.testing`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hwnas.core.arch import Arch, ArchBatch, Choice, Genes
from hwnas.core.metrics import Floats, Measurement, Metric, Prediction
from hwnas.core.net import NetSpec
from hwnas.core.problem import Problem, Trial


@dataclass(frozen=True)
class Slot:
    """A block position and the indices of the genes that decide what stands there.

    Every additive cost (latency table, MACs, parameters) is a sum over slots, so it compiles to one dense table a slot.
    """

    name: str
    genes: tuple[int, ...]


class SearchSpace(Protocol):
    """A set of architectures and their lowering to networks."""

    @property
    def id(self) -> str: ...

    @property
    def choices(self) -> tuple[Choice, ...]: ...

    def active(self, genes: Genes) -> NDArray[np.bool_]:
        """Which genes bear on the network: those of skipped blocks do not; N x G in, N x G out."""
        ...

    def canonical(self, genes: Genes) -> Genes:
        """Inactive genes set to 0, so that equal networks have equal genes; N x G in, N x G out."""
        ...

    def lower(self, arch: Arch) -> NetSpec: ...

    def slots(self) -> tuple[Slot, ...]: ...

    def block(self, slot: Slot, options: tuple[int, ...]) -> NetSpec | None:
        """The block at `slot` when its genes take these option indices; None where it is skipped."""
        ...


class Estimator(Protocol):
    """Predicts one metric for many architectures at once; a missing table row is an error that names it."""

    metric: Metric

    def estimate(self, batch: ArchBatch) -> Prediction: ...


@dataclass(frozen=True)
class Cost:
    """What one run of a network takes: milliseconds and millijoules."""

    latency_ms: float
    energy_mj: float


class Simulator(Protocol):
    """A white-box model of a device: what a network takes there, by formulas. What it says is called simulated."""

    def simulate(self, net: NetSpec) -> Cost: ...


class Evaluator(Protocol):
    """Scores the quality of architectures: N in, N accuracies (fractions) out."""

    def evaluate(self, batch: ArchBatch) -> Floats: ...


class Predictor(Evaluator, Protocol):
    """An evaluator that was fitted beforehand, with what is known of its answers."""

    @property
    def name(self) -> str:
        """How documents call it."""
        ...

    @property
    def rmse(self) -> float | None:
        """Root mean square error on what it was not fitted on, as a fraction; None where it is not known.

        Of one whose answers are all too high, what is left when that is taken out.
        """
        ...

    @property
    def note(self) -> str:
        """What a reader of its answers must know; empty where they are what they seem."""
        ...


class Strategy(Protocol):
    """Proposes feasible architectures, best effort first; the problem counts the budget and keeps the journal."""

    def search(self, problem: Problem, rng: np.random.Generator) -> Iterator[Trial]: ...


class Supernet(Protocol):
    """A trained network whose subnets share weights. Modules are `torch.nn.Module`s."""

    @property
    def space(self) -> SearchSpace: ...

    def subnet(self, arch: Arch) -> Any:
        """A module that reads the shared weights; it holds no state of its own."""
        ...

    def extract(self, arch: Arch) -> Any:
        """A stand-alone module with its own copy of the weights."""
        ...


Form = bytes | NetSpec
"""A network as a device takes it: an ONNX file's bytes; for a simulator, the network itself."""


@dataclass(frozen=True, eq=False)
class DeviceModel:
    """A model as a device takes it: the bytes of an ONNX file and the name its measurement is stored under.

    Simulators read `net` alone: where it is there for one of them, `onnx` may be empty.
    """

    name: str
    onnx: bytes
    net: NetSpec | None = None

    @classmethod
    def of(cls, name: str, form: Form) -> DeviceModel:
        """From whichever form it was built in."""
        return cls(name, form) if isinstance(form, bytes) else cls(name, b"", form)


class Device(Protocol):
    """Something that measures models."""

    @property
    def name(self) -> str: ...

    @property
    def group(self) -> int:
        """How many models are measured side by side."""
        ...

    @property
    def strict(self) -> bool:
        """Whether measurements that were disturbed (`hwnas.core.quality`) are refused."""
        ...

    @property
    def device_seconds(self) -> float:
        """Seconds the device was busy so far: session creation, warm-up and samples."""
        ...

    def facts(self) -> dict[str, Any]:
        """What the device is, as probed: CPU, cores, runtime and version, threads. Never typed in by hand."""
        ...

    def measure(self, models: Sequence[DeviceModel]) -> Iterator[tuple[str, Measurement]]:
        """Measure models in interleaved rounds; yields each as soon as all its samples are in.

        Raises:
            DeviceError: the device cannot be reached or the model does not run there.
        """
        ...

    def renew(self) -> None:
        """Measure what follows in a fresh process."""
        ...


class Exporter(Protocol):
    """Writes a stand-alone subnet as a file for a runtime, and proves that it computes the same."""

    def export(self, net: NetSpec, module: Any, path: Path, metadata: dict[str, str]) -> None: ...

    def verify(self, path: Path, module: Any, images: Any) -> float:
        """Greatest absolute difference between the file's outputs and the module's on `images` (N x C x H x W)."""
        ...
