"""``hwnas import supernet`` and ``hwnas import predictor``: a published supernet, part by part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from hwnas.cli._options import json_option, quiet_stdout, show, workspace_option

Function = TypeVar("Function", bound=Callable[..., Any])


def _resolution_option(function: Function) -> Function:
    return click.option(
        "--resolution",
        metavar="N",
        type=click.IntRange(min=1),
        help="Search for images of N x N pixels; default: what the folder has, else 224.",
    )(function)


@click.command("supernet", short_help="Import a published supernet's weights.")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="Folder of ofa_supernet/; default: told from the weights.")
@_resolution_option
@workspace_option
@json_option
def supernet(file: Path, name: str | None, resolution: int | None, workspace_path: Path, as_json: bool) -> None:
    """Import the weights of a published once-for-all supernet from FILE, the checkpoint as it was released.

    MobileNetV3 at widths 1.0 and 1.2, ProxylessNAS at 1.3, and ResNet-50; which it is, the weights tell. Nothing is
    downloaded, and no code in the file is run.

    \b
    Examples:
      hwnas import supernet ofa_mbv3_d234_e346_k357_w1.0
      hwnas import supernet ofa_proxyless_d234_e346_k357_w1.3 --resolution 176 --name proxyless-176
    """
    with quiet_stdout():
        from hwnas.workspace import Workspace

        document = Workspace(workspace_path).import_supernet(file, name=name, resolution=resolution).to_json()
    show(document, _text(document, "weights"), as_json)


@click.command("predictor", short_help="Import a published accuracy predictor.")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--supernet", metavar="NAME", help="Folder of ofa_supernet/ that it is for; default: told from the file.")
@_resolution_option
@workspace_option
@json_option
def predictor(file: Path, supernet: str | None, resolution: int | None, workspace_path: Path, as_json: bool) -> None:
    """Import a published once-for-all accuracy predictor from FILE: .pth, .npz or .safetensors.

    It is enough for `hwnas specialize --arch-only`, without the supernet's weights. The one for MobileNetV3 serves the
    widths 1.0 and 1.2; name the one that is meant. The other that was published is ResNet-50's.

    \b
    Examples:
      hwnas import predictor acc_predictor.pth --supernet ofa-mbv3-w1.2
      hwnas import predictor ofa_resnet50_acc_predictor.pth --resolution 160
    """
    with quiet_stdout():
        from hwnas.workspace import Workspace

        document = Workspace(workspace_path).import_predictor(file, supernet=supernet, resolution=resolution).to_json()
    show(document, _text(document, "predictor"), as_json)


def _text(document: dict[str, Any], part: str) -> str:
    what = {"weights": "weights", "predictor": "accuracy predictor"}
    name, size = document["supernet"], document["resolution"]
    lines = [
        f"{document['folder']}: {what[part]} imported from {document[part]['name']}",
        f"  space     {document['space']}, images of {size} x {size}, {document['classes']:,} classes",
    ]
    if document["accuracy_model"] is not None:
        lines.append(f"  predictor {document['accuracy_model']}: {document['accuracy_note']}")
        lines.append(f"  next      hwnas specialize --supernet {name} --arch-only --latency 20ms")
        if document["weights"] is not None:
            lines.append(f"  or        hwnas specialize --supernet {name} --data FOLDER --latency 30ms")
    elif document["accuracy_model_published"]:
        lines.append(f"  next      hwnas import predictor FILE --supernet {name}")
    else:
        lines.append("  note      no accuracy predictor was published for it: its subnets can be measured, not ranked")
    return "\n".join(lines)
