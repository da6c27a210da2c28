"""What went on beside a measurement."""

from __future__ import annotations

import os
import time
from typing import Any, Dict

from .sensors import clock_mhz, load, temperature_c


class Watch:
    """Looks at the machine when it is made and when it is asked, never while something is timed.

    `fastest_mhz` is the highest clock that was seen before: one that fell long ago is still low.
    """

    def __init__(self, fastest_mhz: float = 0.0) -> None:
        self._cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
        self._fastest_mhz = max(fastest_mhz, clock_mhz(self._cores) or 0.0)
        self._load = load()
        self._process, self._thread = time.process_time(), time.thread_time()
        self._wall = time.perf_counter()

    def conditions(self) -> Dict[str, Any]:
        """Since then; what the machine hides is None.

        cpu_share       of the time, how much this thread was on a core: 1 unless it was pushed off
        others          cores that were busy with anything else, on average
        stolen          cores that other guests of the same host took away, on average
        temperature_c, clock_mhz    now
        fastest_mhz     the highest clock that was seen, now included
        """
        wall = max(time.perf_counter() - self._wall, 1e-9)
        own, thread = time.process_time() - self._process, time.thread_time() - self._thread
        before, now = self._load, load()
        others = stolen = None
        if before is not None and now is not None:
            others, stolen = max(0.0, now.busy - before.busy - own) / wall, (now.stolen - before.stolen) / wall
        clock = clock_mhz(self._cores)
        self._fastest_mhz = max(self._fastest_mhz, clock or 0.0)
        return {
            "cpu_share": thread / wall,
            "others": others,
            "stolen": stolen,
            "temperature_c": temperature_c(),
            "clock_mhz": clock,
            "fastest_mhz": self._fastest_mhz or None,
        }
