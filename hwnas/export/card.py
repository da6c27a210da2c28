"""The README of a package: what the model is, what is known of it and how."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

LISTED_LABELS = 100
"""More than so many fill a page that nobody reads."""


def card(manifest: Mapping[str, Any], size_bytes: int) -> str:
    """Markdown from a manifest; every figure keeps its kind and source."""
    preprocessing = manifest["preprocessing"]
    simulated = sorted({number["metric"] for number in manifest["numbers"] if number["kind"] == "simulated"})
    size, channels = preprocessing["resolution"], preprocessing["channels"]
    lines = [
        f"# {manifest['name']}",
        "",
        f"An image classifier of {len(manifest['labels'])} classes from the space `{manifest['arch']['space']}`.",
        f"`{manifest['model']}`: ONNX, {size_bytes / 1e6:.2f} MB; input `image`, N x {channels} x {size} x {size}"
        " float32; output `logits`.",
        *(["", f"**Simulated, never measured on a device: {', '.join(simulated)}.**"] if simulated else []),
        "",
        "## Run it",
        "```",
        "pip install -r requirements.txt",
        "python run.py image.png",
        "python run.py --benchmark",
        "```",
        "",
        "## Numbers",
        "| metric | kind | value | source |",
        "|---|---|---|---|",
        *(_row(number) for number in manifest["numbers"]),
        "",
        "A predicted or simulated value is no measurement; all hold for the source named beside them.",
        "",
        "## Input and labels",
        f"Bytes become {size} x {size} ({preprocessing['resize']}), divided by 255, then (x - mean) / std with"
        f" mean {preprocessing['mean']} and std {preprocessing['std']}.",
        "",
        _labels(manifest["labels"]),
        "",
        "## Provenance",
        "```json",
        json.dumps(manifest["provenance"], indent=2),
        "```",
        "",
        "`manifest.json` says the same for programs, with the SHA-256 of every file.",
    ]
    return "\n".join(lines) + "\n"


def _labels(labels: Sequence[str]) -> str:
    """All of them, in order, or as many as a person reads."""
    if len(labels) <= LISTED_LABELS:
        return "Labels, in order: " + ", ".join(labels) + "."
    return f"Labels: {labels[0]}, {labels[1]} ... {labels[-1]}; `manifest.json` lists all {len(labels):,} in order."


def _row(number: Mapping[str, Any]) -> str:
    values = ", ".join(f"{name} {value:.4g}" for name, value in number["values"].items())
    source = ", ".join(f"{key} {_text(value)}" for key, value in number["source"].items())
    unit = f" {number['unit']}" if number["unit"] else ""
    return f"| {number['metric']} | {number['kind']} | {values}{unit} | {source} |".replace("\n", " ")


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return " and ".join(f"{key} {_text(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return " to ".join(_text(one) for one in value)
    return str(value)
