"""``hwnas report``: how well the latency models predict a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hwnas.cli._options import json_option, quiet_stdout, show, supernet_option, workspace_option
from hwnas.cli._progress import progress

COLUMNS = {
    "spearman": "Spearman",
    "within_5": "within 5%",
    "within_10": "within 10%",
    "mape": "MAPE",
    "noise_floor": "noise floor",
}
SHARES = ("within_5", "within_10", "mape", "noise_floor")
"""Shown in percent."""


@click.command("report", short_help="Score every latency model on a device's networks.")
@click.option("--device", metavar="NAME", help="A file of devices/; default: the settings'.")
@supernet_option
@workspace_option
@json_option
def command(device: str | None, supernet: str | None, workspace_path: Path, as_json: bool) -> int:
    """Score every latency model of a device on networks that it was not fitted on, beside MACs and parameters.

    From what `hwnas profile` measured; nothing is measured now. A picture goes into the table's folder. The exit code
    is 1 where too few networks were measured.

    \b
    Example:
      hwnas report --device local
    """
    with quiet_stdout(), progress() as shown:
        from hwnas.workspace import Workspace

        report = Workspace(workspace_path).report(device, supernet=supernet, progress=shown)
    document = report.to_json()
    how = "simulated" if report.device_kind == "simulator" else "measured"
    head = f"{report.device}: {report.networks} networks {how}"
    show(document, "\n".join([head, *disturbed_lines(document), *card_lines(document)]), as_json)
    return 0 if report.card is not None else 1


def card_lines(document: dict[str, Any]) -> list[str]:
    """The report card of a document, as text."""
    rows = document["report_card"]
    if not rows:
        failed = document["failed"]
        more = f"set subnets to {_enough()} or more in hwnas.toml, [measure], and run `hwnas profile` again"
        why = f"{len(failed)} blocks do not run there" if failed else f"too few whole networks were measured: {more}"
        return [f"no report card: {why}", *_used(document)]
    width = 2 + max(len(row["model"]) for row in rows)
    simulated = document["device_kind"] == "simulator"
    lines = ["each model against networks that were simulated, not measured:"] if simulated else []
    lines += [f"{'model':<{width}}" + "".join(f"{title:>13}" for title in COLUMNS.values())]
    for row in rows:
        cells = (_cell(column, row[column]) for column in COLUMNS)
        refused = f"  ({row['refused']} refused)" if row["refused"] else ""
        lines.append(f"{row['model']:<{width}}" + "".join(f"{cell:>13}" for cell in cells) + refused)
    fit, validated, tested = document["fitted_on"], document["validated_on"], rows[0]["networks"] + rows[0]["refused"]
    lines.append(f"fitted on {fit} networks, chosen by {validated} others, scored on {tested} more")
    best = document["best_on_validation"]
    few = f"{validated} are too few to choose a model by"
    lines.append(f"least MAPE on those {validated}: {best}" if best else few)
    lines += [*_used(document), f"picture: {document['picture']}"]
    if simulated:
        lines.append(
            "note: tables and networks follow from the same formulas here; how true those are, no row can tell"
        )
    return [*lines, "what the rows and the noise floor are: docs/latency-models.md"]


def _cell(column: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1%}" if column in SHARES else f"{value:.3f}"


def _used(document: dict[str, Any]) -> list[str]:
    return [f"in use: {document['in_use']}"] if document["in_use"] else []


def _enough() -> int:
    from hwnas.latency.selection import ENOUGH

    return ENOUGH


def disturbed_lines(document: dict[str, Any]) -> list[str]:
    """What was disturbed while it was measured, as text."""
    lines = []
    for key, what in (("disturbed", "rows"), ("disturbed_networks", "networks")):
        if document[key]:
            counts = ", ".join(f"{count} {why}" for why, count in document[key].items())
            lines.append(f"disturbed {what}: {counts}; `hwnas profile --strict` measures them again")
    return lines
