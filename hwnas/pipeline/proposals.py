"""Subnets that a search would find: measured too, they tell a predictor where it was too hopeful.

The best of thousands of predictions are those that erred upwards most. A predictor fitted on random subnets alone never
learns of it; one that is fitted again on what its own searches found does. Devices are not known here, so the searches
are limited by multiply-accumulates.

With the released once-for-all accuracy model as the truth, 400 samples with noise of 0.7 of its standard deviation and
searches limited by another cost, the best predictions were 2.1 points too high when all samples were random, 0.8 when
120 of them were proposed and 0.7 when 240 were. What was found was as good; with noise of twice the standard deviation
it was 0.2 points better with 240.
"""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from hwnas.core.additive import compile_additive
from hwnas.core.arch import Arch, ArchBatch
from hwnas.core.count import macs
from hwnas.core.genetics import sample, unique
from hwnas.core.metrics import MACS, Prediction
from hwnas.core.problem import Constraint, Problem
from hwnas.core.protocols import Evaluator, SearchSpace
from hwnas.pipeline.candidates import finalists
from hwnas.strategies.evolution import ConstrainedEvolution
from hwnas.strategies.sampling import joined

BANDS = 20
"""Limits on MACs, evenly over the logarithms of what random subnets have."""
WIDTH = 0.1
"""Share of a limit that may stay unused, as in a search for a device."""
CANDIDATES = 1000
"""Of each search: enough to leave the random ones far behind, and two seconds' work for all bands."""
BEST = 60
"""From so many of a search's best the proposed ones are taken, evenly: neighbours in rank differ by a gene or two."""


class _Macs:
    """The cost that stands for every device's."""

    metric = MACS

    def __init__(self, space: SearchSpace) -> None:
        self._macs = compile_additive(space, lambda net: float(macs(net)))

    def estimate(self, batch: ArchBatch) -> Prediction:
        values = self._macs(batch)
        return Prediction(values, values, values, values)


def proposed(
    space: SearchSpace, evaluator: Evaluator, known: ArchBatch, count: int, rng: np.random.Generator
) -> ArchBatch:
    """`count` architectures that are not in `known`, from searches in bands of MACs.

    Random ones fill up where the searches find too few; fewer come where the space has no more.
    """
    cost = _Macs(space)
    pool = sample(space, CANDIDATES + count, rng)
    bands = min(BANDS, count)
    least, most = np.percentile(cost.estimate(pool).median, (2, 98))
    measured = set(known)
    found: list[Arch] = []
    with threadpool_limits(1):  # products of small matrices lose to the hand-over between threads
        for limit in np.geomspace(least, most, bands):
            constraint = Constraint(cost, float(limit), float((1 - WIDTH) * limit))
            trials = list(ConstrainedEvolution().search(Problem(space, evaluator, (constraint,), CANDIDATES), rng))
            new = [trial for trial in trials if trial.arch not in measured]
            share = -(-count // bands)  # rounded up
            best = finalists(new, max(BEST, share))
            places = {round(place) for place in np.linspace(0, len(best) - 1, share)} if best else set()
            found += [best[row].arch for row in sorted(places)]
    order = rng.permutation(len(found))  # a cut to `count` takes from all bands
    everything = unique(joined([known, *(ArchBatch.of([found[row]]) for row in order), pool]))
    return everything.take(np.arange(len(known), min(len(known) + count, len(everything))))
