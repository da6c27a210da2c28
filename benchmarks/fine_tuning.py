"""What is there left to gain by fine-tuning a chosen subnet? Three subnets, three learning rates, ten epochs.

The learning rate is the best of three on the images for choosing; the gain is on test images, paired over them. A
supernet that is worth its name leaves next to nothing: once-for-all hands its subnets over as they are.

Hours on a processor; every training goes on from its checkpoint in the cache.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from _common import Interval, finish, log, markdown, parser, progress
from _trained import Hits, Subject, cache_of, name_of, options, paired, read_hits, subject, write_hits

from hwnas.core.arch import Arch
from hwnas.core.count import macs
from hwnas.ofa_supernet.alone import train_alone
from hwnas.ofa_supernet.datasets import Splits
from hwnas.ofa_supernet.recipe import Stage

NAME = "fine_tuning"
SUBNETS = 3
RATES: tuple[float, ...] = (0.001, 0.005, 0.02)
"""Well below those of training from random weights, as the weights are to stay near where they are."""
EPOCHS = 10
WARM_UP = 100
QUICK_IMAGES, QUICK_TEST = 256, 500


def tuned(one: Subject, arch: Arch, rate: float, epochs: int, cache: Path) -> dict[str, Hits]:
    """Hits of the fine-tuned subnet on the images for choosing and on those of the test, worked out once."""
    path = cache / f"{name_of(arch)}-{rate:g}.json"
    splits = ("choice", "test")
    if not path.exists():
        stage = Stage(name=f"rate {rate:g}", epochs=epochs, learning_rate=rate, warmup_steps=WARM_UP)
        recipe = one.recipe.model_copy(update={"stage": [stage]})
        start = one.folder.load().extract(arch)
        network = train_alone(recipe, one.splits, arch, cache / path.stem, start, progress())
        found = {name: one.hits(network, one.splits.held[name]) for name in splits}
        write_hits(path, found)
    return read_hits(path)


def main() -> None:
    asked_for = parser(__doc__)
    options(asked_for)
    given = asked_for.parse_args()
    one = subject(given)
    epochs, rates, archs = EPOCHS, RATES, one.over_the_range(SUBNETS + 2)[1:-1]
    if given.quick:
        held = {name: split.first(QUICK_TEST) for name, split in one.splits.held.items()}
        recipe = one.recipe.model_copy(update={"train_images": QUICK_IMAGES})
        one = Subject(one.folder, recipe, Splits(one.splits.train, held))
        epochs, rates, archs = 1, RATES[:2], archs[:1]
    cache = cache_of(given, NAME)
    rows: list[dict[str, Any]] = []
    gains = np.zeros(len(one.splits.held["test"]))
    for arch in archs:
        before = {name: one.hits(one.folder.load().extract(arch), one.splits.held[name]) for name in ("choice", "test")}
        after = {rate: tuned(one, arch, rate, epochs, cache) for rate in rates}
        best = max(rates, key=lambda rate: float(after[rate]["choice"].mean()))
        gain = paired(after[best]["test"], before["test"])
        gains += (after[best]["test"].astype(float) - before["test"].astype(float)) / len(archs)
        row: dict[str, Any] = {"genes": list(arch.genes), "macs": macs(one.folder.space.lower(arch)), "rate": best}
        row |= {"before": float(before["test"].mean()), "after": float(after[best]["test"].mean())}
        row |= {"gain": gain.mean, "interval": [gain.low, gain.high]}
        row |= {"choice": {f"{rate:g}": float(after[rate]["choice"].mean()) for rate in rates}}
        row |= {"choice_before": float(before["choice"].mean()), "points": gain.points()}
        rows.append(row)
        log(f"{row['macs'] / 1e6:.1f} M MACs: {row['before']:.2%} before, {row['after']:.2%} after, at {best:g}")
    together = Interval.of(list(gains))  # of each image's mean over the subnets, which are not independent
    figures = {"supernet": given.supernet.name, "epochs": epochs, "subnets": rows, "mean_gain": together.mean}
    figures |= {"interval": [together.low, together.high], "images": len(one.splits.held["test"])}
    cells = [
        [f"{row['macs'] / 1e6:.1f}", f"{row['before']:.2%}", f"{row['after']:.2%}", row["points"], f"{row['rate']:g}"]
        for row in rows
    ]
    header = ("M MACs", "before", "after", "gain, points", "learning rate")
    finish(given, NAME, figures, [markdown(header, [*cells, ["all", "", "", together.points(), ""]])])


if __name__ == "__main__":
    main()
