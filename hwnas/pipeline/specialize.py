"""`specialize`, the main job: from a latency limit to a package, or an architecture, that was measured to hold it."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwnas.core.errors import DeviceError, InputError
from hwnas.core.files import refuse_no_folder
from hwnas.core.progress import Progress, silent
from hwnas.devices.consumption import energy, refuse_no_meter, try_memory
from hwnas.devices.facts import identity
from hwnas.devices.profile import DeviceProfile, load_profile
from hwnas.export.package import write_package
from hwnas.latency.in_use import LatencyInUse
from hwnas.luts.build import TABLE
from hwnas.ofa_supernet.stored import StoredSupernet
from hwnas.pipeline.finalists import Finalists, RandomFinalists, TrainedFinalists
from hwnas.pipeline.handover import package_info
from hwnas.pipeline.latency import kept_model, profile_space, refuse_damaged
from hwnas.pipeline.loop import Clock, Loop
from hwnas.pipeline.opening import open_device
from hwnas.pipeline.reach import refuse_hopeless
from hwnas.pipeline.report import other_tables
from hwnas.pipeline.specialized import SpecializeReport
from hwnas.pipeline.supernets import load_predictor, open_supernet, with_images
from hwnas.pipeline.verdicts import Verdicts

if TYPE_CHECKING:
    from hwnas.workspace import Workspace


logger = logging.getLogger(__name__)


def specialize(
    workspace: Workspace,
    *,
    latency_ms: float,
    device: str,
    seed: int,
    supernet: str | None = None,
    arch_only: bool = False,
    data: Path | None = None,
    with_energy: bool = False,
    progress: Progress = silent,
) -> SpecializeReport:
    """Hand over the most accurate model that was measured to keep its p90 on `device` within `latency_ms`.

    With `arch_only` that is the architecture which is predicted to be the most accurate, measured with random weights:
    neither weights nor images are needed, and there is no package. `supernet` defaults to the settings'; `data` is the
    folder of images for one that was imported.

    Raises:
        InfeasibleError: nothing in the space is fast enough, or nothing that was verified held; says what is reachable.
        InputError: the device, the supernet or a file of theirs is wrong, or it has no meter of the energy asked for.
        DeviceError: the device cannot be measured.
    """
    if arch_only and data is not None:
        raise InputError("an architecture alone needs no images: leave out --data or --arch-only")
    clock = Clock()
    profile = load_profile(workspace.device_file(device))
    stored = open_supernet(workspace, supernet)
    name = stored.path.name
    folder = workspace.table_folder(device, name)
    predictor = load_predictor(stored)
    trained = None if arch_only else with_images(stored, data, progress)
    if trained is not None:
        refuse_no_folder(workspace.export_folder)
        trained.refuse_damaged(progress)
    if with_energy:
        with open_device(profile) as opened:
            refuse_no_meter(opened)
    with clock.time("profile"):
        model, facts = _latency_model(workspace, profile, stored, folder, latency_ms, progress)
    verdicts, settings = Verdicts(folder, identity(facts)), workspace.settings.search
    with tempfile.TemporaryDirectory(prefix="hwnas-") as scratch:
        files = Path(scratch)
        finalists: Finalists = RandomFinalists(stored, files) if trained is None else TrainedFinalists(trained, files)
        loop = Loop(profile, facts, finalists, folder, predictor, verdicts, settings, latency_ms, progress, clock)
        report = replace(loop.run(model, seed), supernet=name, table=str(folder / TABLE))
        with clock.time("memory"):
            report = _consumption(report, with_energy)
        if trained is not None:
            with clock.time("package"):
                info = package_info(f"{name}-{device}-{latency_ms:g}ms", trained, profile, report, facts)
                package = write_package(workspace.export_folder, info, report.exported.path)
                report = replace(report, package=str(package))
    return replace(report, seconds=clock.seconds)


def _latency_model(
    workspace: Workspace,
    profile: DeviceProfile,
    supernet: StoredSupernet,
    folder: Path,
    limit_ms: float,
    progress: Progress,
) -> tuple[LatencyInUse, dict[str, Any]]:
    """The kept model of this device, or a new one, and the device's facts; a hopeless limit is refused at once."""
    space, settings = supernet.space, workspace.settings
    refuse_damaged(folder)
    with open_device(profile) as device:
        facts = device.facts()
        model = kept_model(folder, space, facts)
        refuse_hopeless(device.with_rules(profile.networks), space, model, limit_ms)
    if model is None:
        known = other_tables(workspace, space, supernet.path.name, profile.name)
        profiled = profile_space(profile, space, folder, settings.measure.subnets, progress, known)
        model = profiled.model
    if model is None:
        block, why = next(iter(profiled.table.provenance.failed.items()))
        raise DeviceError(f"a block of the space does not run on {profile.name}, {block}: {why}")
    return model, facts


def _consumption(report: SpecializeReport, with_energy: bool) -> SpecializeReport:
    """The report with what else the chosen file takes."""
    try:
        with open_device(report.device) as device:
            model = report.exported.as_device_model()
            used = energy(device, model) if with_energy else None
            return replace(report, memory=try_memory(device, model), energy=used)
    except DeviceError as error:
        if with_energy:
            raise
        logger.warning("the memory of the model was not measured: %s", error)
        return report  # it holds, whatever has become of the device since
