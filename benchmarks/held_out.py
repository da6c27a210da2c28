"""How well does five minutes' profile of this machine predict networks that it has not seen? On one thread and on two.

For each number of threads, in a new workspace: `Workspace.profile` within `--budget`, which measures the blocks and
`--subnets` whole networks. Of these 100, drawn at random, are then held out: the latency models are fitted on the
others, and the best of them is chosen on its validation part, as `hwnas profile` does with all. So what is held out was
measured in the same minutes, group by group among the rest. Then it is measured once more, in a fresh process and
another order. Compared with the first measurement's median:

- every row of the report card, fitted on the networks that are not held out; the best on the validation part is marked,
  and its p90 compared with the measured p90;
- measured again: the second measurement as if it were a prediction. Its MAPE is the noise floor: what a repetition
  differs by, in another process and some minutes later. Within a measurement the medians of odd and even samples differ
  by far less (`halves`), which no other process repeats.

A model that was fitted beside the first measurement shares its minutes; so the chosen one is also compared with the
second (`later`), as the first measurement is when it gives the noise floor. Coverage is the share of first medians
inside the interval that the chosen model gave, nine in ten if it is right; its own 95% interval is Clopper and
Pearson's. Bars: both MAPEs of the chosen model are at most 1.2 times the noise floor (not to be told where that is
above 8%), its Spearman correlation on one thread at least 0.97, coverage 85 to 95%, and the profile took at most 300
seconds.
"""

from __future__ import annotations

import json
import shutil
import time
from argparse import Namespace
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from _common import SCORE_HEADER, finish, log, markdown, measuring, parser, progress, score_cells
from _workspaces import QUICK_RULES, local_toml, own_workspace
from scipy.stats import binomtest

from hwnas.core.arch import ArchBatch
from hwnas.core.files import write_json
from hwnas.core.metrics import Floats, Measurement, Prediction
from hwnas.devices.device import open_device
from hwnas.devices.profile import DeviceProfile, load_profile
from hwnas.latency.in_use import LatencyInUse
from hwnas.latency.report_card import Score, noise_floor, score
from hwnas.latency.selection import Networks, Selection
from hwnas.luts import LatencyTable
from hwnas.luts.build import TABLE
from hwnas.ofa_supernet.folder import SupernetFolder
from hwnas.pipeline.latency import NETWORKS_JOURNAL, kept_networks, measure_networks
from hwnas.workspace import Workspace

NAME = "held_out"
THREADS = (1, 2)
SEED = 11
DEVICE = "local"
KEPT = ("rows", "estimated", "disturbed", "disturbed_networks", "device_seconds", "report_card")
"""Of a profile's document."""
FLOOR_BAR, VALID_FLOOR, SPEARMAN_BAR, PROFILE_BAR_S, COVERAGE_BAR = 1.2, 0.08, 0.97, 300.0, (0.85, 0.95)


@dataclass(frozen=True, eq=False)
class Subject:
    """A profiled device: the networks that models are fitted on, those that are held out, and the chosen model."""

    profile: DeviceProfile
    selection: Selection
    fitted: Networks
    held: Networks
    chosen: LatencyInUse

    @classmethod
    def of(cls, workspace: Workspace, count: int) -> Subject:
        """What a profiled workspace keeps, `count` of its networks held out."""
        supernet = workspace.settings.supernet
        profile = load_profile(workspace.device_file(DEVICE))
        space = SupernetFolder(workspace.supernet_folder(supernet)).space
        folder = workspace.table_folder(DEVICE, supernet)
        table = LatencyTable.read(folder / TABLE)
        facts = table.provenance.device
        found = Networks.in_order(space, table, kept_networks(space, folder / NETWORKS_JOURNAL, facts))
        out = np.zeros(len(found), dtype=np.bool_)
        out[np.random.default_rng(SEED).permutation(len(found))[:count]] = True
        fitted = found.take(~out)
        selection = Selection.of(space, table, len(fitted), facts)
        card = selection.card(fitted)
        if card is None:
            raise SystemExit(f"{len(found)} networks were measured: too few to choose a model; give a longer --budget")
        return cls(profile, selection, fitted, found.take(out), selection.fitted(card.used, fitted))

    def measure(self, archs: ArchBatch, folder: Path) -> list[Measurement]:
        """Whole networks, in runner processes of their own."""
        with open_device(self.profile, self.profile.networks) as device:
            timed = measure_networks(device, self.held.space, archs, folder / "networks.jsonl", progress())
        return timed.measurements


