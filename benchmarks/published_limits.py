"""Does `hwnas specialize --arch-only` keep its promise for a published supernet? The command itself, at three limits.

In a workspace of its own: `hwnas import predictor` of the published accuracy model (ofa_specialized/ of HWNAS_DATA),
then `hwnas specialize --supernet .. --arch-only` at each limit, each in a fresh process; the first profiles this
machine, one thread. What was handed over is then timed once more, side by side, by the rules of verification.

Reported: whether it holds (exit code 0 and a measured p90 within the limit), the measured p90, the p90 once more some
minutes later, whether each was disturbed, rounds, whether the limit binds, the span of p90s where nothing holds (the
command tells it only then), seconds with start-up.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from _common import finish, log, markdown, measuring, parser
from _data import folder
from _workspaces import QUICK_RULES, local_toml

from hwnas.core.arch import Arch
from hwnas.core.files import append_line, read_lines, write_atomic
from hwnas.core.metrics import Measurement
from hwnas.core.quality import disturbance
from hwnas.devices.campaign import campaign
from hwnas.devices.device import open_device
from hwnas.devices.profile import load_profile
from hwnas.pipeline.names import device_onnx, network_name
from hwnas.spaces import load
from hwnas.workspace import DEVICES, SETTINGS, Workspace

NAME = "published_limits"
LIMITS_MS = (15.0, 20.0, 30.0)
QUICK_LIMITS_MS = (8.0,)
QUICK_SETTINGS = "[search]\nfinalists = 1\nmax_rounds = 2\n[measure]\nsubnets = 8\n"
QUICK_VERIFY = "[finalists]\nmin_seconds = 0.1\n[verify]\nmin_seconds = 0.5\n"
"""Of a quick run: the end of its device file."""


def hwnas(workspace: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """One run of the command."""
    command = [sys.executable, "-m", "hwnas.cli", *words, "--workspace", str(workspace), "--json"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def prepare(workspace: Path, supernet: str, quick: bool) -> None:
    """Settings, this machine as a device, and the supernet; what was measured there before stays."""
    write_atomic(workspace / SETTINGS, f'supernet = "{supernet}"\n' + QUICK_SETTINGS * quick)
    write_atomic(workspace / DEVICES / "local.toml", local_toml(1, (QUICK_RULES + QUICK_VERIFY) * quick))
    file = folder() / "ofa_specialized" / "acc_predictor.npz"
    done = hwnas(workspace, "import", "predictor", str(file), "--supernet", supernet)
    if done.returncode:
        raise SystemExit(done.stderr)


def specialize(workspace: Path, limit_ms: float) -> dict[str, Any]:
    """One run of the command, and what its document says; a run that broke is no verdict, and is not kept."""
    started = time.monotonic()
    done = hwnas(workspace, "specialize", "--arch-only", "--latency", f"{limit_ms:g}ms")
    row: dict[str, Any] = {"limit_ms": limit_ms, "exit_code": done.returncode, "seconds": time.monotonic() - started}
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr[-2000:])
    return row | verdict(json.loads(done.stdout), done.returncode, limit_ms)


def verdict(document: dict[str, Any], exit_code: int, limit_ms: float) -> dict[str, Any]:
    """What a document of `hwnas specialize --json` says of one limit."""
    if "reachable" in document:
        return {"holds": False, "reachable_p90_ms": document["reachable"]["latency_ms"]}
    measured = document["measured"]
    p90 = measured["latency_ms"]["p90"]
    return {
        "holds": bool(document["holds"]) and exit_code == 0 and p90 <= limit_ms,
        "binding": document["binding"],
        "p90_ms": p90,
        "interval_95_ms": measured["interval_95_ms"]["p90"],
        "disturbed": measured["disturbed"],
        "predicted_p90_ms": document["predicted"]["latency_ms"]["p90"],
        "predicted_accuracy": document["predicted"]["accuracy"],
        "rounds": document["rounds"],
        "arch": document["arch"],
    }


def measured_again(workspace: Path, rows: list[dict[str, Any]], journal: Path) -> dict[str, Measurement]:
    """The architectures that were handed over, by their names, in a process of their own."""
    archs = [Arch.from_json(row["arch"]) for row in rows if "arch" in row]
    models = [(network_name(arch), partial(device_onnx, load(arch.space_id).lower(arch))) for arch in archs]
    profile = load_profile(Workspace(workspace).device_file("local"))
    with open_device(profile) as device:
        return campaign(device.with_rules(profile.verify), models, journal).measurements


def table(rows: list[dict[str, Any]]) -> str:
    header = ["limit", "holds", "measured p90", "once more", "predicted p90", "predicted accuracy", "binds", "seconds"]
    cells = []
    for row in rows:
        found = ["-"] * 5
        if "arch" in row:
            times = [f"{row[key]:.2f} ms" for key in ("p90_ms", "again_p90_ms", "predicted_p90_ms")]
            found = [*times, f"{row['predicted_accuracy']:.2%}", "yes" if row["binding"] else "no"]
        holds = "yes" if row["holds"] else "no"
        cells.append([f"{row['limit_ms']:g} ms", holds, *found, f"{row['seconds']:.0f}"])
    return markdown(header, cells)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--supernet", default="ofa-mbv3-w1.0", help="released supernet (%(default)s)")
    options.add_argument("--limits", type=float, nargs="+", metavar="MS", help="limits in ms")
    args = options.parse_args()
    limits = args.limits or (QUICK_LIMITS_MS if args.quick else LIMITS_MS)
    with measuring(args.cache, f"{NAME}-{args.supernet}{'-quick' if args.quick else ''}") as kept:
        workspace, journal = kept / "workspace", kept / "runs.jsonl"
        prepare(workspace, args.supernet, args.quick)
        done = {row["limit_ms"]: row for row in read_lines(journal)}
        for limit in limits:
            if limit not in done:  # of an interrupted run
                log(f"specialize at {limit:g} ms")
                done[limit] = specialize(workspace, limit)
                append_line(journal, done[limit])
        rows = [done[limit] for limit in limits]
        log("once more")
        again = measured_again(workspace, rows, kept / "again.jsonl")
    for row in rows:
        if "arch" in row:
            once_more = again[network_name(Arch.from_json(row["arch"]))]
            row |= {"again_p90_ms": once_more.p90, "again_disturbed": disturbance(once_more)}
    figures = {
        "supernet": args.supernet,
        "runs": rows,
        "hold": sum(row["holds"] for row in rows),
        "hold_once_more": sum("arch" in row and row["again_p90_ms"] <= row["limit_ms"] for row in rows),
        "limits": len(rows),
    }
    finish(args, NAME, figures, [table(rows)])


if __name__ == "__main__":
    main()
