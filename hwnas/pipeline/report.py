"""The report card of a device, from what is kept of it: every latency model beside the plain baselines."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hwnas.core.errors import InputError
from hwnas.core.progress import Progress, silent
from hwnas.core.protocols import SearchSpace
from hwnas.core.quality import disturbance
from hwnas.devices.facts import identity
from hwnas.devices.profile import DeviceProfile, load_profile
from hwnas.latency.in_use import load_latency
from hwnas.latency.selection import Networks, ReportCard, Selection
from hwnas.luts import LatencyTable
from hwnas.luts.build import TABLE
from hwnas.luts.table import profile_again
from hwnas.pipeline.latency import FITTING, MODEL, NETWORKS_JOURNAL, kept_networks
from hwnas.pipeline.opening import open_device
from hwnas.pipeline.supernets import open_supernet

if TYPE_CHECKING:
    from hwnas.workspace import Workspace

logger = logging.getLogger(__name__)

PICTURE = "report_card.png"
"""In a table's folder."""


@dataclass(frozen=True, eq=False)
class DeviceReport:
    """The card of a device as its kept measurements have it; None where they are too few.

    `in_use` is the model that `hwnas specialize` searches with; None where there is none yet.
    """

    device: str
    device_kind: Literal["real", "simulator"]
    networks: int
    card: ReportCard | None
    picture: str | None
    in_use: str | None
    disturbed: dict[str, int] = field(default_factory=dict)
    """How many rows of the table were disturbed, by what."""
    disturbed_networks: dict[str, int] = field(default_factory=dict)
    failed: tuple[str, ...] = ()
    """Blocks that do not run on the device: then there is neither card nor model."""

    def to_json(self) -> dict[str, Any]:
        """The document of `hwnas report --json`."""
        return {
            "schema": 1,
            "device": self.device,
            "device_kind": self.device_kind,
            "networks": self.networks,
            "disturbed": self.disturbed,
            "disturbed_networks": self.disturbed_networks,
            "failed": list(self.failed),
            **card_document(self.card, self.picture, self.in_use),
        }


def card_document(card: ReportCard | None, picture: str | None, in_use: str | None) -> dict[str, Any]:
    """What the documents of `report` and of `profile` share."""
    return {
        "fitted_on": 0 if card is None else card.fitted_on,
        "validated_on": 0 if card is None else card.validated_on,
        "report_card": [] if card is None else card.to_json(),
        "best_on_validation": None if card is None else card.best,
        "in_use": in_use,
        "picture": picture,
    }


def device_report(
    workspace: Workspace, *, device: str, supernet: str | None = None, progress: Progress = silent
) -> DeviceReport:
    """Fit and score every latency model on what was measured of a device; the device is not asked for anything.

    `supernet` defaults to the settings'.

    Raises:
        InputError: it was not profiled yet, or a file is damaged.
    """
    profile = load_profile(workspace.device_file(device))
    stored = open_supernet(workspace, supernet)
    space, name = stored.space, stored.path.name
    folder = workspace.table_folder(device, name)
    table = LatencyTable.read(folder / TABLE)
    failed, facts = tuple(sorted(table.provenance.failed)), table.provenance.device
    if not _as_described(profile, facts):
        raise InputError(f"{folder} was made before {device}.toml changed: {profile_again(folder / TABLE)}")
    if failed:
        return DeviceReport(device, profile.device_kind, 0, None, None, None, failed=failed)
    found = kept_networks(space, folder / NETWORKS_JOURNAL, facts)
    in_use = load_latency(space, table, folder / MODEL).name if (folder / MODEL).exists() else None
    marks = Counter(why for one in found.values() if (why := disturbance(one)))
    report = DeviceReport(
        device, profile.device_kind, len(found), None, None, in_use, table.provenance.disturbed, dict(marks)
    )
    if not found:
        return report
    networks = Networks.in_order(space, table, found)
    known = other_tables(workspace, space, name, device)
    selection = Selection.of(space, table, len(networks), None if profile.simulated else facts, known)
    card = selection.card(networks, progress)
    return replace(report, card=card, picture=draw(card, folder, profile, name))


def _as_described(profile: DeviceProfile, facts: dict[str, Any]) -> bool:
    """Whether a table is of the device as its file describes it now, as far as the device need not be asked."""
    if profile.simulated:
        with open_device(profile) as simulator:
            return identity(simulator.facts()) == identity(facts)
    return facts.get("threads") in (None, profile.threads)


def draw(card: ReportCard | None, folder: Path, profile: DeviceProfile, supernet: str) -> str | None:
    """The card's picture in a table's folder: where it is; None where there is no card."""
    if card is None:
        return None
    how = "simulated" if profile.simulated else "measured"
    title = f"{profile.name}, {supernet}: {len(card.measured_ms)} networks that no model was fitted on, {how}"
    with FITTING:
        card.draw(folder / PICTURE, title)
    return str(folder / PICTURE)


def other_tables(workspace: Workspace, space: SearchSpace, supernet: str, device: str) -> list[LatencyTable]:
    """Whole measured tables of the workspace's other devices for the same space; what is simulated tells nothing."""
    found = []
    for folder in workspace.table_folders():
        if folder.name != supernet or folder.parent.name == device or not (folder / TABLE).exists():
            continue
        try:
            table = LatencyTable.read(folder / TABLE)
        except InputError as error:  # another device's trouble
            logger.warning("not learnt from: %s", error)
            continue
        origin = table.provenance
        if origin.space == space.id and origin.how == "measured" and not origin.failed:
            found.append(table)
    return found
