"""How well do the latency models predict networks that they have not seen, measured fresh?

Random subnets that none of the models was fitted on are timed whole, in one run, by the device's rules for networks;
then once more in a fresh process, in another order of groups. Compared with the first measurement's median:

- macs, params: the count times one factor, fitted on the same networks as the corrected table;
- lut: the plain sum of the table's blocks;
- lut corrected: what the product searches with (the workspace's own model); and its p90 against the measured p90;
- measured again: the second measurement as if it were a prediction: what a model cannot be asked to beat.

The noise floor is the mean difference between odd and even samples of the same measurement.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from _common import Setting, finish, log, markdown, measuring, parser, progress, random_subnets

from hwnas.core.additive import compile_additive
from hwnas.core.arch import ArchBatch
from hwnas.core.count import macs, params
from hwnas.core.metrics import Measurement
from hwnas.devices.device import open_device
from hwnas.latency.lut import CorrectedTable, TableSum
from hwnas.latency.report_card import Score, noise_floor, proportional, score
from hwnas.pipeline.latency import measure_networks

NAME = "latency_models"
SEED = 11


def unseen(model: CorrectedTable, count: int) -> ArchBatch:
    """Random subnets without those that the model was fitted on."""
    fitted = {tuple(genes) for genes in model.points.genes.tolist()}
    drawn = random_subnets(model.space, count + len(fitted), SEED)
    fresh = [row for row, genes in enumerate(drawn.genes.tolist()) if tuple(genes) not in fitted]
    return drawn.take(np.array(fresh[:count]))


def measure(setting: Setting, archs: ArchBatch, folder: Path) -> list[Measurement]:
    """Whole networks, in a runner process of their own."""
    with open_device(setting.profile, setting.profile.networks) as device:
        timed = measure_networks(device, setting.supernet.space, archs, folder / "networks.jsonl", progress())
    return timed.measurements


def scores(model: CorrectedTable, archs: ArchBatch, first: list[Measurement], again: list[Measurement]) -> list[Score]:
    """Every model on the same networks."""
    space, points = model.space, model.points
    median = np.array([measurement.median for measurement in first])
    p90 = np.array([measurement.p90 for measurement in first])
    floor = noise_floor([measurement.samples_ms for measurement in first])
    found = []
    for name, count in (("macs", macs), ("params", params)):
        proxy = compile_additive(space, lambda net, count=count: float(count(net)))  # type: ignore[misc]
        factor = proportional(proxy(ArchBatch(space.id, points.genes)), points.median)
        found.append(score(name, median, factor * proxy(archs), floor))
    found.append(score("lut", median, TableSum(space, model.table).median(archs), floor))
    predicted = model.estimate(archs)
    found.append(score("lut corrected", median, predicted.median, floor))
    found.append(score("lut corrected, p90", p90, predicted.p90, floor))
    found.append(score("measured again", median, np.array([m.median for m in again]), floor))
    found.append(score("measured again, p90", p90, np.array([m.p90 for m in again]), floor))
    return found


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--networks", type=int, default=100, help="held-out subnets (%(default)s)")
    args = options.parse_args()
    setting = Setting.of(args.workspace)
    model = setting.model()
    archs = unseen(model, 6 if args.quick else args.networks)
    with measuring(args.cache, f"{NAME}-{len(archs)}") as folder:
        log(f"{len(archs)} networks that no model has seen")
        first = measure(setting, archs, folder / "first")
        order = np.random.default_rng(SEED).permutation(len(archs))
        repeated = measure(setting, archs.take(order), folder / "again")
    again = [repeated[int(place)] for place in np.argsort(order)]
    found = scores(model, archs, first, again)
    figures = {
        "networks": len(archs),
        "fitted_on": len(model.points.median),
        "report_card": [one.to_json() for one in found],
    }
    header = ["model", "within 5%", "within 10%", "MAPE", "Spearman", "Kendall"]
    rows = [
        [s.model, f"{s.within_5:.0%}", f"{s.within_10:.0%}", f"{s.mape:.1%}", f"{s.spearman:.3f}", f"{s.kendall:.3f}"]
        for s in found
    ]
    note = f"{len(archs)} held-out networks; noise floor {found[0].noise_floor:.2%}."
    finish(args, NAME, figures, [f"{markdown(header, rows)}\n\n{note}"])


if __name__ == "__main__":
    main()
