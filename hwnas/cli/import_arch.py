"""``hwnas import arch``: a published network as an architecture of a space here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from hwnas.cli._architecture import choice_lines, write
from hwnas.cli._options import json_option, output_option, quiet_stdout, show, workspace_option


@click.command("arch", short_help="Import a published network's architecture.")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--supernet", metavar="NAME", help="Find it in this supernet's space; default: in the published spaces.")
@click.option(
    "--resolution",
    metavar="N",
    type=click.IntRange(min=1),
    help="Of images of N x N pixels; default: what run.config beside FILE tells, else 224.",
)
@output_option
@workspace_option
@json_option
def arch(
    file: Path,
    supernet: str | None,
    resolution: int | None,
    output: Path | None,
    workspace_path: Path,
    as_json: bool,
) -> None:
    """Find the network of FILE, a net.config in JSON, in a search space here.

    Reads the networks of once-for-all's MobileNetV3 and ProxylessNAS. The network must be in the space block by block;
    where it is not, the first block that does not fit is named. A workspace is needed for --supernet alone.

    \b
    Examples:
      hwnas import arch net.config
      hwnas import arch net.config --resolution 236 --output arch.json
      hwnas import arch net.config --supernet ofa-mbv3-w1.0 --json
    """
    with quiet_stdout():
        from hwnas.pipeline.import_arch import import_arch
        from hwnas.workspace import Workspace

        if supernet is None:
            found = import_arch(file, resolution=resolution)
        else:
            found = Workspace(workspace_path).import_arch(file, supernet=supernet, resolution=resolution)
        document = found.to_json()
        if output is not None:
            write(output, document["arch"])
    show(document, _text(document), as_json)


def _text(document: dict[str, Any]) -> str:
    size = document["resolution"]
    return "\n".join(
        [
            f"{document['file']}: a network of {document['space']} for images of {size} x {size}",
            f"  cost      {document['macs'] / 1e6:.2f} M MACs, {document['params']:,} parameters",
            *choice_lines(document["choices"]),
            f"  arch      {json.dumps(document['arch'])}",
        ]
    )
