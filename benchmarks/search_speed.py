"""How much faster is scoring architectures in bulk than one at a time? Candidates a second, both sides in one run.

Latency: the compiled table (`TableSum`: one gather a slot over a whole batch) against two loops over architectures. The
plain one lowers each to its network, cuts it into blocks and adds up dictionary look-ups; the indexed one, the
strongest loop, skips the lowering and looks up (slot, options) in a dictionary made beforehand. All answers are checked
to be equal. Accuracy: the predictor on a batch against the same predictor called for one architecture at a time.
Search: the whole constrained evolution with the workspace's settings, both models included.

Every repetition runs all sides in turn, on one thread; figures are medians over repetitions. Compiling the table is
timed apart, since it is paid once.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from _common import Setting, finish, log, markdown, parser, random_p90s, random_subnets
from threadpoolctl import threadpool_limits

from hwnas.config import SearchSettings
from hwnas.core.arch import ArchBatch
from hwnas.core.protocols import SearchSpace
from hwnas.evaluators.predictor import AccuracyPredictor
from hwnas.latency.in_use import LatencyInUse
from hwnas.latency.lut import TableSum
from hwnas.luts import LatencyTable
from hwnas.pipeline.candidates import Band, search

NAME = "search_speed"


def naive(space: SearchSpace, table: LatencyTable, batch: ArchBatch) -> list[float]:
    """The sum of block medians, one architecture at a time."""
    return [sum(table.row(net).median_ms for net in space.lower(arch).blocks().values()) for arch in batch]


def indexed(space: SearchSpace, table: LatencyTable) -> dict[tuple[int, ...], float]:
    """Median of the block at each slot for each combination of its options; 0 where the block is skipped."""
    known = {}
    for number, slot in enumerate(space.slots()):
        for options in np.ndindex(*(len(space.choices[gene]) for gene in slot.genes)):
            net = space.block(slot, options)
            known[(number, *options)] = 0.0 if net is None else table.row(net).median_ms
    return known


def look_up(known: dict[tuple[int, ...], float], genes: list[tuple[int, ...]], rows: list[list[int]]) -> list[float]:
    """The sum of look-ups, one architecture at a time; `genes` of each slot, `rows` of options."""
    return [sum(known[(slot, *(row[g] for g in scope))] for slot, scope in enumerate(genes)) for row in rows]


def rate(work: Callable[[], object], count: int) -> float:
    """Candidates a second of one call."""
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


Sides = dict[str, tuple[Callable[[], object], int]]
"""What is compared: the work of each side, and how many candidates it scores."""


def latency_sides(table_sum: TableSum, space: SearchSpace, table: LatencyTable, batch: ArchBatch, few: int) -> Sides:
    """The compiled table over a batch and both loops over its first `few`; all must agree."""
    head = batch.take(np.arange(few))
    known, scopes, rows = indexed(space, table), [slot.genes for slot in space.slots()], head.genes.tolist()
    if not np.allclose(table_sum.median(head), naive(space, table, head), rtol=1e-12):
        raise SystemExit("the compiled table and the plain loop disagree")
    if not np.allclose(table_sum.median(head), look_up(known, scopes, rows), rtol=1e-12):
        raise SystemExit("the compiled table and the indexed loop disagree")
    return {
        "latency, plain loop": (lambda: naive(space, table, head), few),
        "latency, indexed loop": (lambda: look_up(known, scopes, rows), few),
        "latency, compiled": (lambda: table_sum.median(batch), len(batch)),
    }


def accuracy_sides(predictor: AccuracyPredictor, batch: ArchBatch, few: int) -> Sides:
    """The predictor on a batch, and one at a time on its first `few`."""
    return {
        "accuracy, one at a time": (lambda: [predictor.evaluate(batch.take(np.array([i]))) for i in range(few)], few),
        "accuracy, batch": (lambda: predictor.evaluate(batch), len(batch)),
    }


def search_side(model: LatencyInUse, predictor: AccuracyPredictor, settings: SearchSettings) -> Sides:
    """The whole search below the median of random subnets."""
    limit = float(np.percentile(random_p90s(model), 50))
    band = Band.of(limit, settings.headroom, binding=True)
    candidates = settings.population * settings.generations
    return {"search": (lambda: search(model, predictor, band, settings, frozenset(), 0), candidates)}


def medians(sides: Sides, repetitions: int) -> dict[str, float]:
    """Candidates a second of each side, the median over repetitions that run all sides in turn."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    with threadpool_limits(1):
        for repetition in range(repetitions):
            log(f"repetition {repetition + 1} of {repetitions}")
            for name, (work, count) in sides.items():
                rates[name].append(rate(work, count))
    return {name: float(np.median(values)) for name, values in rates.items()}


def main() -> None:
    options = parser(__doc__, seeds=5)
    args = options.parse_args()
    setting = Setting.of(args.workspace)
    model, table, space = setting.model(), setting.table(), setting.supernet.space
    predictor = AccuracyPredictor.load(space, setting.supernet.predictor_path)
    started = time.perf_counter()
    table_sum = TableSum(space, table)
    compile_s = time.perf_counter() - started
    bulk, some, few, repetitions = (2000, 100, 20, 2) if args.quick else (200_000, 10_000, 500, args.seeds)
    batch = random_subnets(space, bulk, seed=1)
    sides = latency_sides(table_sum, space, table, batch, few)
    sides |= accuracy_sides(predictor, batch.take(np.arange(some)), few)
    sides |= search_side(model, predictor, setting.workspace.settings.search)
    candidates = sides["search"][1]
    median = medians(sides, repetitions)
    figures = {
        "candidates_per_second": median,
        "latency_ratio": median["latency, compiled"] / median["latency, plain loop"],
        "latency_ratio_indexed": median["latency, compiled"] / median["latency, indexed loop"],
        "accuracy_ratio": median["accuracy, batch"] / median["accuracy, one at a time"],
        "search_seconds": candidates / median["search"],
        "search_candidates": candidates,
        "compile_seconds": compile_s,
        "repetitions": repetitions,
    }
    rows = [[name, f"{value:,.0f}"] for name, value in median.items()]
    note = (
        f"Compiled over plain loop: {figures['latency_ratio']:,.0f} times, over indexed loop: "
        f"{figures['latency_ratio_indexed']:,.0f} times (compiling took {compile_s:.2f} s, once); "
        f"batch over one at a time: {figures['accuracy_ratio']:,.0f} times; "
        f"a search of {candidates:,} candidates: {figures['search_seconds']:.2f} s."
    )
    finish(args, NAME, figures, [f"{markdown(['', 'candidates a second'], rows)}\n\n{note}"])


if __name__ == "__main__":
    main()
