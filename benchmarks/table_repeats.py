"""Is a latency table the same when it is measured again? Whole tables of the workspace's space, one after the other.

Each table is built by `hwnas profile`'s own code into a folder of its own, every third over SSH on this very machine
(a real OpenSSH server, as `make lab` starts one). For every pair of tables: how far the median row moves, as measured;
the same once both tables are taken to one level by their anchors; and the share of rows (medians and p90s) outside the
bounds that the first of the two states.

Also reported: seconds of a table over the seconds that the device was busy.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from _common import Setting, finish, log, markdown, parser
from _loopback import over_ssh

from hwnas.core.files import read_lines
from hwnas.core.metrics import Floats
from hwnas.core.protocols import SearchSpace
from hwnas.devices.campaign import campaign
from hwnas.devices.device import open_device
from hwnas.devices.profile import DeviceProfile, MeasuringRules
from hwnas.luts import LatencyTable, build_table
from hwnas.luts.build import JOURNAL
from hwnas.pipeline.names import device_onnx

NAME = "table_repeats"
PAUSE_SECONDS = 20.0
"""Between tables, so that they meet different spells of the machine."""
QUICK = MeasuringRules(rounds=2, min_samples=10, min_seconds=0.001, warm_up_max_seconds=0.02)


def build(space: SearchSpace, profile: DeviceProfile, folder: Path) -> LatencyTable:
    """One table, from the start."""
    with open_device(profile) as device:
        return build_table(space, device, device_onnx, folder, campaign=campaign)


def as_measured(folder: Path) -> dict[str, float]:
    """Medians in ms, before any correction."""
    lines = read_lines(folder / JOURNAL)
    return {line["name"]: float(np.median(line["samples_ms"])) for line in lines if line["kind"] == "measured"}


def moves(one: tuple[LatencyTable, Path], other: tuple[LatencyTable, Path]) -> dict[str, float]:
    """From one table to the other."""
    (first, first_folder), (second, second_folder) = one, other
    raw, raw_again = as_measured(first_folder), as_measured(second_folder)
    rows = [(first.rows[key], second.rows[key]) for key in first]
    level = first.provenance.anchor_ms / second.provenance.anchor_ms
    medians = np.array([level * again.median_ms / row.median_ms - 1 for row, again in rows])
    p90s = np.array([level * again.p90_ms / row.p90_ms - 1 for row, again in rows])
    return {
        "as_measured": _middle(np.array([raw_again[key] / raw[key] - 1 for key in first])),
        "corrected": _middle(medians),
        "outside": float(np.mean(np.abs(medians) > [row.within for row, _ in rows])),
        "p90s_outside": float(np.mean(np.abs(p90s) > [row.p90_within for row, _ in rows])),
    }


def _middle(differences: Floats) -> float:
    return float(np.median(np.abs(differences)))


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--tables", type=int, default=9, help="a third of them over SSH (%(default)s)")
    args = options.parse_args()
    setting = Setting.of(args.workspace)
    space = setting.supernet.space
    tables: list[tuple[LatencyTable, Path]] = []
    ratios: dict[str, list[float]] = {"local": [], "ssh": []}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hwnas-tables-")))
        here = setting.profile.model_copy(update={"blocks": QUICK}) if args.quick else setting.profile
        far = stack.enter_context(over_ssh(here, folder))
        for number in range(2 if args.quick else args.tables):
            kind, profile = ("ssh", far) if number % 3 == 1 else ("local", here)
            log(f"table {number + 1}: {kind}")
            table = build(space, profile, folder / str(number))
            tables.append((table, folder / str(number)))
            ratios[kind].append(table.provenance.seconds / table.provenance.device_seconds)
            time.sleep(0.0 if args.quick else PAUSE_SECONDS)
        pairs = [moves(one, other) for one, other in itertools.combinations(tables, 2)]
    figures: dict[str, Any] = {
        "tables": len(tables),
        "pairs": len(pairs),
        "seconds": float(np.median([table.provenance.seconds for table, _ in tables])),
        "seconds_over_device_seconds": {kind: float(np.max(found)) for kind, found in ratios.items()},
        "within": float(np.median([next(iter(table.rows.values())).within for table, _ in tables])),
    }
    names = {
        "as_measured": "the median row moves, as measured",
        "corrected": "the median row moves, corrected",
        "outside": "rows whose median leaves its bounds",
        "p90s_outside": "rows whose p90 leaves its bounds",
    }
    rows = []
    for key, name in names.items():
        values = [pair[key] for pair in pairs]
        figures[key] = {"median": float(np.median(values)), "greatest": float(np.max(values))}
        rows.append([name, f"{np.median(values):.1%}", f"{np.max(values):.1%}"])
    slowest = {kind: f"{value:.2f}" for kind, value in figures["seconds_over_device_seconds"].items()}
    note = (
        f"{len(tables)} tables, {len(pairs)} pairs; a table takes {figures['seconds']:.0f} s, at most "
        f"{slowest['local']} times what its device was busy here, and {slowest['ssh']} times over SSH. The bounds of "
        f"medians are {figures['within']:.1%} wide to each side."
    )
    finish(args, NAME, figures, [f"{markdown(['', 'median of pairs', 'greatest'], rows)}\n\n{note}"])


if __name__ == "__main__":
    main()
