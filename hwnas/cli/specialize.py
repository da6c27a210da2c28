"""``hwnas specialize``: the main job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from hwnas.cli._architecture import choice_lines, write
from hwnas.cli._options import json_option, output_option, quiet_stdout, show, supernet_option, workspace_option
from hwnas.cli._progress import progress


@click.command("specialize", short_help="From a latency limit to a measured model.")
@click.option("--latency", metavar="TIME", required=True, help="Limit on the measured p90: 2ms, 800us, 0.03s.")
@click.option("--device", metavar="NAME", help="A file of devices/; the default is in hwnas.toml.")
@supernet_option
@click.option("--arch-only", is_flag=True, help="An architecture alone, verified with random weights.")
@click.option("--data", metavar="FOLDER", type=click.Path(path_type=Path), help="Images of or for a supernet without.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the search; the default is in hwnas.toml.")
@click.option("--energy", is_flag=True, help="Measure the model's energy too, where the device has a meter.")
@output_option
@workspace_option
@json_option
def command(
    latency: str,
    device: str | None,
    supernet: str | None,
    arch_only: bool,
    data: Path | None,
    seed: int | None,
    energy: bool,
    output: Path | None,
    workspace_path: Path,
    as_json: bool,
) -> int:
    """Search, export and measure until a model holds the latency limit.

    The device is profiled first where it has no table yet. The result is a package under export/. The exit code is 0
    only if the model was measured to hold the limit; where nothing can, the reachable range is printed.

    For an imported supernet, --data names a folder of images, train/CLASS/*.JPEG and val/CLASS/*.JPEG: a subnet is
    recalibrated and chosen on images of train, and tested on images of val.

    With --arch-only the search goes by predicted accuracy alone: the result is an architecture, its latency measured
    with random weights, and no package.

    \b
    Examples:
      hwnas specialize --latency 2ms
      hwnas specialize --latency 800us --device local --json
      hwnas specialize --latency 30ms --supernet ofa-mbv3-w1.0 --data imagenet
      hwnas specialize --latency 20ms --supernet ofa-mbv3-w1.0 --arch-only --output arch.json
    """
    with quiet_stdout(), progress() as report:
        from hwnas.core.files import refuse_no_file
        from hwnas.workspace import Workspace

        if output is not None:
            refuse_no_file(output)
        workspace = Workspace(workspace_path)
        result = workspace.specialize(
            latency,
            device,
            supernet=supernet,
            arch_only=arch_only,
            data=data,
            seed=seed,
            energy=energy,
            progress=report,
        )
        document = result.to_json()
        if output is not None:
            write(output, document["arch"])
    show(document, _text(document), as_json)
    return 0 if document["holds"] else 1


def _text(document: dict[str, Any]) -> str:
    limit = document["constraints"][0]
    holds = "holds" if document["holds"] else "does not hold"
    alone = document.get("weights") == "random"
    what = f"an architecture of {document['supernet']}" if alone else document["package"] or "no package"
    lines = [f"{what}: {holds} {limit['limit']:g} {limit['unit']} on {document['device']}"]
    if document["measured"] is not None:
        lines += _measured(document["measured"])
    if document.get("simulated") is not None:
        lines[0] += ", as simulated"
        lines += _simulated(document["simulated"])
    predicted = document.get("predicted")
    if predicted is not None:
        expected = f"p90 {predicted['latency_ms']['p90']:.3f} ms by the latency model '{predicted['latency_model']}'"
        lines.append(f"  predicted {expected} (hwnas report)")
    accuracy = document.get("accuracy")
    if accuracy is not None:
        lines.append(f"  accuracy  {accuracy['top1']:.2%} of {accuracy['images']:,} {accuracy['split']} images")
    if alone:
        lines += _architecture(document)
    if document.get("binding") is False:
        lines.append("  note      the limit does not bind: even the slowest subnet is within it")
    faster = document.get("faster")
    if faster is not None:
        accuracy, times = faster["predicted"]["accuracy"], faster["predicted"]["latency_ms"]
        lines.append(
            f"  note      a faster subnet is predicted to be better: {accuracy:.2%} at p90 {times['p90']:.3g} ms"
        )
    return "\n".join(lines)


def _architecture(document: dict[str, Any]) -> list[str]:
    """What there is to tell of a network that has no trained weights."""
    predicted = document["predicted"]
    lines = [f"  accuracy  {predicted['accuracy']:.2%} as predicted by the {predicted['accuracy_model']}"]
    if predicted["accuracy_note"]:
        lines.append(f"  note      {predicted['accuracy_note']}")
    return [
        *lines,
        "  weights   random: the architecture alone was verified, and nothing is exported",
        f"  table     {document['table']}",
        *choice_lines(document["choices"]),
        f"  arch      {json.dumps(document['arch'])}",
    ]


def _measured(measured: dict[str, Any]) -> list[str]:
    times = measured["latency_ms"]
    low, high = measured["interval_95_ms"]["p90"]
    p90, median = f"{times['p90']:.3f} ms ({low:.3f} to {high:.3f})", f"{times['median']:.3f} ms"
    lines = [f"  latency   p90 {p90}, median {median} (by measurement)"]
    if measured["disturbed"]:
        lines.append(f"  note      the device was {measured['disturbed']} meanwhile (docs/measuring.md)")
    if measured.get("memory_bytes") is not None:
        lines.append(f"  memory    {measured['memory_bytes'] / 1e6:.1f} MB at its peak, above the idle runtime")
    if "energy_mj" in measured:
        spent = measured["energy_mj"]
        lines.append(f"  energy    {spent['total']:.3g} mJ a run, {spent['above_idle']:.3g} of them above idle")
    return lines


def _simulated(simulated: dict[str, Any]) -> list[str]:
    lines = [f"  latency   {simulated['latency_ms']['p90']:.3f} ms (by simulation: nothing was measured)"]
    if "energy_mj" in simulated:
        lines.append(f"  energy    {simulated['energy_mj']['total']:.3g} mJ a run (by simulation)")
    return lines
