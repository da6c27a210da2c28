"""A device of which the truth is known, for latency models: work by multiply-adds and operators, one call a network."""

from __future__ import annotations

import numpy as np

from hwnas import spaces
from hwnas.core.additive import distinct_blocks
from hwnas.core.arch import ArchBatch
from hwnas.core.count import macs
from hwnas.core.genetics import sample
from hwnas.core.metrics import Floats, Measurement
from hwnas.core.net import NetSpec
from hwnas.luts import LatencyTable, Provenance, Row

SPACE = spaces.load("ofa_mbv3/small/v1")
CALL = 0.005
"""What a call costs, in ms; every block's row has it, a network has it once."""


def work(net: NetSpec) -> float:
    return 2e-8 * macs(net) + 0.0007 * len(net.ops)


def make_table(noise: float = 0.0, device: str = "synthetic") -> LatencyTable:
    rng = np.random.default_rng(5)
    rows = {}
    for key, net in distinct_blocks(SPACE).items():
        median = (work(net) + CALL) * (1 + noise * rng.normal())
        rows[key] = Row(median, 1.1 * median, 0.02, 100)
    fields = {"rows": len(rows), "samples": 1, "median_spread": 0.0, "seconds": 1.0, "device_seconds": 1.0}
    return LatencyTable(rows, Provenance(space=SPACE.id, device={"device": device}, date="", **fields))


def truth(batch: ArchBatch, scale: float = 1.0) -> Floats:
    return np.array([scale * (work(SPACE.lower(arch)) + CALL) for arch in batch])


def measure(batch: ArchBatch, scale: float = 1.0, noise: float = 0.01, seed: int = 0) -> list[Measurement]:
    """Samples with a tail: the p90 lies about 8% above the median."""
    rng = np.random.default_rng(seed)
    medians = truth(batch, scale) * (1 + noise * rng.normal(size=len(batch)))
    return [Measurement(median * (1 + np.linspace(-0.1, 0.1, 101))) for median in medians]


TABLE = make_table(0.01)
TRAIN = sample(SPACE, 40, np.random.default_rng(1))
TEST = sample(SPACE, 200, np.random.default_rng(2))
