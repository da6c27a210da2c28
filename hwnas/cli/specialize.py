"""``hwnas specialize``: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hwnas.cli._options import json_option, quiet_stdout, show, workspace_option
from hwnas.cli._progress import progress


@click.command("specialize", short_help="From a latency limit to a measured model.")
@click.option("--latency", metavar="TIME", required=True, help="Limit on the measured p90: 2ms, 800us, 0.03s.")
@click.option("--device", metavar="NAME", help="A file of devices/; the default is in hwnas.toml.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the search; the default is in hwnas.toml.")
@click.option("--energy", is_flag=True, help="Measure the model's energy too, where the device has a meter.")
@workspace_option
@json_option
def command(
    latency: str, device: str | None, seed: int | None, energy: bool, workspace_path: Path, as_json: bool
) -> int:
    """Search, export and measure until a model holds the latency limit.

    The device is profiled first where it has no table yet. The result is a package under export/. The exit code is 0
    only if the model was measured to hold the limit; where nothing can, the reachable range is printed.

    \b
    Examples:
      hwnas specialize --latency 2ms
      hwnas specialize --latency 800us --device local --json
    """
    with quiet_stdout(), progress() as report:
        from hwnas.workspace import Workspace

        result = Workspace(workspace_path).specialize(latency, device, seed=seed, energy=energy, progress=report)
        document = result.to_json()
    show(document, _text(document), as_json)
    return 0 if document["holds"] else 1


def _text(document: dict[str, Any]) -> str:
    limit = document["constraints"][0]
    holds = "holds" if document["holds"] else "does not hold"
    where = f"{limit['limit']:g} {limit['unit']} on {document['device']}"
    lines = [f"{document['package'] or 'no package'}: {holds} {where}"]
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
    if document.get("binding") is False:
        lines.append("  note      the limit does not bind: even the slowest subnet is within it")
    faster = document.get("faster")
    if faster is not None:
        accuracy, times = faster["predicted"]["accuracy"], faster["predicted"]["latency_ms"]
        lines.append(
            f"  note      a faster subnet is predicted to be better: {accuracy:.2%} at p90 {times['p90']:.3g} ms"
        )
    return "\n".join(lines)


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
