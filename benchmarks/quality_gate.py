"""Does the quality gate tell disturbed measurements from quiet ones? The same blocks, with and without a busy program.

Groups of blocks of the workspace's supernet are measured by the device's rules, in pairs in an order drawn anew: once
with nothing beside them, once beside a CPU hog, a process that does nothing but count. A run is one group; it counts as
marked if the gate marks any of its rows. On a machine that others use too, some quiet runs are truly disturbed.

Reported: the share of runs that are marked, by what, and the median of the rows beside the hog over the quiet ones.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from _common import Setting, finish, log, markdown, parser

from hwnas.core.additive import distinct_blocks
from hwnas.core.metrics import Measurement
from hwnas.core.protocols import DeviceModel
from hwnas.core.quality import disturbance
from hwnas.devices.device import open_device
from hwnas.export.onnx import build

NAME = "quality_gate"
SEED = 7
HOG = "while True: pass"
SETTLE_SECONDS = 0.3
"""After a hog has started or ended, until its share of the processor is what it will be."""


@contextmanager
def hog() -> Iterator[None]:
    """A program that takes all it gets of one core."""
    process = subprocess.Popen([sys.executable, "-c", HOG])
    try:
        time.sleep(SETTLE_SECONDS)
        yield
    finally:
        process.kill()
        process.wait()
        time.sleep(SETTLE_SECONDS)


def marks(measured: dict[str, Measurement]) -> str:
    """What the gate says of a run: its most frequent mark, or nothing."""
    found = Counter(why for one in measured.values() if (why := disturbance(one)))
    return found.most_common(1)[0][0] if found else ""


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--runs", type=int, default=60, help="runs of each kind (%(default)s)")
    args = options.parse_args()
    setting = Setting.of(args.workspace)
    nets = list(distinct_blocks(setting.supernet.space).values())
    rng = np.random.default_rng(SEED)
    told: dict[str, list[str]] = {"quiet": [], "hog": []}
    slower = []
    with open_device(setting.profile) as device:
        for number in range(3 if args.quick else args.runs):
            log(f"pair {number + 1}")
            places = rng.choice(len(nets), device.group, replace=False)
            models = [DeviceModel(nets[place].key(), build(nets[place])) for place in places]
            medians = {}
            for kind in rng.permutation(["quiet", "hog"]).tolist():
                if kind == "hog":
                    with hog():
                        measured = dict(device.measure(models))
                else:
                    measured = dict(device.measure(models))
                told[kind].append(marks(measured))
                medians[kind] = np.array([one.median for one in measured.values()])
            slower.append(float(np.median(medians["hog"] / medians["quiet"])))
    figures = {
        "runs_of_each": len(slower),
        "marked": {kind: float(np.mean([bool(why) for why in whys])) for kind, whys in told.items()},
        "by": {kind: dict(Counter(why for why in whys if why)) for kind, whys in told.items()},
        "slower_beside_the_hog": float(np.median(slower)),
    }
    rows = [
        [
            kind,
            len(whys),
            f"{np.mean([bool(why) for why in whys]):.0%}",
            ", ".join(sorted(set(filter(None, whys)))) or "-",
        ]
        for kind, whys in told.items()
    ]
    note = f"Beside the hog the median block takes {np.median(slower):.3f} times as long."
    finish(args, NAME, figures, [f"{markdown(['runs', 'number', 'marked', 'as'], rows)}\n\n{note}"])


if __name__ == "__main__":
    main()