@dataclass(frozen=True, eq=False)
class Judged:
    """Every model on the same N networks, and the second measurement of those."""

    subject: Subject
    again: list[Measurement]

    def scores(self) -> list[Score]:
        """The report card's rows; the chosen model, its p90 and what was measured again last."""
        fitted, held = self.subject.fitted, self.subject.held
        found = []
        for name, learn in self.subject.selection.models.items():
            found.append(score(name, held.median_ms, learn(fitted)(held.archs), self.floor))
        chosen, guess, floor = f"chosen: {self.subject.chosen.name}", self.predicted, self.floor_p90
        return [
            *found,
            score(chosen, held.median_ms, guess.median, self.floor),
            score(f"{chosen}, p90", held.p90_ms, guess.p90, floor),
            score("measured again", held.median_ms, self.again_ms, self.floor),
            score("measured again, p90", held.p90_ms, self.again_p90_ms, floor),
        ]

    @cached_property
    def again_ms(self) -> Floats:
        """N medians of the second measurement."""
        return np.array([one.median for one in self.again])

    @cached_property
    def again_p90_ms(self) -> Floats:
        """N p90s of the second measurement."""
        return np.array([one.p90 for one in self.again])

    @cached_property
    def floor(self) -> float:
        """What the second measurement's medians differ by from the first's."""
        return float(np.mean(np.abs(self.again_ms / self.subject.held.median_ms - 1)))

    @cached_property
    def floor_p90(self) -> float:
        """What the second measurement's p90s differ by from the first's."""
        return float(np.mean(np.abs(self.again_p90_ms / self.subject.held.p90_ms - 1)))

    @cached_property
    def halves(self) -> float:
        """What odd and even samples of the first measurement differ by."""
        return noise_floor([one.samples_ms for one in self.subject.held.measurements])

    @cached_property
    def predicted(self) -> Prediction:
        """What the chosen model says; infinite where it refuses."""
        return self.subject.chosen.estimate(self.subject.held.archs)

    def covered(self, median_ms: Floats) -> int:
        """Medians inside the chosen model's interval; where it refuses there is none."""
        guess = self.predicted
        return int(np.sum(np.isfinite(guess.median) & (guess.lower <= median_ms) & (median_ms <= guess.upper)))


def profiled(source: Workspace, folder: Path, threads: int, args: Namespace) -> tuple[Workspace, dict[str, Any]]:
    """A workspace with a profile of one uninterrupted run, and the profile's document with the seconds of the call."""
    done, target = folder / "profile.json", folder / "ws"
    rules, subnets, budget = (QUICK_RULES, 24, None) if args.quick else ("", args.subnets, args.budget)
    if not done.exists():
        shutil.rmtree(target, ignore_errors=True)  # a broken-off profile would lack the seconds before
    workspace = own_workspace(source, target, subnets, {DEVICE: local_toml(threads, rules)})
    if not done.exists():
        started = time.monotonic()
        report = workspace.profile(DEVICE, budget=budget, progress=progress())
        seconds = time.monotonic() - started
        write_json(done, {**{key: report.to_json()[key] for key in KEPT}, "seconds": seconds})
    return workspace, json.loads(done.read_text())


def one_of(source: Workspace, folder: Path, threads: int, args: Namespace) -> dict[str, Any]:
    """All figures of a number of threads."""
    log(f"{threads} threads: profile")
    workspace, profile = profiled(source, folder, threads, args)
    subject = Subject.of(workspace, 6 if args.quick else args.networks)
    log(f"{threads} threads: {len(subject.held)} networks that no model has seen, once more")
    order = np.random.default_rng(SEED).permutation(len(subject.held))
    repeated = subject.measure(subject.held.archs.take(order), folder / "again")
    return figures_of(threads, profile, Judged(subject, [repeated[place] for place in np.argsort(order)]))


