"""The quality gate: was a measurement disturbed, and by what?"""

from __future__ import annotations

from hwnas.core.metrics import Measurement

LEAST_CPU_SHARE = 0.95
"""Of its time the measuring thread is on a core unless something else wants that one; page faults and interrupts take a
percent or two."""
MOST_OTHERS = 0.25
"""Cores' worth of other work: a quiet system has hundredths, one busy process a whole one. In the tenth of a second
that a few small blocks take, one clock tick of the kernel more or less counts as much as 0.1."""
MOST_STOLEN = 0.1
"""Cores' worth that other guests of the host took away."""
LEAST_CLOCK = 0.9
"""Of the fastest clock that the runner has seen, what should be there after a measurement; less is a processor that
protects itself."""

REMEDIES = {
    "busy": "end the other programs that run there",
    "stolen": "its host is shared: try again later, or on a machine of your own",
    "preempted": "give it a core of its own (cores in its device file), and end the other programs there",
    "throttled": "cool it, or fix its clock (docs/measuring.md says how)",
}
"""For what the surroundings did to a measurement; an unsteady one may be the model's own."""


def disturbance(measurement: Measurement) -> str:
    """What went wrong, in a word; empty where nothing did, as far as the device shows.

    busy: other programs ran; preempted: the measuring thread had to wait for its core; stolen: the host gave its core
    to others; throttled: the clock fell; unsteady: the model was still getting faster or slower after its warm-up.
    """
    conditions = measurement.conditions
    fastest, now = conditions.fastest_mhz, conditions.clock_mhz
    if conditions.others is not None and conditions.others > MOST_OTHERS:
        return "busy"
    if conditions.stolen is not None and conditions.stolen > MOST_STOLEN:
        return "stolen"
    if conditions.cpu_share is not None and conditions.cpu_share < LEAST_CPU_SHARE:
        return "preempted"
    if fastest and now and now < LEAST_CLOCK * fastest:
        return "throttled"
    return "" if measurement.steady else "unsteady"
