"""A model that is ready to run, and how it is timed."""

from __future__ import annotations

import math
import statistics
import time
from typing import Any, Callable, Dict, List

import numpy as np

WINDOW_RUNS = 5
WINDOW_NS = 2_000_000
"""A warm-up window has at least so many runs and lasts at least so long: one run of a tiny block is mostly clock."""


class Loaded:
    """A session, its input, its seconds on the device so far, its samples and how many of them each visit took."""

    def __init__(self, model: bytes, threads: int, seed: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        start = time.perf_counter()
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.create_seconds = time.perf_counter() - start
        rng = np.random.default_rng(seed)
        feed = {entry.name: _input(entry, rng) for entry in session.get_inputs()}
        self.run: Callable[[], Any] = lambda: session.run(None, feed)
        self.run()  # a model that cannot run fails here, as an answer to "load"
        self.device_seconds = time.perf_counter() - start
        self.samples_ns: List[int] = []
        self.bursts: List[int] = []

    def warm_up(self, tolerance: float, max_seconds: float) -> Dict[str, Any]:
        """Run in windows until two in a row agree; says how it went."""
        start = time.perf_counter()
        before, runs, steady = math.inf, 0, False
        while not steady and time.perf_counter() - start < max_seconds:
            window = self._burst(WINDOW_RUNS, WINDOW_NS, int(max_seconds * 1e9))
            middle = statistics.median(window)
            steady = abs(middle - before) <= tolerance * middle
            before, runs = middle, runs + len(window)
        seconds = time.perf_counter() - start
        self.device_seconds += seconds
        return {"steady": steady, "runs": runs, "seconds": seconds}

    def sample(self, settle: int, runs: int, min_ns: int, max_ns: int) -> None:
        """`settle` untimed runs, then a burst of at least `runs` runs and `min_ns`, and no longer than `max_ns`."""
        start = time.perf_counter()
        for _ in range(settle):
            self.run()
        burst = self._burst(runs, min_ns, max_ns)
        self.samples_ns += burst
        self.bursts.append(len(burst))
        self.device_seconds += time.perf_counter() - start

    def _burst(self, runs: int, min_ns: int, max_ns: int) -> List[int]:
        clock, run = time.perf_counter_ns, self.run
        samples: List[int] = []
        start = clock()
        while True:
            before = clock()
            run()
            after = clock()
            samples.append(after - before)
            spent = after - start
            if (len(samples) >= runs and spent >= min_ns) or spent >= max_ns:
                return samples


def _input(entry: Any, rng: np.random.Generator) -> Any:
    kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
    shape = [size if isinstance(size, int) and size > 0 else 1 for size in entry.shape]
    if entry.type in kinds:
        return rng.standard_normal(shape).astype(kinds[entry.type])
    return rng.integers(0, 2, shape).astype(entry.type[len("tensor(") : -1])
