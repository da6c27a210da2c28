"""How fast are the subnets of the small-image space on this machine? Measured p90s of 1,000 random ones.

Random subnets of ofa_mbv3/small/v1 (each gene uniform), its smallest and its largest network are timed by the device of
the workspace, whole, in interleaved groups, in one run. Reported: percentiles of the measured p90s, both ends and the
factor between them, and the percentile at which 2 ms lies. Times do not depend on weights, so these are random. The
many take short windows (40 samples at least); the two ends take the device's own rules for networks.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from _common import Setting, finish, log, markdown, measuring, parser, progress, random_subnets

from hwnas.core.arch import ArchBatch
from hwnas.devices.campaign import campaign
from hwnas.devices.device import OpenDevice, open_device
from hwnas.devices.profile import MeasuringRules
from hwnas.pipeline.names import device_onnx, network_name
from hwnas.spaces import load
from hwnas.spaces.elastic import ElasticSpace

NAME = "small_space"
SPACE = "ofa_mbv3/small/v1"
LIMIT_MS = 2.0
PERCENTILES = (1, 10, 30, 50, 70, 90, 99)
SHORT = MeasuringRules(rounds=5, min_samples=40, min_seconds=0.04, settle_runs=1, warm_up_max_seconds=0.1)
"""About 0.25 s a network: the distribution of a thousand matters here, not the second digit of one."""
SEED = 7


def p90s(
    device: OpenDevice, rules: MeasuringRules, space: ElasticSpace, batch: ArchBatch, journal: Path
) -> list[float]:
    """Measured p90s in ms, one a network; one that does not run is an error."""
    nets = {network_name(arch): space.lower(arch) for arch in batch}
    models = [(name, partial(device_onnx, net)) for name, net in nets.items()]
    told = progress()
    measured = campaign(device.with_rules(rules), models, journal, lambda done, all_: told("networks", done, all_))
    return [measured.measurements[name].p90 for name in nets]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--networks", type=int, default=1000, help="random subnets (%(default)s)")
    args = options.parse_args()
    setting = Setting.of(args.workspace)
    space = load(SPACE, classes=10, in_channels=1)
    count = 12 if args.quick else args.networks
    with measuring(args.cache, f"{NAME}-{count}") as folder, open_device(setting.profile) as device:
        log(f"{count} random subnets of {SPACE} on {device.name}")
        ends = ArchBatch.of([space.smallest, space.largest])
        smallest, largest = p90s(device, setting.profile.networks, space, ends, folder / "ends.jsonl")
        random = p90s(device, SHORT, space, random_subnets(space, count, SEED), folder / "random.jsonl")
    figures = {
        "space": SPACE,
        "networks": len(random),
        "p90_ms": {str(q): float(np.percentile(random, q)) for q in PERCENTILES},
        "smallest_p90_ms": smallest,
        "largest_p90_ms": largest,
        "factor": largest / smallest,
        "percentile_of_2ms": 100 * float(np.mean(np.array(random) <= LIMIT_MS)),
    }
    header = ["smallest", *(f"{q}%" for q in PERCENTILES), "largest", "factor", "percentile of 2 ms"]
    times = [smallest, *(float(np.percentile(random, q)) for q in PERCENTILES), largest]
    row = [*(f"{value:.2f} ms" for value in times), f"{largest / smallest:.1f}"]
    finish(args, NAME, figures, [markdown(header, [[*row, f"{figures['percentile_of_2ms']:.0f}"]])])


if __name__ == "__main__":
    main()
