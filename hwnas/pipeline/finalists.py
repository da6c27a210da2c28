"""Finalists become files: with trained weights, compared on images; or with random ones, for an architecture alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from hwnas.core.arch import Arch
from hwnas.core.errors import HwnasError
from hwnas.core.files import write_atomic
from hwnas.core.net import NetSpec
from hwnas.core.progress import Progress
from hwnas.core.protocols import DeviceModel
from hwnas.export.exporter import Agreement, OnnxExporter
from hwnas.export.onnx import build
from hwnas.export.verify import Accuracy, accuracy
from hwnas.ofa_supernet.stored import StoredSupernet, SupernetWithImages
from hwnas.pipeline.candidates import Candidate
from hwnas.pipeline.handover import file_info
from hwnas.pipeline.scoring import exported_top1

if TYPE_CHECKING:
    from hwnas.ofa_supernet.network import OfaSupernet
    from hwnas.ofa_supernet.static import StaticNet

CHOOSING_CALIBRATION = 250
CHOOSING_IMAGES = 1500
"""What a choice among few may cost: an eighth of the calibration images, and half of those for choosing."""
COMPARED_IMAGES = 250
"""Calibration images on which file and torch subnet are compared at every export."""
LEAST_AGREEMENT = 0.99
"""Share of them that both must give the same class: rounding turns a tie on one image in thousands."""

Weights = Literal["trained", "random"]


@dataclass(frozen=True)
class Exported:
    """An exported file, and what is known of it beside its latency."""

    path: Path
    net: NetSpec
    arch: Arch
    weights: Weights
    score: float
    """What it is chosen by: its accuracy on the images for choosing, or that of its architecture as predicted."""
    agreement: Agreement | None = None
    """With the torch subnet, on calibration images; None for random weights."""
    test: Accuracy | None = None
    """On test images; None before it was asked for, and for random weights."""

    def as_device_model(self) -> DeviceModel:
        """The very bytes of the file, as a device takes them, and for a simulator the network in it."""
        return DeviceModel(self.path.name, self.path.read_bytes(), self.net)


class Finalists(Protocol):
    """Turns architectures of one supernet into files."""

    def best(self, candidates: Sequence[Candidate], progress: Progress) -> tuple[Candidate, Exported]:
        """The best of one or more candidates, exported for good."""
        ...

    def tested(self, exported: Exported, progress: Progress) -> Exported:
        """With what may be asked only of a model that was verified."""
        ...


class TrainedFinalists:
    """Files under `folder` with the supernet's weights: the most accurate on images is the best."""

    def __init__(self, supernet: SupernetWithImages, folder: Path) -> None:
        self.supernet = supernet
        self.folder = folder
        self._exported: dict[Arch, Exported] = {}
        self._choice_top1: dict[Arch, float] = {}

    @cached_property
    def _weights(self) -> OfaSupernet:
        return self.supernet.load()

    def best(self, candidates: Sequence[Candidate], progress: Progress) -> tuple[Candidate, Exported]:
        """The candidate whose file is the most accurate on the images for choosing, exported for good.

        For the choice the statistics come from fewer images, the same ones for each candidate.
        """
        scores = []
        for index, candidate in enumerate(candidates):
            progress("accuracy", index, len(candidates))
            scores.append(self.choice_top1(candidate.arch))
        progress("accuracy", len(candidates), len(candidates))
        winner = max(range(len(candidates)), key=lambda index: scores[index])
        progress("export", 0, 1)
        exported = self.export(candidates[winner].arch)
        progress("export", 1, 1)
        return candidates[winner], exported

    def choice_top1(self, arch: Arch) -> float:
        """Accuracy on the images for choosing, with statistics from `CHOOSING_CALIBRATION` images; once each."""
        if arch not in self._choice_top1:
            calibration = self.supernet.images("calibration").images[:CHOOSING_CALIBRATION]
            choice = self.supernet.images("choice").first(CHOOSING_IMAGES)
            self._choice_top1[arch] = exported_top1(self._weights, arch, calibration, choice, self.supernet)
        return self._choice_top1[arch]

    def export(self, arch: Arch) -> Exported:
        """Extract, recalibrate on all calibration images, write the file, compare it with the torch subnet."""
        if arch not in self._exported:
            network, info = self._recalibrated(arch), file_info(self.supernet, arch, "trained")
            path = self.folder / f"{len(self._exported)}.onnx"
            exporter = OnnxExporter()
            exporter.export(network.net, network, path, info.metadata())
            images = info.preprocessing(self.supernet.images("calibration").images[:COMPARED_IMAGES])
            compared = exporter.compare(path, network, images)
            if compared.same_class < LEAST_AGREEMENT:
                raise HwnasError(
                    f"the exported file and the supernet differ on {1 - compared.same_class:.1%} of {compared.images} "
                    "images, so nothing is handed over: report this, with the versions of torch, onnx and onnxruntime"
                )
            self._exported[arch] = Exported(path, network.net, arch, "trained", self.choice_top1(arch), compared)
        return self._exported[arch]

    def _recalibrated(self, arch: Arch) -> StaticNet:
        """A copy of the subnet with exact statistics over all calibration images."""
        from hwnas.ofa_supernet.evaluate import recalibrated

        return recalibrated(self._weights, arch, self.supernet.images("calibration").images, self.supernet)

    def tested(self, exported: Exported, progress: Progress) -> Exported:
        """With the file's accuracy on the test images, asked only of a model that was verified."""
        test = self.supernet.images("test")
        info = file_info(self.supernet, exported.arch, "trained")
        result = accuracy(
            exported.path,
            test.images,
            test.labels,
            info.preprocessing,
            progress=lambda _, done, total: progress("test", done, total),
        )
        return replace(exported, test=result)


class RandomFinalists:
    """Files under `folder` with random weights, for timing alone: the best is the one that is predicted to be."""

    def __init__(self, supernet: StoredSupernet, folder: Path) -> None:
        self.supernet = supernet
        self.folder = folder
        self._files = 0

    def best(self, candidates: Sequence[Candidate], progress: Progress) -> tuple[Candidate, Exported]:
        """The candidate of the best predicted accuracy, the first of equals."""
        progress("export", 0, 1)
        chosen = max(candidates, key=lambda candidate: candidate.predicted_accuracy)
        net = self.supernet.space.lower(chosen.arch)
        path = self.folder / f"{self._files}.onnx"
        self._files += 1
        # The very graph that finalists are timed with (`pipeline.names.device_onnx`), and what it is in its metadata.
        write_atomic(path, build(net, metadata=file_info(self.supernet, chosen.arch, "random").metadata()))
        progress("export", 1, 1)
        return chosen, Exported(path, net, chosen.arch, "random", chosen.predicted_accuracy)

    def tested(self, exported: Exported, progress: Progress) -> Exported:
        """Random weights have no accuracy."""
        return exported
