"""What an exported file and a package say of themselves: every number with its source."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from hwnas.core.arch import Arch
from hwnas.core.count import macs, params, peak_activation_bytes, weight_bytes
from hwnas.core.images import Preprocessing
from hwnas.core.quality import disturbance
from hwnas.devices.facts import SIMULATOR
from hwnas.devices.profile import DeviceProfile
from hwnas.export.package import Number, PackageInfo
from hwnas.ofa_supernet.data import SHIPPED
from hwnas.ofa_supernet.stored import StoredSupernet, SupernetWithImages

if TYPE_CHECKING:
    from hwnas.pipeline.specialized import SpecializeReport

METHODS = {
    "trained": "once-for-all subnet, batch normalisation recalibrated, no retraining",
    "random": "architecture alone: random weights, for timing",
}
"""How the weights of a file came about."""


def file_info(supernet: StoredSupernet, arch: Arch, weights: Literal["trained", "random"]) -> PackageInfo:
    """What the file itself says: architecture, labels, preprocessing, where its weights come from."""
    net = supernet.space.lower(arch)
    provenance = {
        "supernet": supernet.path.name,
        "dataset": supernet.dataset,
        "method": METHODS[weights],
        "macs": macs(net),
        "params": params(net),
    }
    preprocessing = Preprocessing(net.input_shape[1], tuple(supernet.mean), tuple(supernet.std), supernet.crop)
    return PackageInfo("model", arch, tuple(supernet.labels), preprocessing, provenance)


def package_info(
    name: str, supernet: SupernetWithImages, profile: DeviceProfile, report: SpecializeReport, facts: dict[str, Any]
) -> PackageInfo:
    """What the package says: the file's own facts, and every number with its source."""
    candidate, exported, verdict = report.candidate, report.exported, report.verdict
    test, compared = exported.test, exported.agreement
    assert test is not None  # as of every file with trained weights
    assert compared is not None
    if profile.simulated:
        seen: Literal["measured", "simulated"] = "simulated"
        on_device = {key: facts[key] for key in ("device", "kind", SIMULATOR, "runtime", "runtime_version")}
        timed = {**on_device, "limit_p90_ms": report.limit_ms, "date": verdict.date}
    else:
        seen = "measured"
        on_device = {key: facts.get(key) for key in ("device", "kind", "cpu", "runtime", "runtime_version", "threads")}
        on_device |= {"precision": "float32", "batch": 1}
        timed = {**on_device, **_conditions(report)}
    on_images = {"images": test.images, "split": "test", "dataset": supernet.images_from, "file": "model.onnx"}
    agreement = {"same_class": compared.same_class, "greatest_difference": compared.greatest_difference}
    predicted = {"median": candidate.predicted_median_ms, "p90": candidate.predicted_p90_ms}
    latency = {"median": verdict.median_ms, "p90": verdict.p90_ms}
    by_model = {**on_device, "model": f"{report.latency_model}, fitted to networks {seen} there"}
    note = {"note": report.predictor.note} if report.predictor.note else {}
    by_predictor = {"model": report.predictor.name, **note}
    net = supernet.space.lower(exported.arch)
    held, live = weight_bytes(net), peak_activation_bytes(net)
    numbers: tuple[Number, ...] = (
        Number("latency", seen, latency, "ms", timed),
        Number("latency", "predicted", predicted, "ms", by_model),
        Number("accuracy", "measured", {"top1": test.top1}, "", on_images),
        Number("accuracy", "predicted", {"top1": candidate.predicted_accuracy}, "", by_predictor),
        Number("agreement", "measured", agreement, "", {"images": compared.images, "with": "torch subnet"}),
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
    info = file_info(supernet, exported.arch, exported.weights)
    verified = {"device": profile.name, "device_kind": profile.device_kind, "verified_by": profile.verified_by}
    images = {"from": supernet.images_from} | {split: len(supernet.images(split)) for split in SHIPPED}
    provenance = {
        **info.provenance,
        "images": images,
        **verified,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
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
