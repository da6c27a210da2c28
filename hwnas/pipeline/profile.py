"""`profile`: device -> measurements -> latency model, with its report card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hwnas.core.progress import Progress, silent
from hwnas.devices.profile import load_profile
from hwnas.luts.build import TABLE
from hwnas.pipeline.latency import Profiled, profile_space
from hwnas.pipeline.report import card_document, draw, other_tables
from hwnas.pipeline.supernets import open_supernet

if TYPE_CHECKING:
    from hwnas.workspace import Workspace


@dataclass(frozen=True, eq=False)
class ProfileReport:
    """What profiling one device gave."""

    device: str
    table: str
    profiled: Profiled
    picture: str | None
    device_kind: Literal["real", "simulator"] = "real"

    @property
    def exit_code(self) -> int:
        """1 where a block does not run on the device, so that the table has holes."""
        return 1 if self.profiled.table.provenance.failed else 0

    def to_json(self) -> dict[str, Any]:
        """One entry of `devices` in the document of `hwnas profile --json`."""
        profiled = self.profiled
        return {
            "device": self.device,
            "device_kind": self.device_kind,
            "tables": [self.table],
            "rows": len(profiled.table),
            "estimated": profiled.table.provenance.estimated,
            "disturbed": profiled.table.provenance.disturbed,
            "disturbed_networks": profiled.disturbed_networks,
            "drift": profiled.table.provenance.anchor_drift,
            "within": profiled.table.provenance.within,
            "failed": sorted(profiled.table.provenance.failed),
            "seconds": profiled.seconds,
            "device_seconds": profiled.device_seconds,
            **card_document(profiled.card, self.picture, profiled.model.name if profiled.model else None),
        }


def profile_device(
    workspace: Workspace,
    *,
    device: str,
    supernet: str | None = None,
    seconds: float | None = None,
    strict: bool = False,
    progress: Progress = silent,
) -> ProfileReport:
    """Build or complete the latency table of a supernet's space on a device, and fit its latency model.

    The supernet is by default the settings'; neither its weights nor its images are needed.

    After about `seconds` the rest of the table is estimated from what was measured; `strict` keeps nothing that was
    disturbed.

    Raises:
        InputError: the device, the supernet or a file of theirs is wrong.
        DeviceError: the device cannot be measured.
    """
    profile = load_profile(workspace.device_file(device))
    stored = open_supernet(workspace, supernet)
    name = stored.path.name
    folder = workspace.table_folder(device, name)
    known = other_tables(workspace, stored.space, name, device)
    subnets = workspace.settings.measure.subnets
    profiled = profile_space(profile, stored.space, folder, subnets, progress, known, seconds, strict)
    picture = draw(profiled.card, folder, profile, name)
    return ProfileReport(device, str(folder / TABLE), profiled, picture, profile.device_kind)
