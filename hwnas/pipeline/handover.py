"""From a chosen architecture to a file and its facts: extract, recalibrate, export, compare, test, describe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hwnas.core.arch import Arch
from hwnas.core.count import macs, params, peak_activation_bytes, weight_bytes
from hwnas.core.errors import HwnasError
from hwnas.core.images import Preprocessing
from hwnas.core.net import NetSpec
from hwnas.core.progress import Progress
from hwnas.core.protocols import DeviceModel
from hwnas.core.quality import disturbance
from hwnas.devices.facts import SIMULATOR
from hwnas.devices.profile import DeviceProfile
from hwnas.export.exporter import OnnxExporter
from hwnas.export.package import Number, PackageInfo
from hwnas.export.verify import accuracy
from hwnas.ofa_supernet.folder import SupernetFolder
from hwnas.pipeline.scoring import exported_top1

if TYPE_CHECKING:
    from hwnas.ofa_supernet.network import OfaSupernet
    from hwnas.ofa_supernet.static import StaticNet
    from hwnas.pipeline.specialize import SpecializeReport

CHOOSING_CALIBRATION = 250
CHOOSING_IMAGES = 1500
"""What a choice among few may cost: an eighth of the calibration images, and half of those for choosing."""
COMPARED_IMAGES = 250
"""Calibration images on which file and torch subnet are compared at every export."""
LEAST_AGREEMENT = 0.99
"""Share of them that both must give the same class: rounding turns a tie on one image in thousands."""


@dataclass(frozen=True)
class Candidate:
    """An architecture and what was predicted of it."""

    arch: Arch
    predicted_accuracy: float
    predicted_median_ms: float
    predicted_p90_ms: float

    def to_json(self) -> dict[str, Any]:
        """Architecture and predictions, as documents have them."""
        latency = {"median": self.predicted_median_ms, "p90": self.predicted_p90_ms}
        predicted = {"latency_ms": latency, "accuracy": self.predicted_accuracy}
        return {"arch": self.arch.to_json(), "predicted": predicted}


@dataclass(frozen=True)
class Exported:
    """An exported file and what was measured of it; `top1` is on test images, `choice_top1` on those for choosing."""

    path: Path
    net: NetSpec
    arch: Arch
    choice_top1: float
    greatest_difference: float
    same_class: float
    compared: int
    top1: float = 0.0
    images: int = 0

    def as_device_model(self) -> DeviceModel:
        """The very bytes of the file, as a device takes them, and for a simulator the network in it."""
        return DeviceModel(self.path.name, self.path.read_bytes(), self.net)


class Finalists:
    """Turns architectures of one supernet into files under `folder`."""

    def __init__(self, supernet: SupernetFolder, folder: Path) -> None:
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
            self._choice_top1[arch] = exported_top1(self._weights, arch, calibration, choice, self.supernet.recipe)
        return self._choice_top1[arch]

    def export(self, arch: Arch) -> Exported:
        """Extract, recalibrate on all calibration images, write the file, compare it with the torch subnet."""
        if arch not in self._exported:
            network, info = self._recalibrated(arch), file_info(self.supernet, arch)
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
            agreement = (compared.greatest_difference, compared.same_class, compared.images)
            self._exported[arch] = Exported(path, network.net, arch, self.choice_top1(arch), *agreement)
        return self._exported[arch]

    def _recalibrated(self, arch: Arch) -> StaticNet:
        """A copy of the subnet with exact statistics over all calibration images."""
        from hwnas.ofa_supernet.evaluate import recalibrated

        calibration = self.supernet.images("calibration").images
        return recalibrated(self._weights, arch, calibration, self.supernet.recipe)

    def tested(self, exported: Exported, progress: Progress) -> Exported:
        """With the file's accuracy on the test images, asked only of a model that was verified."""
        test = self.supernet.images("test")
        info = file_info(self.supernet, exported.arch)
        result = accuracy(
            exported.path,
            test.images,
            test.labels,
            info.preprocessing,
            progress=lambda _, done, total: progress("test", done, total),
        )
        return replace(exported, top1=result.top1, images=result.images)


