"""Does `hwnas specialize` keep its promise over the reachable range? The command itself, at 13 limits.

Limits: 2 ms; the 10th, 30th, 50th, 70th and 90th percentile of the predicted p90s of 1,000 random subnets; the points
at 10, 30, 50, 70 and 90% of the interval from the least to the greatest reachable p90; and 1us, which nothing can meet,
once with a profiled device and once without. Each runs `hwnas specialize --json` in a fresh process and a fresh copy of
the workspace: its settings, device files and latency tables, without the verdicts of earlier runs.

Reported: whether it holds (exit code 0 and a measured p90 within the limit), the measured p90, the headroom (limit less
measured p90, as a share of the limit), rounds, wall-clock seconds with start-up, test accuracy of the exported file.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _common import Setting, finish, log, markdown, parser, random_p90s

from hwnas.core.files import append_line, read_lines, write_atomic
from hwnas.latency.in_use import LatencyInUse
from hwnas.pipeline.verdicts import JOURNAL
from hwnas.workspace import DEVICES, SETTINGS, SUPERNETS, TABLES

NAME = "specialize_limits"
PERCENTILES = (10, 30, 50, 70, 90)
IMPOSSIBLE_MS = 0.001
HEADROOM = 0.15
TIMEOUT_S = 1800
"""Eight rounds at the loosest limit take some 15 minutes."""
TIMED_OUT = 124
"""The exit code that stands for it, as that of timeout(1)."""


@dataclass(frozen=True)
class Limit:
    """A limit and what it stands for."""

    label: str
    ms: float
    tables: bool = True
    """Whether the copy of the workspace has the latency tables."""


def limits(model: LatencyInUse, quick: bool) -> list[Limit]:
    p90s = random_p90s(model)
    least, most = model.reachable("p90")
    if quick:
        return [Limit("10% of random subnets", float(np.percentile(p90s, 10))), Limit("1us", IMPOSSIBLE_MS)]
    return [
        Limit("2 ms", 2.0),
        *(Limit(f"{q}% of random subnets", float(np.percentile(p90s, q))) for q in PERCENTILES),
        *(Limit(f"{q}% of the reachable interval", least + q / 100 * (most - least)) for q in PERCENTILES),
        Limit("1us", IMPOSSIBLE_MS),
        Limit("1us, device not profiled", IMPOSSIBLE_MS, tables=False),
    ]


QUICK_SETTINGS = 'device = "{}"\nsupernet = "{}"\n[search]\nfinalists = 1\nmax_rounds = 2\n'
"""Of a quick run, which exports one finalist a round and gives up after the second."""


def copy(setting: Setting, target: Path, tables: bool, quick: bool) -> None:
    """A workspace of its own; the supernet, which nothing writes, is linked."""
    source = setting.workspace.path.resolve()
    target.mkdir()
    shutil.copyfile(source / SETTINGS, target / SETTINGS)
    if quick:
        settings = setting.workspace.settings
        write_atomic(target / SETTINGS, QUICK_SETTINGS.format(settings.device, settings.supernet))
    shutil.copytree(source / DEVICES, target / DEVICES)
    (target / SUPERNETS).symlink_to(source / SUPERNETS, target_is_directory=True)
    if tables:
        shutil.copytree(source / TABLES, target / TABLES, ignore=shutil.ignore_patterns(JOURNAL, ".*"))


def specialize(setting: Setting, limit: Limit, quick: bool) -> dict[str, Any]:
    """One run of the command, and what its document says."""
    with tempfile.TemporaryDirectory(prefix="hwnas-limits-") as scratch:
        workspace = Path(scratch) / "ws"
        copy(setting, workspace, limit.tables, quick)
        words = ["specialize", "--latency", f"{limit.ms:.6g}ms", "--workspace", str(workspace), "--json"]
        started = time.monotonic()
        command = [sys.executable, "-m", "hwnas.cli", *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            done = subprocess.CompletedProcess(command, TIMED_OUT, "", f"ended after {TIMEOUT_S} s")
        seconds = time.monotonic() - started
    document = json.loads(done.stdout) if done.stdout.strip() else {}
    row: dict[str, Any] = {"label": limit.label, "limit_ms": limit.ms, "exit_code": done.returncode, "seconds": seconds}
    if done.returncode not in (0, 1):
        log(done.stderr[-500:])
    measured = document.get("measured")
    if measured is None:
        return row | {"holds": False, "reachable_ms": document.get("reachable", {}).get("latency_ms")}
    p90 = measured["latency_ms"]["p90"]
    return row | {
        "holds": bool(document["holds"]) and done.returncode == 0 and p90 <= limit.ms,
        "binding": document["binding"],
        "p90_ms": p90,
        "median_ms": measured["latency_ms"]["median"],
        "headroom": 1 - p90 / limit.ms,
        "rounds": document["rounds"],
        "top1": document["accuracy"]["top1"],
        "predicted_top1": document["predicted"]["accuracy"],
        "predicted_p90_ms": document["predicted"]["latency_ms"]["p90"],
        "phases": document["seconds"],
    }


def table(rows: list[dict[str, Any]]) -> str:
    header = ["limit", "ms", "exit code", "measured p90", "headroom", "rounds", "test accuracy", "seconds"]
    cells = []
    for row in rows:
        found = ["none", "-", "-", "-"]
        if "p90_ms" in row:
            found = [f"{row['p90_ms']:.3f} ms", f"{100 * row['headroom']:.1f}%", row["rounds"], f"{row['top1']:.2%}"]
        cells.append([row["label"], f"{row['limit_ms']:.3g}", row["exit_code"], *found, f"{row['seconds']:.1f}"])
    return markdown(header, cells)


def main() -> None:
    args = parser(__doc__).parse_args()
    setting = Setting.of(args.workspace)
    journal = args.cache / f"{NAME}{'-quick' if args.quick else ''}.jsonl"
    rows = {(row["label"], row["limit_ms"]): row for row in read_lines(journal)}
    for limit in limits(setting.model(), args.quick):
        if (limit.label, limit.ms) in rows:  # of an interrupted run
            continue
        log(f"specialize at {limit.label} ({limit.ms:.3g} ms)")
        row = specialize(setting, limit, args.quick)
        append_line(journal, row)
        rows[(limit.label, limit.ms)] = row
    runs = list(rows.values())
    possible = [row for row in runs if row["limit_ms"] > IMPOSSIBLE_MS]
    impossible = [row for row in runs if row["limit_ms"] == IMPOSSIBLE_MS]
    figures = {
        "runs": runs,
        "limits": len(possible),
        "hold": sum(row["holds"] for row in possible),
        "hold_within_headroom": sum(row["holds"] and row["headroom"] <= HEADROOM for row in possible),
        "greatest_headroom": max((row["headroom"] for row in possible if row["holds"]), default=None),
        "greatest_seconds": max(row["seconds"] for row in possible),
        "impossible_ends_with_1": all(row["exit_code"] == 1 and row["reachable_ms"] for row in impossible),
        "impossible_seconds": max(row["seconds"] for row in impossible),
    }
    finish(args, NAME, figures, [table(runs)])
    journal.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
