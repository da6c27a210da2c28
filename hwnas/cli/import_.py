"""``hwnas import``: what other projects published; here the latency tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hwnas.cli import import_arch, import_supernet
from hwnas.cli._options import json_option, quiet_stdout, show, workspace_option

FORMATS = ("ofa", "proxyless", "nsganetv2", "fbnet")
"""As `hwnas.luts.published.FORMATS`, which is not imported for a help text."""


@click.group("import", short_help="Import what other projects published.")
def command() -> None:
    """Import what other projects published: supernets, accuracy predictors, networks, latency tables.

    \b
    Examples:
      hwnas import predictor acc_predictor.pth
      hwnas import lut 224_lookup_table.yaml --device note10 --json
    """


@command.command("lut", short_help="Import published latency tables, as one table of a device.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--device", metavar="NAME", required=True, help="The device that the times are of; names the table.")
@click.option("--format", type=click.Choice(FORMATS), help="Whose table it is; told from the file where it can be.")
@click.option("--space", metavar="ID", help="Search space that the blocks are of, where the file fits several.")
@click.option(
    "--resolution", metavar="N", type=click.IntRange(min=1), help="Import for images of N x N pixels; fbnet needs it."
)
@workspace_option
@json_option
def lut(
    files: tuple[Path, ...],
    device: str,
    format: str | None,
    space: str | None,
    resolution: int | None,
    workspace_path: Path,
    as_json: bool,
) -> None:
    """Import latency tables that other projects published for one device, as one table under luts/.

    Reads the YAML of once-for-all (ofa), ProxylessNAS (proxyless) and NSGANetV2 (nsganetv2), and FBNet's JSON, or CSV
    of layer,block,latency_us (fbnet). Where a time is in several files, all its runs count. A network whose rows are
    not all there is an error when it is estimated. Nothing is measured here, and nothing that was measured is touched;
    specialize verifies by measuring, so it takes a device of devices/ and no imported table.

    \b
    Examples:
      hwnas import lut 224_lookup_table.yaml --device note10
      hwnas import lut 160_lookup_table.yaml 224_lookup_table.yaml --device note10 --json
      hwnas import lut i7-8700K_lut.yaml --device i7-8700K --space ofa_mbv3/w1.2/v1
      hwnas import lut rpi4_fbnet_lut.csv --device rpi4 --resolution 32
    """
    with quiet_stdout():
        from hwnas.workspace import Workspace

        workspace = Workspace(workspace_path)
        report = workspace.import_lut(files, device, format=format, space=space, resolution=resolution)
        document = report.to_json()
    show(document, _text(document), as_json)


def _text(document: dict[str, Any]) -> str:
    files = ", ".join(file["name"] for file in document["files"])
    lines = [
        f"{document['table']}: {document['rows']} rows of {document['space']}, imported from {files} "
        f"({document['format']})"
    ]
    if document["left_out"]:
        lines.append(f"  left out  {document['left_out']} published keys that no network of it has")
    if document["latency_ms"] is not None:
        least, greatest = document["latency_ms"]
        lines.append(f"  networks  from {least:.3g} to {greatest:.3g} ms, as the sum of their blocks")
        sizes = ", ".join(map(str, document["resolutions"])) or "of no size are covered whole"
        lines.append(f"  images    {sizes}")
    lines.append(f"  note      {document['statistics']}; nothing was measured here")
    return "\n".join(lines)


for other in (import_supernet.supernet, import_supernet.predictor, import_arch.arch):
    command.add_command(other)