def file_info(supernet: SupernetFolder, arch: Arch) -> PackageInfo:
    """What the file itself says: architecture, labels, preprocessing, where its weights come from."""
    recipe = supernet.recipe
    net = supernet.space.lower(arch)
    provenance = {
        "supernet": supernet.path.name,
        "dataset": recipe.dataset,
        "method": "once-for-all subnet, batch normalisation recalibrated, no retraining",
        "macs": macs(net),
        "params": params(net),
    }
    preprocessing = Preprocessing(net.input_shape[1], tuple(recipe.mean), tuple(recipe.std))
    return PackageInfo("model", arch, tuple(recipe.labels), preprocessing, provenance)


def package_info(
    name: str, supernet: SupernetFolder, profile: DeviceProfile, report: SpecializeReport, facts: dict[str, Any]
) -> PackageInfo:
    """What the package says: the file's own facts, and every number with its source."""
    candidate, exported, verdict = report.candidate, report.exported, report.verdict
    if profile.simulated:
        seen: Literal["measured", "simulated"] = "simulated"
        on_device = {key: facts[key] for key in ("device", "kind", SIMULATOR, "runtime", "runtime_version")}
        timed = {**on_device, "limit_p90_ms": report.limit_ms, "date": verdict.date}
    else:
        seen = "measured"
        on_device = {key: facts.get(key) for key in ("device", "kind", "cpu", "runtime", "runtime_version", "threads")}
        on_device |= {"precision": "float32", "batch": 1}
        timed = {**on_device, **_conditions(report)}
    on_images = {"images": exported.images, "split": "test", "dataset": supernet.recipe.dataset, "file": "model.onnx"}
    agreement = {"same_class": exported.same_class, "greatest_difference": exported.greatest_difference}
    predicted = {"median": candidate.predicted_median_ms, "p90": candidate.predicted_p90_ms}
    latency = {"median": verdict.median_ms, "p90": verdict.p90_ms}
    by_model = {**on_device, "model": f"{report.latency_model}, fitted to networks {seen} there"}
    net = supernet.space.lower(exported.arch)
    held, live = weight_bytes(net), peak_activation_bytes(net)
    numbers: tuple[Number, ...] = (
        Number("latency", seen, latency, "ms", timed),
        Number("latency", "predicted", predicted, "ms", by_model),
        Number("accuracy", "measured", {"top1": exported.top1}, "", on_images),
        Number("accuracy", "predicted", {"top1": candidate.predicted_accuracy}, "", {"model": "accuracy predictor"}),
        Number("agreement", "measured", agreement, "", {"images": exported.compared, "with": "torch subnet"}),
    )
    counted = {"model": "float32 weights, and the greatest sum of live activations, one image"}
    numbers += (Number("memory", "predicted", {"weights": held, "activations": live}, "B", counted),)
    if report.memory is not None:
        above = {**on_device, "of": "a process that loads and runs the model, above the idle runtime"}
        numbers += (Number("memory", "measured", {"peak": report.memory.peak_bytes}, "B", above),)
    if report.energy is not None:
        counted_by = {"runs": report.energy.runs, "counters": ", ".join(report.energy.counters)}
        by = {**on_device, **({} if profile.simulated else counted_by)}
        numbers += (Number("energy", seen, report.energy.values_mj, "mJ", by),)
    info = file_info(supernet, exported.arch)
    verified = {"device": profile.name, "device_kind": profile.device_kind, "verified_by": profile.verified_by}
    provenance = {**info.provenance, **verified, "date": datetime.now(UTC).isoformat(timespec="seconds")}
    return replace(info, name=name, provenance=provenance, numbers=numbers)


def _conditions(report: SpecializeReport) -> dict[str, Any]:
    """How the verdict was measured."""
    verdict = report.verdict
    return {
        "samples": len(verdict.measurement.samples_ms),
        "limit_p90_ms": report.limit_ms,
        "interval_95_ms": {name: [round(end, 4) for end in ends] for name, ends in verdict.intervals.items()},
        "disturbed": disturbance(verdict.measurement) or "no",
        "date": verdict.date,
    }
