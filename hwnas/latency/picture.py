"""A report card as a picture: what each model predicts of held-out networks against what was measured."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hwnas.core.files import write_atomic
from hwnas.core.metrics import Floats

COLUMNS = 4
"""Panels side by side."""
BEYOND = 3.0
"""How far beyond the measured range, as a factor, a prediction is shown in its place; what is further is a cross."""


def draw(
    path: Path, title: str, measured_ms: Floats, predicted_ms: Mapping[str, Floats], errors: Mapping[str, float]
) -> None:
    """A PNG with a panel a model, on logarithmic axes, whole or not at all; `errors` are shown as MAPE."""
    from matplotlib import ticker
    from matplotlib.figure import Figure  # without pyplot, which devices measured side by side would share

    rows = -(-len(predicted_ms) // COLUMNS)
    columns = min(COLUMNS, len(predicted_ms))
    figure = Figure(figsize=(2.9 * columns, 2.9 * rows), dpi=110, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    ends = np.array([0.8 * measured_ms.min(), 1.25 * measured_ms.max()])
    for panel in panels.flat[len(predicted_ms) :]:
        panel.set_visible(False)
    for panel, (name, guess) in zip(panels.flat, predicted_ms.items(), strict=False):
        panel.fill_between(ends, 0.95 * ends, 1.05 * ends, color="0.9")
        panel.plot(ends, ends, color="0.6", linewidth=0.8)
        shown = np.clip(guess, ends[0] / BEYOND, BEYOND * ends[1])
        right = guess == shown
        panel.scatter(measured_ms[right], shown[right], s=14, color="tab:blue")
        far = ~right & np.isfinite(guess)
        panel.scatter(measured_ms[far], shown[far], s=18, color="tab:red", marker="x")
        panel.set(xscale="log", yscale="log", title=f"{name}: MAPE {errors[name]:.1%}")
        panel.set_xlim(*ends)
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.set_major_formatter(ticker.FormatStrFormatter("%g"))
            axis.set_minor_locator(ticker.NullLocator())
    figure.supxlabel("median of each network (ms)")
    figure.supylabel("predicted (ms); grey: within 5%; x: off the scale")
    figure.suptitle(title)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    write_atomic(path, buffer.getvalue())
