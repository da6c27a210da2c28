"""Energy of a run: the machine's own counters while a model runs on end, and while nothing runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple

from .sensors import ROOT, EnergyCounter, energy_counters

EVERY_SECONDS = 0.02
"""Between looks at a counter: the monitors on boards average over milliseconds, RAPL's counters move every one."""


class Watched(NamedTuple):
    """What a spell of doing something took."""

    joules: float
    seconds: float
    steps: int


def energy(run: Callable[[], Any], seconds: float, root: Path = ROOT) -> Dict[str, Any]:
    """Joules a run above what the machine draws while it sleeps, and in all; an equal spell is spent on each.

    Raises:
        ValueError: this machine shows no counter.
    """
    counters = energy_counters(root)
    if not counters:
        raise ValueError("no energy counter")
    rest = watch(counters, seconds, lambda: time.sleep(EVERY_SECONDS))
    work = watch(counters, seconds, run)
    idle_watts = rest.joules / rest.seconds
    return {
        "joules": work.joules / work.steps,
        "joules_above_idle": (work.joules - idle_watts * work.seconds) / work.steps,
        "idle_watts": idle_watts,
        "runs": work.steps,
        "counters": [counter.name for counter in counters],
    }


def watch(
    counters: List[EnergyCounter],
    seconds: float,
    step: Callable[[], Any],
    clock: Callable[[], float] = time.perf_counter,
) -> Watched:
    """Do `step` again and again for so long, and add up what the counters say meanwhile.

    Power is taken to change in a straight line between two looks; a cumulative counter is looked at as often, so that
    it never wraps twice unseen.
    """
    readings = [counter.read() for counter in counters]
    start = looked = now = clock()
    joules, steps = 0.0, 0
    while now - start < seconds or not steps:
        step()
        steps += 1
        now = clock()
        if now - looked < EVERY_SECONDS and now - start < seconds:
            continue
        for index, counter in enumerate(counters):
            before, after = readings[index], counter.read()
            joules += counter.joules(before, after) if counter.cumulative else (before + after) / 2 * (now - looked)
            readings[index] = after
        looked = now
    return Watched(joules, now - start, steps)
