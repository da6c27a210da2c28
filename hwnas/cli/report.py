"""``hwnas report``: how well the latency models predict a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hwnas.cli._options import json_option, quiet_stdout, show, workspace_option

COLUMNS = {
    "spearman": "spearman",
    "within_5": "within 5%",
    "within_10": "within 10%",
    "mape": "mape",
    "noise_floor": "noise floor",
}


@click.command("report", short_help="Score every latency model on a device's networks.")
@click.option("--device", metavar="NAME", help="A file of devices/; default: the settings'.")
@workspace_option
@json_option
def command(device: str | None, workspace_path: Path, as_json: bool) -> int:
    """Score every latency model of a device on networks that it was not fitted on, beside MACs and parameters.

    From what `hwnas profile` measured; nothing is measured now. A picture goes into the table's folder. The exit code
    is 1 where too few networks were measured.

    \b
    Example:
      hwnas report --device local
    """
    with quiet_stdout():
        from hwnas.workspace import Workspace

        report = Workspace(workspace_path).report(device)
    document = report.to_json()
    how = "simulated" if report.device_kind == "simulator" else "measured"
    show(document, "\n".join([f"{report.device}: {report.networks} networks {how}", *card_lines(document)]), as_json)
    return 0 if report.card is not None else 1


def card_lines(document: dict[str, Any]) -> list[str]:
    """The report card of a document, as text."""
    rows = document["report_card"]
    if not rows:
        return ["no report card: too few whole networks were measured"]
    width = 2 + max(len(row["model"]) for row in rows)
    simulated = document["device_kind"] == "simulator"
    lines = ["each model against networks that were simulated, not measured:"] if simulated else []
    lines += [f"{'model':<{width}}" + "".join(f"{title:>13}" for title in COLUMNS.values())]
    for row in rows:
        cells = ("-" if row[column] is None else f"{row[column]:.3f}" for column in COLUMNS)
        refused = f"  ({row['refused']} refused)" if row["refused"] else ""
        lines.append(f"{row['model']:<{width}}" + "".join(f"{cell:>13}" for cell in cells) + refused)
    best = f"best on the networks set apart for choosing: {document['best_on_validation']}"
    used = f"in use: {document['in_use'] or 'none yet'}"
    return [*lines, f"{best}; {used}", f"picture: {document['picture']}"]
