"""The picture in the README: predicted accuracy against predicted p90, and what was verified.

Grey: 2,000 random subnets. Line: the best subnet that the product's search finds in the band just below each of 20
limits (the mean over `--seeds` searches). Points: packages that `specialize_limits.py` verified, at their measured p90
and test accuracy, if its result lies in the cache. Writes docs/front.png (a quick run: front-quick.png in the cache);
`--out` elsewhere.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from _common import ROOT, Setting, finish, log, parser, random_subnets

from hwnas.core.files import write_atomic
from hwnas.core.metrics import Floats
from hwnas.evaluators.predictor import AccuracyPredictor
from hwnas.latency.in_use import LatencyInUse
from hwnas.pipeline.candidates import Band, search

NAME = "front"
SEED = 3
Points = list[tuple[float, float]]
"""(p90 in ms, accuracy as a fraction)."""


def best_by_limit(
    setting: Setting, model: LatencyInUse, predictor: AccuracyPredictor, limits: Floats, seeds: int
) -> Points:
    """Predicted p90 and accuracy of the best found just below each limit; limits with an empty band are left out."""
    settings, most = setting.workspace.settings.search, model.reachable("p90")[1]
    points = []
    for limit in limits:
        log(f"search below {limit:.3g} ms")
        band = Band.of(float(limit), settings.headroom, bool(limit < most))
        runs = [search(model, predictor, band, settings, frozenset(), seed) for seed in range(seeds)]
        best = [(found[0].predicted_p90_ms, found[0].predicted_accuracy) for found in runs if found]
        if best:
            p90, accuracy = np.mean(best, axis=0)
            points.append((float(p90), float(accuracy)))
    return sorted(points)


def verified(cache: Path) -> Points:
    """Measured p90 and test accuracy of the packages of `specialize_limits.py`."""
    path = cache / "specialize_limits.json"
    runs: list[dict[str, Any]] = json.loads(path.read_text())["figures"]["runs"] if path.exists() else []
    return [(row["p90_ms"], row["top1"]) for row in runs if row["holds"]]


def draw(grey: Points, line: Points, points: Points, path: Path) -> None:
    """The figure as a PNG, whole or not at all."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.2), dpi=120, layout="constrained")
    axes.scatter(np.transpose(grey)[0], np.transpose(grey)[1], s=5, color="0.75", label="random subnets, predicted")
    axes.plot(
        np.transpose(line)[0],
        np.transpose(line)[1],
        color="tab:blue",
        label="best found just below each limit, predicted",
    )
    if points:
        label = "handed over: p90 measured, accuracy on test images"
        axes.scatter(np.transpose(points)[0], np.transpose(points)[1], s=36, color="tab:red", zorder=3, label=label)
    axes.set_xlabel("p90 latency (ms)")
    axes.set_ylabel("accuracy")
    axes.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    pyplot.close(figure)
    write_atomic(path, buffer.getvalue())


def main() -> None:
    options = parser(__doc__, seeds=3)
    options.add_argument("--out", type=Path, help="where the figure goes (default: docs/front.png)")
    args = options.parse_args()
    out = args.out or (args.cache / "front-quick.png" if args.quick else ROOT / "docs" / "front.png")
    setting = Setting.of(args.workspace)
    model = setting.model()
    predictor = AccuracyPredictor.load(setting.supernet.space, setting.supernet.predictor_path)
    batch = random_subnets(model.space, 200 if args.quick else 2000, SEED)
    p90, accuracy = model.estimate(batch).p90, predictor.evaluate(batch)
    least, most = model.reachable("p90")
    limits = np.geomspace(1.05 * least, 0.99 * most, 3 if args.quick else 20)
    line = best_by_limit(setting, model, predictor, limits, 1 if args.quick else args.seeds)
    points = verified(args.cache)
    draw(list(zip(p90.tolist(), accuracy.tolist(), strict=True)), line, points, out)
    figures = {"file": str(out), "random_subnets": len(batch), "front": line, "verified": points}
    finish(args, NAME, figures)


if __name__ == "__main__":
    main()
