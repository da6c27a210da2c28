"""The networks that once-for-all published for ten devices, measured on this machine beside their published figures.

Every network that its authors specialised (ofa_specialized/ of HWNAS_DATA) is read as `hwnas import arch` reads it,
written with random weights, on which no time depends, and timed whole, on one thread, in interleaved groups, by the
rules of networks. Published latencies are those of the device that a network was searched for, a few with batches.
Reported: each network beside its published figures, and how well these rank the networks here. A few were published
under several names: as each is measured like any other, they tell what a second measurement is worth here.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _common import finish, log, markdown, measuring, parser, progress
from _data import folder
from _workspaces import QUICK_RULES, local_toml
from scipy.stats import spearmanr

from hwnas.core.count import macs
from hwnas.core.errors import InputError
from hwnas.core.files import write_atomic
from hwnas.core.metrics import Measurement
from hwnas.core.quality import disturbance
from hwnas.devices.campaign import campaign
from hwnas.devices.device import open_device
from hwnas.devices.profile import DeviceProfile, load_profile
from hwnas.pipeline.import_arch import ImportedArch, import_arch
from hwnas.pipeline.names import device_onnx

NAME = "published_networks"
QUICK = 6
"""Networks of a quick run, from the smallest to the largest."""
LEAST_RANKED = 4
"""Fewer networks of one device give no rank correlation."""


@dataclass(frozen=True)
class Published:
    """One network and what its authors say of it."""

    name: str
    device: str
    setting: str
    latency_ms: float | None
    top1: float
    """Percent of ImageNet's validation images."""
    found: ImportedArch | None
    """None where the import refused it."""

    @classmethod
    def of(cls, row: Any, scratch: Path) -> Published:
        """From a row of the data, through a file as it was published."""
        file = scratch / f"{row.net_id}.config"
        write_atomic(file, row.net_config)
        try:
            found = import_arch(file, resolution=int(row.image_size))
        except InputError as error:
            log(str(error))
            found = None
        latency = None if np.isnan(row.published_latency_ms) else float(row.published_latency_ms)
        return cls(row.net_id, row.device, row.setting, latency, float(row.published_top1), found)


def read(quick: bool) -> list[Published]:
    """All networks, or a few from the smallest to the largest."""
    frame = pd.read_parquet(folder() / "ofa_specialized" / "ofa_specialized_nets.parquet")
    if quick:
        places = np.linspace(0, len(frame) - 1, QUICK).astype(int)
        frame = frame.sort_values("macs_M_calc").iloc[places]
    with tempfile.TemporaryDirectory(prefix="hwnas-published-") as scratch:
        return [Published.of(row, Path(scratch)) for row in frame.itertuples()]


def local(scratch: Path, quick: bool) -> DeviceProfile:
    """This machine, one thread."""
    write_atomic(scratch / "local.toml", local_toml(1, QUICK_RULES if quick else ""))
    return load_profile(scratch / "local.toml")


def measure(networks: list[Published], journal: Path, quick: bool) -> dict[str, Measurement]:
    """Each network that was imported, once."""
    told = progress()
    models = [(one.name, partial(device_onnx, one.found.net)) for one in networks if one.found is not None]
    with tempfile.TemporaryDirectory(prefix="hwnas-published-") as scratch:
        profile = local(Path(scratch), quick)
        with open_device(profile) as device:
            done = campaign(
                device.with_rules(profile.networks), models, journal, lambda n, total: told("networks", n, total)
            )
    return done.measurements


def row(one: Published, measured: Measurement) -> dict[str, Any]:
    """A network's figures."""
    assert one.found is not None
    return {
        "network": one.name.split("_finetune")[0],
        "space": one.found.arch.space_id,
        "genes": list(one.found.arch.genes),
        "resolution": one.found.resolution,
        "macs": macs(one.found.net),
        "published_for": one.device,
        "setting": one.setting,
        "published_ms": one.latency_ms,
        "published_top1": one.top1,
        "median_ms": measured.median,
        "p90_ms": measured.p90,
        "disturbed": disturbance(measured),
    }


def ranks(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Spearman's correlation of the medians here with MACs, and with the latencies published for each device."""
    frame = pd.DataFrame(rows)
    found = {"MACs": float(spearmanr(frame.macs, frame.median_ms).statistic)}
    for device, part in frame.dropna(subset=["published_ms"]).groupby("published_for"):
        if len(part) >= LEAST_RANKED:
            found[str(device)] = float(spearmanr(part.published_ms, part.median_ms).statistic)
    return found


def repeated(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was published under several names, the widest `apart` first: the slowest median over the fastest."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for one in rows:
        groups.setdefault((one["space"], *one["genes"], one["resolution"]), []).append(one)
    found = []
    for same in groups.values():
        if len(same) > 1:
            medians = [one["median_ms"] for one in same]
            names = [one["network"] for one in same]
            found.append({"networks": names, "median_ms": medians, "apart": max(medians) / min(medians)})
    return sorted(found, key=lambda one: -one["apart"])


def table(rows: list[dict[str, Any]]) -> str:
    header = ["network", "images", "MMACs", "published top-1", "published latency", "here: median", "p90"]
    cells = []
    for one in sorted(rows, key=lambda one: (one["published_for"], one["macs"])):
        batch = f", batch {one['setting'].removeprefix('gpu')}" if one["setting"].startswith("gpu") else ""
        told = "-" if one["published_ms"] is None else f"{one['published_ms']:.0f} ms, {one['published_for']}{batch}"
        counts = [one["resolution"], f"{one['macs'] / 1e6:.0f}", f"{one['published_top1']:.1f}%"]
        cells.append([one["network"], *counts, told, f"{one['median_ms']:.2f} ms", f"{one['p90_ms']:.2f} ms"])
    return markdown(header, cells)


def main() -> None:
    args = parser(__doc__).parse_args()
    networks = read(args.quick)
    with measuring(args.cache, f"{NAME}-{len(networks)}") as kept:
        measured = measure(networks, kept / "networks.jsonl", args.quick)
    rows = [row(one, measured[one.name]) for one in networks if one.name in measured]
    figures = {
        "published": len(networks),
        "refused": [one.name for one in networks if one.found is None],
        "measured": len(rows),
        "disturbed": sum(bool(one["disturbed"]) for one in rows),
        "repeated": repeated(rows),
        "spearman": ranks(rows),
        "networks": rows,
    }
    ranked = markdown(["ranked by", "Spearman"], [[name, f"{value:.3f}"] for name, value in ranks(rows).items()])
    same = [
        [", ".join(one["networks"]), ", ".join(f"{ms:.2f} ms" for ms in one["median_ms"]), f"{one['apart']:.2f}"]
        for one in repeated(rows)
    ]
    alike = markdown(["one network under several names", "medians", "slowest over fastest"], same)
    finish(args, NAME, figures, [table(rows), ranked, *([alike] if same else [])])


if __name__ == "__main__":
    main()
