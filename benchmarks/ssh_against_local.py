"""Does a latency that is measured over SSH equal the one that is measured here? The same models, the same machine.

A real OpenSSH server on loopback (that of `make lab`, made anew for this run) is measured as a device beside `local`:
20 random subnets of the workspace's supernet, in rounds; each round times every subnet on both, one directly after the
other, in an order drawn anew, each in a fresh session of a runner that stays. A ratio is the median over SSH over the
local median, of one subnet in one round.

Reported: the median of all ratios, and its 95% interval by a bootstrap that draws whole rounds; the median ratio of
each subnet; and the seconds spent on each side over the seconds that its device was busy.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from _common import Setting, finish, log, markdown, parser, random_subnets
from _loopback import over_ssh

from hwnas.core.metrics import Floats
from hwnas.core.protocols import DeviceModel
from hwnas.devices.device import OpenDevice, open_device
from hwnas.devices.profile import MeasuringRules
from hwnas.export.onnx import build

NAME = "ssh_against_local"
SUBNETS = 20
SEED = 5
RULES = MeasuringRules(group=1, rounds=5, min_samples=50, min_seconds=0.1, warm_up_max_seconds=0.5)
"""A tenth of a second a visit: the two sides of a ratio should meet the same spell of the machine."""
DRAWS = 10_000


def visit(device: OpenDevice, model: DeviceModel) -> tuple[float, float]:
    """The median in ms, and the seconds that it took."""
    started = time.monotonic()
    (_, measurement), *_ = device.measure([model])
    return measurement.median, time.monotonic() - started


def ratios(sides: Sequence[OpenDevice], models: Sequence[DeviceModel], rounds: int) -> tuple[Floats, Floats]:
    """SSH over local, rounds x models; and the seconds spent on each side."""
    rng = np.random.default_rng(SEED)
    found, seconds = np.zeros((rounds, len(models))), np.zeros(2)
    for number in range(rounds):
        log(f"round {number + 1} of {rounds}")
        for place in rng.permutation(len(models)):
            medians = np.zeros(2)
            for side in rng.permutation(2):
                medians[side], spent = visit(sides[side], models[place])
                seconds[side] += spent
            found[number, place] = medians[1] / medians[0]
    return found, seconds


def interval(found: Floats) -> tuple[float, float]:
    """Of the median of all ratios; rounds are drawn whole, for their ratios share a spell."""
    rng = np.random.default_rng(SEED)
    drawn = [float(np.median(found[rng.integers(0, len(found), len(found))])) for _ in range(DRAWS)]
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(low), float(high)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=24, help="interleaved rounds (%(default)s)")
    args = options.parse_args()
    setting = Setting.of(args.workspace)
    space = setting.supernet.space
    archs = random_subnets(space, 3 if args.quick else SUBNETS, SEED)
    models = [DeviceModel(f"subnet-{row}", build(space.lower(arch))) for row, arch in enumerate(archs)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hwnas-ssh-")))
        profiles = [setting.profile, stack.enter_context(over_ssh(setting.profile, folder))]
        sides = [stack.enter_context(open_device(profile, RULES)) for profile in profiles]
        found, seconds = ratios(sides, models, 2 if args.quick else args.rounds)
        busy = [seconds[place] / side.device_seconds for place, side in enumerate(sides)]
    low, high = interval(found)
    each = np.median(found, axis=0)
    figures = {
        "subnets": len(models),
        "rounds": len(found),
        "median_ratio": float(np.median(found)),
        "low": low,
        "high": high,
        "of_each_subnet": each.tolist(),
        "seconds_over_device_seconds": {"local": float(busy[0]), "ssh": float(busy[1])},
    }
    header = ["subnets", "rounds", "median ratio", "95% interval", "subnets from", "to", "local", "SSH"]
    row = [len(models), len(found), f"{np.median(found):.4f}", f"[{low:.4f}, {high:.4f}]"]
    row += [f"{each.min():.3f}", f"{each.max():.3f}", *(f"{one:.2f}" for one in busy)]
    note = "The last two columns: seconds of each side over the seconds that its device was busy."
    finish(args, NAME, figures, [f"{markdown(header, [row])}\n\n{note}"])


if __name__ == "__main__":
    main()
