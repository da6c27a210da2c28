"""Is hwnas' search better than random search and than choosing by MACs? Test accuracy, paired over limits and seeds.

Four arms look for the best subnet whose predicted p90 lies in the same band under the same limits (by default the 10th,
30th and 50th percentile of the predicted p90s of 1,000 random subnets); all use the workspace's latency model and the
product's band.

- evolution: what `hwnas specialize` runs: constrained evolution, scored by the accuracy predictor;
- random + predictor: as many random candidates, scored by the same predictor. This is "random search" with equal
  candidates and an equal evaluator, the stronger baseline, and the claim is made on it;
- random: as many random candidates as there are verifications, without a predictor: random search as published;
- macs: the same evolution with as many candidates, but scored by multiply-accumulates: its strongest form.

Each arm hands its best `finalists` (the product's setting) over to the same procedure: extract, recalibrate batch
normalisation, export, and measure the exported file on choice images (held-out training images). The best of them wins,
and the winner's file is measured on all test images, once. Every arm recalibrates on 500 images and chooses on 1,000
(the product chooses on 1,500 after recalibrating on 250, and recalibrates what it hands over on 2,000).

Pairs are (limit, seed); the interval is a 95% t-interval of the paired differences. Supernet and predictor are the same
throughout, so it covers the randomness of searching, not of training. Accuracies are kept by architecture in the cache,
so an interrupted run goes on; `--measure` also times every winner on the device.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _common import Interval, Setting, finish, log, markdown, measuring, parser, random_p90s
from _subnets import Accuracies, Images
from threadpoolctl import threadpool_limits

from hwnas.config import SearchSettings
from hwnas.core.additive import compile_additive
from hwnas.core.arch import Arch, ArchBatch
from hwnas.core.count import macs
from hwnas.core.metrics import Floats
from hwnas.core.problem import Problem, Trial
from hwnas.core.protocols import Evaluator, SearchSpace
from hwnas.devices.device import open_device
from hwnas.evaluators.predictor import AccuracyPredictor
from hwnas.latency.in_use import LatencyInUse
from hwnas.pipeline.candidates import Band, finalists
from hwnas.pipeline.latency import measure_networks
from hwnas.strategies.evolution import ConstrainedEvolution
from hwnas.strategies.random import RandomSearch
from hwnas.strategies.sampling import feasible_sample

NAME = "search_quality"
OURS = "evolution"
BASELINES = ("random + predictor", "random", "macs")
ARMS = (OURS, *BASELINES)
CLAIMED = ("random + predictor", "macs")
"""The baselines of the claim; `random` is reported beside them."""
PERCENTILES = (10, 30, 50)
ANYTIME = (100, 500)
"""Candidates after which the best predicted score is reported as well."""
DRAWN = 1000
"""Feasible draws from which `random` takes its few: with so many asked for, rejection alone finds them, uniformly."""


class Macs:
    """An evaluator: the more multiply-accumulates the better."""

    def __init__(self, space: SearchSpace) -> None:
        self._macs = compile_additive(space, lambda net: float(macs(net)))

    def evaluate(self, batch: ArchBatch) -> Floats:
        return self._macs(batch)


@dataclass(frozen=True)
class Found:
    """What the arms found for one limit and seed: finalists, best first, and best predicted scores by candidates."""

    limit_ms: float
    seed: int
    finalists: dict[str, list[Arch]]
    anytime: dict[str, dict[int, float]]


@dataclass(frozen=True)
class Searches:
    """The four arms over one latency model."""

    model: LatencyInUse
    predictor: AccuracyPredictor
    settings: SearchSettings

    @property
    def budget(self) -> int:
        return self.settings.population * self.settings.generations

    def run(self, limit_ms: float, seed: int) -> Found:
        """All arms at one limit; every arm draws from a generator of its own."""
        count = self.settings.finalists
        rngs = np.random.default_rng([seed, round(1e6 * limit_ms)]).spawn(4)
        seeds = ArchBatch.of([self.model.least("p90")])
        evolution = ConstrainedEvolution(
            population=self.settings.population,
            parents=self.settings.parents,
            mutation_probability=self.settings.mutation_probability,
            seeds=seeds,
        )
        with threadpool_limits(1):
            ours = list(evolution.search(self._problem(limit_ms, self.predictor), rngs[0]))
            scored = list(RandomSearch(seeds).search(self._problem(limit_ms, self.predictor), rngs[1]))
            plain = feasible_sample(self._problem(limit_ms, self.predictor), DRAWN, rngs[2], seeds)
            heavy = list(evolution.search(self._problem(limit_ms, Macs(self.model.space)), rngs[3]))
        chosen = {
            OURS: _archs(ours, count),
            "random + predictor": _archs(scored, count),
            "random": list(plain.take(np.arange(min(count, len(plain))))),
            "macs": _archs(heavy, count),
        }
        empty = [arm for arm, archs in chosen.items() if not archs]
        if empty:
            raise SystemExit(f"no subnet lies in the band below {limit_ms:.3g} ms: give other --limits")
        return Found(limit_ms, seed, chosen, {OURS: self._anytime(ours), "random + predictor": self._anytime(scored)})

    def _problem(self, limit_ms: float, evaluator: Evaluator) -> Problem:
        binding = limit_ms < self.model.reachable("p90")[1]
        band = Band.of(limit_ms, self.settings.headroom, binding)
        return Problem(self.model.space, evaluator, (band.constraint(self.model),), self.budget)

    def _anytime(self, trials: list[Trial]) -> dict[int, float]:
        scores = np.maximum.accumulate([trial.score for trial in trials])
        return {count: float(scores[min(count, len(scores)) - 1]) for count in (*ANYTIME, self.budget)}


def _archs(trials: list[Trial], count: int) -> list[Arch]:
    return [trial.arch for trial in finalists(trials, count)]


def fill(accuracies: Accuracies, asked: Iterable[Arch], split: str, workers: int) -> None:
    """Measure what is not known yet, a process a core; every result is kept at once."""
    todo = accuracies.missing(asked, split)
    if not todo:
        return
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(min(workers, len(todo)), mp_context=context) as pool:
        futures = [pool.submit(accuracies.task(split), arch) for arch in todo]
        for done, future in enumerate(as_completed(futures), 1):
            accuracies.keep(*future.result(), split)
            if done % 10 == 0 or done == len(todo):
                log(f"accuracy on {split} images: {done}/{len(todo)}")


def winners(found: list[Found], accuracies: Accuracies) -> list[dict[str, Arch]]:
    """The most accurate finalist of each arm on choice images; equal ones in the order of the search."""
    choice = accuracies.known("choice")
    return [{arm: max(archs, key=lambda arch: choice[arch]) for arm, archs in one.finalists.items()} for one in found]


def compare(found: list[Found], test: list[dict[str, float]], limits: list[float]) -> dict[str, Any]:
    """Intervals of evolution less each baseline, over all pairs and by limit."""
    result: dict[str, Any] = {}
    for arm in BASELINES:
        pairs = [(one.limit_ms, row[OURS] - row[arm]) for one, row in zip(found, test, strict=True)]
        result[arm] = {
            "all": asdict(Interval.of([difference for _, difference in pairs])),
            "by_limit": [asdict(Interval.of([d for at, d in pairs if at == limit])) for limit in limits],
        }
    return result


def tables(figures: dict[str, Any]) -> list[str]:
    """Mean test accuracies, and differences with their intervals."""
    columns = [*(f"{limit:.3g} ms" for limit in figures["limits_ms"]), "all"]
    means = [[arm, *(f"{100 * value:.2f}%" for value in figures["test_accuracy"][arm])] for arm in ARMS]
    rows = []
    for arm in BASELINES:
        found = figures["difference"][arm]
        rows.append([f"evolution - {arm}", *(Interval(**one).points() for one in (*found["by_limit"], found["all"]))])
    score = [
        [arm, *(f"{100 * value:.2f}%" for value in by.values())]
        for arm, by in figures["predicted_by_candidates"].items()
    ]
    counts = list(figures["predicted_by_candidates"][OURS])
    return [
        markdown(["mean test accuracy", *columns], means),
        markdown(["points, 95% interval", *columns], rows),
        markdown(["best predicted accuracy after", *(f"{count} candidates" for count in counts)], score),
    ]


def measured(setting: Setting, won: list[dict[str, Arch]], found: list[Found], cache: Path) -> dict[str, float]:
    """Share of winners whose p90, measured once, is within the limit, by arm."""
    distinct = ArchBatch.of(sorted({arch for row in won for arch in row.values()}, key=lambda arch: arch.genes))
    with (
        measuring(cache, f"{NAME}-latency") as folder,
        open_device(setting.profile, setting.profile.finalists) as device,
    ):
        space = setting.supernet.space
        timed = measure_networks(
            device,
            space,
            distinct,
            folder / "networks.jsonl",
            lambda stage, done, total: log(f"{stage} {done}/{total}"),
        ).measurements
    p90 = dict(zip(distinct, (measurement.p90 for measurement in timed), strict=True))
    return {
        arm: float(np.mean([p90[row[arm]] <= one.limit_ms for row, one in zip(won, found, strict=True)]))
        for arm in ARMS
    }


def summary(
    searches: Searches, found: list[Found], won: list[dict[str, Arch]], accuracies: Accuracies, limits: list[float]
) -> dict[str, Any]:
    """Every figure but the measured latencies."""
    tested = accuracies.known("test")
    test = [{arm: tested[arch] for arm, arch in row.items()} for row in won]
    rows = {
        arm: [
            *(
                float(np.mean([row[arm] for one, row in zip(found, test, strict=True) if one.limit_ms == limit]))
                for limit in limits
            ),
            float(np.mean([row[arm] for row in test])),
        ]
        for arm in ARMS
    }
    difference = compare(found, test, limits)
    return {
        "limits_ms": limits,
        "seeds": len({one.seed for one in found}),
        "candidates": searches.budget,
        "verifications": searches.settings.finalists,
        "images": asdict(accuracies.images),
        "test_accuracy": rows,
        "difference": difference,
        "holds": {arm: difference[arm]["all"]["low"] > 0 for arm in CLAIMED},
        "predicted_by_candidates": {
            arm: {
                str(count): float(np.mean([one.anytime[arm][count] for one in found]))
                for count in found[0].anytime[arm]
            }
            for arm in (OURS, "random + predictor")
        },
        "distinct_winners": {arm: len({row[arm] for row in won}) for arm in ARMS},
        "exports": len({arch for one in found for archs in one.finalists.values() for arch in archs}),
    }


def _options() -> argparse.Namespace:
    options = parser(__doc__, seeds=10)
    options.add_argument("--limits", help="in ms, such as 1.2,2,3; instead of the three percentiles")
    options.add_argument("--calibration", type=int, default=500, help="images to recalibrate on (%(default)s)")
    options.add_argument("--choice", type=int, default=1000, help="images to choose finalists by (%(default)s)")
    options.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (%(default)s)")
    options.add_argument("--measure", action="store_true", help="also time every winner on the device")
    return options.parse_args()


def main() -> None:
    options = _options()
    setting = Setting.of(options.workspace)
    settings = setting.workspace.settings.search
    images = Images(options.calibration, options.choice, len(setting.supernet.images("test")))
    if options.quick:
        settings = settings.model_copy(update={"population": 20, "generations": 5, "finalists": 2})
        images = Images(10, 20, 50)
    model = setting.model()
    percentiles = (50,) if options.quick else PERCENTILES
    limits = [float(value) for value in np.percentile(random_p90s(model), percentiles)]
    if options.limits:
        limits = [float(value) for value in options.limits.split(",")]
    predictor = AccuracyPredictor.load(setting.supernet.space, setting.supernet.predictor_path)
    searches = Searches(model, predictor, settings)
    found = []
    for limit in limits:
        for seed in range(2 if options.quick else options.seeds):
            log(f"search below {limit:.3g} ms, seed {seed}")
            found.append(searches.run(limit, seed))
    accuracies = Accuracies(setting.supernet.path, images, options.cache / NAME)
    fill(accuracies, (a for one in found for archs in one.finalists.values() for a in archs), "choice", options.workers)
    won = winners(found, accuracies)
    fill(accuracies, (arch for row in won for arch in row.values()), "test", options.workers)
    figures = summary(searches, found, won, accuracies, limits)
    if options.measure:
        figures["winners_within_limit"] = measured(setting, won, found, options.cache)
    finish(options, NAME, figures, tables(figures))


if __name__ == "__main__":
    main()
