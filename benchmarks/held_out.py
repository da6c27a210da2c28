"""How well does five minutes' profile of this machine predict networks that it has not seen? On one thread and on two.

For each number of threads, in a new workspace: `Workspace.profile` within `--budget`, at most `--subnets` networks
beside the blocks. Then random subnets that nothing was fitted on are timed whole by the device's rules for networks, in
a fresh process; then once more in another fresh process, in another order of groups. Compared with the first
measurement's median:

- macs, params: the count times one factor, fitted on the networks of the profile;
- lut: the plain sum of the table's blocks;
- lut corrected: that sum, corrected by the same networks;
- chosen: the latency model that the profile kept, with which the product searches; and its p90 with the measured p90;
- measured again: the second measurement as if it were a prediction. Its MAPE is the noise floor: what a repetition
  differs by, in another process. Within a measurement the medians of odd and even samples differ by far less
  (`halves`), which no other process repeats.

Coverage is the share of
first medians inside the interval that the chosen model gave, nine in ten if it is right; its own 95% interval is
Clopper and Pearson's. Bars: the chosen model's MAPE is at most 1.2 times the noise floor (not to be told where that is
above 8%), its Spearman correlation on one thread at least 0.97, coverage 85 to 95%, and the profile took at most 300
seconds.
"""

from __future__ import annotations

import json
import shutil
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from _common import SCORE_HEADER, finish, log, markdown, measuring, parser, progress, random_subnets, score_cells
from _workspaces import QUICK_RULES, local_toml, own_workspace
from numpy.typing import NDArray
from scipy.stats import binomtest

from hwnas.core.additive import compile_additive
from hwnas.core.arch import ArchBatch
from hwnas.core.count import macs, params
from hwnas.core.files import write_json
from hwnas.core.metrics import Floats, Measurement, Prediction, Timing
from hwnas.core.protocols import SearchSpace
from hwnas.devices.device import open_device
from hwnas.devices.profile import DeviceProfile, load_profile
from hwnas.latency.lut import CorrectedTable, TableSum
from hwnas.latency.report_card import Score, noise_floor, proportional, score
from hwnas.luts import LatencyTable
from hwnas.luts.build import TABLE
from hwnas.ofa_supernet.folder import SupernetFolder
from hwnas.pipeline.latency import kept_model, measure_networks
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
    """A device, the space, its table, and the model that was kept with the networks that it was fitted on."""

    profile: DeviceProfile
    space: SearchSpace
    table: LatencyTable
    fitted: ArchBatch
    fitted_ms: list[Timing]
    chosen: str
    estimate: Callable[[ArchBatch], Prediction]

    @classmethod
    def of(cls, workspace: Workspace) -> Subject:
        """What a profiled workspace keeps."""
        supernet = workspace.settings.supernet
        profile = load_profile(workspace.device_file(DEVICE))
        space = SupernetFolder(workspace.supernet_folder(supernet)).space
        folder = workspace.table_folder(DEVICE, supernet)
        with open_device(profile) as device:
            model = kept_model(folder, space, device.facts())
        if model is None:
            raise SystemExit(f"no latency model in {folder}: not every block ran, see `hwnas profile`")
        points = model.points
        timings = [Timing(median, p90) for median, p90 in zip(points.median.tolist(), points.p90.tolist(), strict=True)]
        name = getattr(model, "name", "lut corrected")
        return cls(
            profile,
            space,
            LatencyTable.read(folder / TABLE),
            ArchBatch(space.id, points.genes),
            timings,
            name,
            model.estimate,
        )

    def unseen(self, count: int) -> ArchBatch:
        """Random subnets without those that the model was fitted on."""
        fitted = {tuple(genes) for genes in self.fitted.genes.tolist()}
        drawn = random_subnets(self.space, count + len(fitted), SEED)
        fresh = [row for row, genes in enumerate(drawn.genes.tolist()) if tuple(genes) not in fitted]
        return drawn.take(np.array(fresh[:count]))

    def measure(self, archs: ArchBatch, folder: Path) -> list[Measurement]:
        """Whole networks, in a runner process of their own."""
        with open_device(self.profile, self.profile.networks) as device:
            timed = measure_networks(device, self.space, archs, folder / "networks.jsonl", progress())
        return timed.measurements


@dataclass(frozen=True, eq=False)
class Verdict:
    """Every model on the same N networks."""

    subject: Subject
    archs: ArchBatch
    first: list[Measurement]
    again: list[Measurement]

    def scores(self) -> list[Score]:
        """The plain ones first; the chosen model, its p90 and what was measured again last."""
        subject, median, floor = self.subject, _medians(self.first), self.floor
        fitted, fitted_ms = subject.fitted, np.array([one.median for one in subject.fitted_ms])
        found = []
        for name, count in (("macs", macs), ("params", params)):
            proxy = compile_additive(subject.space, lambda net, count=count: float(count(net)))  # type: ignore[misc]
            factor = proportional(proxy(fitted), fitted_ms)
            found.append(score(name, median, factor * proxy(self.archs), floor))
        corrected = CorrectedTable.fit(subject.space, subject.table, fitted, subject.fitted_ms)
        found.append(score("lut", median, TableSum(subject.space, subject.table).median(self.archs), floor))
        found.append(score("lut corrected", median, corrected.median(self.archs), floor))
        return [*found, *self._last()]

    def _last(self) -> list[Score]:
        guess, known = self.predicted, self.known
        median, p90 = _medians(self.first), np.array([one.p90 for one in self.first])
        chosen = f"chosen: {self.subject.chosen}"
        return [
            score(chosen, median[known], guess.median[known], self.floor),
            score(f"{chosen}, p90", p90[known], guess.p90[known], self.floor),
            score("measured again", median, _medians(self.again), self.floor),
            score("measured again, p90", p90, np.array([one.p90 for one in self.again]), self.floor),
        ]

    @cached_property
    def floor(self) -> float:
        """What the second measurement differs by from the first."""
        return float(np.mean(np.abs(_medians(self.again) / _medians(self.first) - 1)))

    @cached_property
    def halves(self) -> float:
        """What odd and even samples of the first measurement differ by."""
        return noise_floor([one.samples_ms for one in self.first])

    @cached_property
    def predicted(self) -> Prediction:
        """What the chosen model says."""
        return self.subject.estimate(self.archs)

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """N: where the chosen model says anything. One that learnt from networks may refuse what is unlike them."""
        return np.isfinite(self.predicted.median)

    def covered(self) -> int:
        """First medians inside the chosen model's interval; where it refuses there is none."""
        median, guess = _medians(self.first), self.predicted
        return int(np.sum(self.known & (guess.lower <= median) & (median <= guess.upper)))

    def level(self) -> float:
        """What the machine's speed did meanwhile: the median of measured over predicted."""
        return float(np.median((_medians(self.first) / self.predicted.median)[self.known]))


