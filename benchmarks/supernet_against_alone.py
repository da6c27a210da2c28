"""Is a subnet as good as the same architecture trained alone? And is the sandwich rule worth it?

Five subnets over the range of MACs, the smallest and the largest among them: each with the supernet's weights, and
trained alone, from random weights, for as many epochs by the same recipe. Both get statistics from the calibration
images, and are compared on the same test images.

Then the same budget without the sandwich rule: a supernet trained for as many epochs on as many subnets a step, all of
them drawn, which learn from labels alone. The same five subnets, and some random ones, are compared.

Hours; every training goes on from its checkpoint in the cache. `--part` does one of the two.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tomlkit
from _common import finish, log, markdown, parser, progress
from _trained import Hits, Subject, cache_of, name_of, options, paired, read_hits, subject, write_hits

from hwnas.core.arch import Arch
from hwnas.core.count import macs, params
from hwnas.ofa_supernet.alone import train_alone
from hwnas.ofa_supernet.folder import RECIPE, WEIGHTS, SupernetFolder
from hwnas.ofa_supernet.network import OfaSupernet
from hwnas.ofa_supernet.train import train

NAME = "supernet_against_alone"
SUBNETS, QUICK_SUBNETS = 5, 2
RANDOM, QUICK_RANDOM = 20, 1
"""Subnets over which both supernets are compared on average."""
QUICK_IMAGES, QUICK_TEST = 256, 500


def shortened(one: Subject) -> Subject:
    """One epoch over few images, and a test of few."""
    stages = [stage.model_copy(update={"epochs": 1}) for stage in one.recipe.stage]
    recipe = one.recipe.model_copy(update={"stage": stages, "train_images": QUICK_IMAGES})
    held = {name: split.first(QUICK_TEST) for name, split in one.splits.held.items()}
    return Subject(one.folder, recipe, type(one.splits)(one.splits.train, held))


def kept_hits(path: Path, make: Callable[[], Hits]) -> Hits:
    """Test hits of an architecture, worked out once."""
    if not path.exists():
        write_hits(path, {"test": make()})
    return read_hits(path)["test"]


def against_alone(one: Subject, supernet: OfaSupernet, cache: Path, count: int) -> list[dict[str, Any]]:
    """A row a subnet."""
    rows = []
    space, test = one.folder.space, one.splits.held["test"]
    for arch in one.over_the_range(count):
        out = cache / name_of(arch)

        def train_it(arch: Arch = arch, out: Path = out) -> Hits:
            return one.hits(train_alone(one.recipe, one.splits, arch, out, progress=progress()), test)

        alone = kept_hits(cache / f"{name_of(arch)}.json", train_it)
        shared = one.hits(supernet.extract(arch), test)
        difference = paired(shared, alone)
        net = space.lower(arch)
        row = {"genes": list(arch.genes), "macs": macs(net), "params": params(net), "pixels": net.input_shape[1]}
        row |= {"supernet": float(shared.mean()), "alone": float(alone.mean()), "images": len(test)}
        row |= {"difference": difference.mean, "interval": [difference.low, difference.high]}
        rows.append(row)
        log(f"{macs(net) / 1e6:.1f} M MACs: {row['supernet']:.2%} in the supernet, {row['alone']:.2%} alone")
    return rows


def without_sandwich(one: Subject) -> str:
    """The recipe's text with as many subnets a step, all drawn, and nothing to learn from but labels."""
    document = tomlkit.parse((one.folder.path / RECIPE).read_text())
    for key, value in one.recipe.model_dump(mode="json", include={"data", "dataset", "train_images"}).items():
        if value is not None:
            document[key] = value
    for table, stage in zip(document["stage"], one.recipe.stage, strict=True):
        table["epochs"] = stage.epochs
        if stage.sandwich:
            table["subnets"] = stage.subnets + 2
            table["sandwich"] = False
            table["distill"] = 0.0
    return tomlkit.dumps(document)


def against_no_sandwich(one: Subject, supernet: OfaSupernet, cache: Path, count: int, random: int) -> dict[str, Any]:
    """Accuracies of both supernets' subnets."""
    text, test = without_sandwich(one), one.splits.held["test"]
    if (cache / WEIGHTS).exists():
        other = SupernetFolder(cache).load()
    else:
        other = train(text, one.splits, cache, resume=True, progress=progress())
    named = dict(zip(("smallest", "largest"), (one.folder.space.smallest, one.folder.space.largest), strict=True))
    found: dict[str, Any] = {}
    for name, arch in named.items():
        both = [one.hits(which.extract(arch), test) for which in (supernet, other)]
        difference = paired(both[0], both[1])
        found[name] = {"sandwich": float(both[0].mean()), "without": float(both[1].mean())}
        found[name] |= {"difference": difference.mean, "interval": [difference.low, difference.high]}
    archs = [*one.over_the_range(count)[1:-1], *one.random(random)]
    accuracies = [[float(one.hits(which.extract(arch), test).mean()) for arch in archs] for which in (supernet, other)]
    found["mean"] = dict(zip(("sandwich", "without"), (float(np.mean(each)) for each in accuracies), strict=True))
    found["mean"] |= {"subnets": len(archs), "better": int(np.sum(np.array(accuracies[0]) > np.array(accuracies[1])))}
    return found


def main() -> None:
    asked_for = parser(__doc__)
    options(asked_for)
    asked_for.add_argument("--part", choices=["alone", "sandwich", "both"], default="both")
    given = asked_for.parse_args()
    one = subject(given)
    count, random = (QUICK_SUBNETS, QUICK_RANDOM) if given.quick else (SUBNETS, RANDOM)
    cache = cache_of(given, NAME)
    if not any(stage.sandwich for stage in one.recipe.stage):
        given.part = "alone"  # there is no sandwich rule to leave out
    if given.quick:
        one = shortened(one)
    supernet = one.folder.load()
    figures: dict[str, Any] = {
        "supernet": given.supernet.name,
        "epochs": sum(stage.epochs for stage in one.recipe.stage),
    }
    tables = []
    if given.part in ("alone", "both"):
        rows = against_alone(one, supernet, cache / "alone", count)
        figures["subnets"] = rows
        figures["worst_difference"] = min(row["difference"] for row in rows)
        cells = [
            [
                f"{row['macs'] / 1e6:.1f}",
                row["pixels"],
                f"{row['supernet']:.2%}",
                f"{row['alone']:.2%}",
                f"{100 * row['difference']:+.2f} [{100 * row['interval'][0]:+.2f}, {100 * row['interval'][1]:+.2f}]",
            ]
            for row in rows
        ]
        tables.append(markdown(("M MACs", "pixels", "in the supernet", "alone", "difference, points"), cells))
    if given.part in ("sandwich", "both"):
        figures["sandwich"] = against_no_sandwich(one, supernet, cache / "without", count, random)
        cells = [[name, f"{row['sandwich']:.2%}", f"{row['without']:.2%}"] for name, row in figures["sandwich"].items()]
        tables.append(markdown(("subnet", "with the sandwich rule", "without"), cells))
    finish(given, NAME, figures, tables)


if __name__ == "__main__":
    main()
