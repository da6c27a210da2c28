"""What a simulator says of whole architectures, compiled once into a table a slot."""

from __future__ import annotations

import numpy as np

from hwnas.core.additive import Additive, BlockIndex
from hwnas.core.arch import ArchBatch
from hwnas.core.metrics import LATENCY, Metric, Prediction
from hwnas.core.protocols import SearchSpace, Simulator
from hwnas.latency.lut import AdditiveLatency


class SimulatedLatency(AdditiveLatency):
    """Blocks one after the other, each as the simulator has it; what overlaps between blocks is not in it.

    A simulator has no tail: the p90 is the median.
    """

    metric: Metric = LATENCY

    def __init__(self, space: SearchSpace, simulator: Simulator) -> None:
        index = BlockIndex(space)
        costs = [simulator.simulate(net) for net in index.nets]
        self.median: Additive = index.additive(np.array([cost.latency_ms for cost in costs]))
        self.p90 = self.median
        self.energy_mj = index.additive(np.array([cost.energy_mj for cost in costs]))

    def estimate(self, batch: ArchBatch) -> Prediction:
        """N predictions."""
        median = self.median(batch)
        return Prediction(median, median, median, median)