def _medians(measurements: list[Measurement]) -> Floats:
    return np.array([one.median for one in measurements])


def profiled(source: Workspace, folder: Path, threads: int, args: Namespace) -> tuple[Workspace, dict[str, Any]]:
    """A workspace with a profile of one uninterrupted run, and the profile's document with the seconds of the call."""
    done, target = folder / "profile.json", folder / "ws"
    rules, subnets, budget = (QUICK_RULES, 12, "3s") if args.quick else ("", args.subnets, args.budget)
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
    subject = Subject.of(workspace)
    archs = subject.unseen(6 if args.quick else args.networks)
    log(f"{threads} threads: {len(archs)} networks that no model has seen")
    first = subject.measure(archs, folder / "first")
    order = np.random.default_rng(SEED).permutation(len(archs))
    repeated = subject.measure(archs.take(order), folder / "again")
    return figures_of(threads, profile, Verdict(subject, archs, first, [repeated[i] for i in np.argsort(order)]))


def figures_of(threads: int, profile: dict[str, Any], verdict: Verdict) -> dict[str, Any]:
    """Scores, coverage and bars."""
    scores, floor, total = verdict.scores(), verdict.floor, len(verdict.archs)
    chosen = next(one for one in scores if one.model == f"chosen: {verdict.subject.chosen}")
    tested = binomtest(verdict.covered(), total).proportion_ci()
    coverage = verdict.covered() / total
    refused = int(np.sum(~verdict.known))
    low, high = COVERAGE_BAR
    bars: dict[str, bool | None] = {
        "mape_over_floor": None if floor > VALID_FLOOR else refused == 0 and chosen.mape <= FLOOR_BAR * floor,
        "spearman": refused == 0 and chosen.spearman >= SPEARMAN_BAR if threads == 1 else None,
        "profile_seconds": profile["seconds"] <= PROFILE_BAR_S,
        "coverage": low <= coverage <= high,
    }
    return {
        "threads": threads,
        "profile": profile,
        "fitted_on": len(verdict.subject.fitted),
        "networks": total,
        "chosen": verdict.subject.chosen,
        "refused": refused,
        "noise_floor": floor,
        "halves": verdict.halves,
        "valid": floor <= VALID_FLOOR,
        "report_card": [{**one.to_json(), "mape_over_floor": one.mape / floor} for one in scores],
        "measured_over_predicted": verdict.level(),
        "coverage": {"share": coverage, "low": float(tested.low), "high": float(tested.high)},
        "bars": bars,
    }


def tables(found: list[dict[str, Any]]) -> list[str]:
    """The models, and what else was found, for docs/results.md."""
    header = ["threads", *SCORE_HEADER, "over the floor"]
    rows = [
        [one["threads"], *score_cells(row), f"{row['mape_over_floor']:.1f}"]
        for one in found
        for row in one["report_card"]
    ]
    titles = ["threads", "profile", "fitted on", "held out", "refused", "noise floor", "halves", "measured / predicted"]
    titles += ["coverage", "95% interval", "bars"]
    said = {True: "holds", False: "missed", None: "not told"}
    others = [
        [
            *(one["threads"], f"{one['profile']['seconds']:.0f} s", one["fitted_on"], one["networks"], one["refused"]),
            *(
                f"{one['noise_floor']:.2%}",
                f"{one['halves']:.2%}",
                f"{one['measured_over_predicted']:.3f}",
                f"{one['coverage']['share']:.0%}",
            ),
            f"[{one['coverage']['low']:.0%}, {one['coverage']['high']:.0%}]",
            ", ".join(f"{name} {said[held]}" for name, held in one["bars"].items()),
        ]
        for one in found
    ]
    return [markdown(header, rows), markdown(titles, others)]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--networks", type=int, default=100, help="held-out subnets (%(default)s)")
    options.add_argument("--subnets", type=int, default=200, help="networks of a profile at most (%(default)s)")
    options.add_argument("--budget", default="240s", help="for measuring, fits come after it (%(default)s)")
    args = options.parse_args()
    stem = f"{NAME}-quick" if args.quick else f"{NAME}-{args.networks}-{args.subnets}-{args.budget}"
    source = Workspace(args.workspace)
    with measuring(args.cache, stem) as folder:
        found = [one_of(source, folder / f"threads-{threads}", threads, args) for threads in THREADS]
    finish(args, NAME, {"threads": found}, tables(found))


if __name__ == "__main__":
    main()
