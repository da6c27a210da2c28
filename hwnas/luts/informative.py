"""Which blocks to measure first where time is short, and what the others probably take.

Block times are smooth in a few sizes of the block: the logarithm of a row, over those, is taken for a Gaussian process.
The order is an A-optimal design (Chaloner and Verdinelli, Statistical Science 1995) for what a table is for, sums over
networks, and greedy: each next row is the one that leaves these the least variance, on average over random subnets.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from hwnas.core.additive import BlockIndex
from hwnas.core.count import macs, params
from hwnas.core.genetics import sample
from hwnas.core.metrics import Floats
from hwnas.core.net import NetSpec
from hwnas.core.protocols import SearchSpace
from hwnas.luts.table import Row

SUBNETS = 500
"""Random subnets whose sums count."""
LENGTH_SCALE = 4.0
"""Of the process, in standard deviations of a size: rows are much alike over the whole space."""
OWN_VARIANCE = 0.05**2
"""Of what a row has for itself, relative to what sizes explain."""
NOISE = 0.02**2
"""Of one measurement of a row. Twice or half of any of these three leaves networks 1.4 to 2.3% off with 46 of the
default space's rows, and 1.0 to 1.5% with 92 (as they are, 1.6 and 1.1%): the order does not hang on them."""
RANKED = 1000
"""Rows that are put in order; the others follow in a random order. Nobody who has the time for more needs one."""
LEAST_ROWS = 24
"""Fewer rows tell nothing of the others."""

FITTING = threading.Lock()
"""Python's warning filters are of the whole program, and devices are profiled side by side."""


def informative_order(space: SearchSpace) -> list[str]:
    """Keys of the space's distinct blocks, those first that tell most of the latency of networks."""
    index = BlockIndex(space)
    sizes = _sizes(index.nets)
    weights = index.counts(sample(space, SUBNETS, np.random.default_rng(0)))
    weights = weights * np.sqrt([macs(net) + 1.0 for net in index.nets])  # half way from "all equal" to "by work"
    shares = weights / weights.sum(1, keepdims=True)
    chosen = _a_optimal(sizes, shares, min(len(sizes), RANKED))
    rest = np.random.default_rng(0).permutation(np.setdiff1d(np.arange(len(sizes)), chosen))
    return [index.nets[number].key() for number in [*chosen, *rest.tolist()]]


def _a_optimal(sizes: Floats, shares: Floats, count: int) -> list[int]:
    """Indices of the rows (D x F) that leave the N x D sums the least variance; a pivoted Cholesky factorisation."""
    total = len(sizes)
    variance = np.full(total, 1.0 + OWN_VARIANCE)
    covariance = shares @ _kernel(sizes, sizes) + OWN_VARIANCE * shares  # of the sums with the rows: N x D
    factors = np.zeros((count, total))
    chosen: list[int] = []
    for step in range(count):
        gain = (covariance**2).mean(0) / (variance + NOISE)
        gain[chosen] = -1.0
        best = int(np.argmax(gain))
        column = _kernel(sizes, sizes[[best]])[:, 0] - factors[:step].T @ factors[:step, best]
        column[best] += OWN_VARIANCE
        factors[step] = column / math.sqrt(variance[best] + NOISE)
        covariance -= np.outer(covariance[:, best], factors[step]) / math.sqrt(variance[best] + NOISE)
        variance = np.maximum(variance - factors[step] ** 2, 0.0)
        chosen.append(best)
    return chosen


def _kernel(first: Floats, second: Floats) -> Floats:
    squares = ((first[:, None] - second[None]) ** 2).sum(-1)
    return np.asarray(np.exp(-squares / (2 * LENGTH_SCALE**2)), dtype=np.float64)


def estimated_rows(nets: Mapping[str, NetSpec], rows: Mapping[str, Row]) -> dict[str, Row]:
    """Rows of the blocks that have none, from those that have; they have no samples.

    A row's p90 is its median times the tail of the measured rows; its spread is theirs.

    Raises:
        ValueError: fewer than `LEAST_ROWS` rows are there.
    """
    missing = [key for key in nets if key not in rows]
    if not missing:
        return {}
    if len(rows) < LEAST_ROWS:
        raise ValueError(f"{len(rows)} rows tell nothing of {len(missing)} others: {LEAST_ROWS} at least are needed")
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    known = [key for key in nets if key in rows]
    sizes = _sizes([nets[key] for key in [*known, *missing]])
    # The process fits these itself; it begins with sizes that matter alike and 3% of noise.
    kernel = ConstantKernel(1.0) * RBF(np.full(sizes.shape[1], 3.0), (0.3, 30.0)) + WhiteKernel(1e-3, (1e-5, 1e-1))
    process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
    with FITTING, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a size that does not matter goes to its bound
        process.fit(sizes[: len(known)], np.log([rows[key].median_ms for key in known]))
    medians = np.exp(process.predict(sizes[len(known) :]))
    tail = float(np.median([rows[key].p90_ms / rows[key].median_ms for key in known]))
    spread = float(np.median([rows[key].spread for key in known]))
    return {key: Row(float(ms), tail * float(ms), spread, 0) for key, ms in zip(missing, medians, strict=True)}


def _sizes(nets: Sequence[NetSpec]) -> Floats:
    """D x F sizes, each of mean 0 and deviation 1."""
    sizes = np.array([_of(net) for net in nets], dtype=np.float64)
    return np.asarray((sizes - sizes.mean(0)) / (sizes.std(0) + 1e-9), dtype=np.float64)


def _of(net: NetSpec) -> list[float]:
    depthwise = NetSpec(net.input_shape, tuple(op for op in net.ops if op.groups > 1))
    return [
        math.log(macs(net) + 1),
        math.log(macs(depthwise) + 1e3) if depthwise.ops else math.log(1e3),
        math.log(sum(math.prod(op.out_shape) for op in net.ops)),
        math.log(params(net) + 1),
        math.log(net.out_shape[1] * net.out_shape[2]),
        float(len(net.ops)),
        float(max(op.kernel for op in net.ops)),
        float(max(op.stride for op in net.ops)),
        float(any(op.act == "h_swish" for op in net.ops)),
        float(any(op.kind == "mul" for op in net.ops)),
    ]