def figures_of(threads: int, profile: dict[str, Any], judged: Judged) -> dict[str, Any]:
    """Scores, coverage and bars."""
    scores, floor, held = judged.scores(), judged.floor, judged.subject.held
    chosen = next(one for one in scores if one.model == f"chosen: {judged.subject.chosen.name}")
    later = score("later", judged.again_ms, judged.predicted.median, floor)
    coverage = _coverage(judged.covered(held.median_ms), len(held))
    known, worse = np.isfinite(judged.predicted.median), max(chosen.mape, later.mape)
    low, high = COVERAGE_BAR
    bars: dict[str, bool | None] = {
        "mape_over_floor": None if floor > VALID_FLOOR else bool(known.all()) and worse <= FLOOR_BAR * floor,
        "spearman": not chosen.refused and chosen.spearman >= SPEARMAN_BAR if threads == 1 else None,
        "profile_seconds": profile["seconds"] <= PROFILE_BAR_S,
        "coverage": low <= coverage["share"] <= high,
    }
    return {
        "threads": threads,
        "profile": profile,
        "fitted_on": len(judged.subject.fitted),
        "networks": len(held),
        "chosen": judged.subject.chosen.name,
        "refused": chosen.refused,
        "noise_floor": floor,
        "halves": judged.halves,
        "valid": floor <= VALID_FLOOR,
        "report_card": [{**one.to_json(), "mape_over_floor": one.mape / one.noise_floor} for one in scores],
        "coverage": coverage,
        "later": {
            "mape": later.mape,
            "mape_over_floor": later.mape / floor,
            "spearman": later.spearman,
            "measured_over_predicted": float(np.median((judged.again_ms / judged.predicted.median)[known])),
            "coverage": _coverage(judged.covered(judged.again_ms), len(held)),
        },
        "bars": bars,
    }


def _coverage(covered: int, total: int) -> dict[str, float]:
    interval = binomtest(covered, total).proportion_ci()
    return {"share": covered / total, "low": float(interval.low), "high": float(interval.high)}


def tables(found: list[dict[str, Any]]) -> list[str]:
    """The models, and what else was found, for docs/results.md."""
    header = ["threads", *SCORE_HEADER, "over the floor"]
    rows = [
        [one["threads"], *score_cells(row), f"{row['mape_over_floor']:.1f}"]
        for one in found
        for row in one["report_card"]
    ]
    titles = ["threads", "profile", "fitted on", "held out", "noise floor", "halves", "coverage", "95% interval"]
    titles += ["later: measured / predicted", "MAPE", "over the floor", "coverage", "bars"]
    said = {True: "holds", False: "missed", None: "not told"}
    others = [
        [
            *(one["threads"], f"{one['profile']['seconds']:.0f} s", one["fitted_on"], one["networks"]),
            *(f"{one['noise_floor']:.2%}", f"{one['halves']:.2%}", f"{one['coverage']['share']:.0%}"),
            f"[{one['coverage']['low']:.0%}, {one['coverage']['high']:.0%}]",
            *(f"{one['later']['measured_over_predicted']:.3f}", f"{one['later']['mape']:.1%}"),
            f"{one['later']['mape_over_floor']:.1f}",
            f"{one['later']['coverage']['share']:.0%}",
            ", ".join(f"{name} {said[held]}" for name, held in one["bars"].items()),
        ]
        for one in found
    ]
    return [markdown(header, rows), markdown(titles, others)]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--networks", type=int, default=100, help="held-out subnets (%(default)s)")
    options.add_argument("--subnets", type=int, default=300, help="networks of a profile at most (%(default)s)")
    options.add_argument("--budget", default="240s", help="for measuring, fits come after it (%(default)s)")
    args = options.parse_args()
    stem = f"{NAME}-quick" if args.quick else f"{NAME}-{args.networks}-{args.subnets}-{args.budget}"
    source = Workspace(args.workspace)
    with measuring(args.cache, stem) as folder:
        found = [one_of(source, folder / f"threads-{threads}", threads, args) for threads in THREADS]
    finish(args, NAME, {"threads": found}, tables(found))


if __name__ == "__main__":
    main()
