"""How long do extraction and recalibration of full-width subnets take? Against the least there is to do.

The once-for-all MobileNetV3 of width 1.0, or another space, with 1,000 classes, random weights, one thread: random
subnets at 224 pixels and the full network. Extraction stands beside copying the same tensors. Recalibration over 25
images stands beside a plain forward pass over them, and beside the textbook way of it: two means for the variance, then
normalising, each into new memory. All three run in turn, in rounds; figures are medians of a subnet's rounds, ratios
are within a round.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from _common import finish, log, markdown, parser, random_subnets
from torch import Tensor

from hwnas import spaces
from hwnas.core.arch import Arch
from hwnas.core.metrics import Floats
from hwnas.core.net import Op
from hwnas.ofa_supernet.evaluate import BATCH
from hwnas.ofa_supernet.forward import Norm, normalise, normalised_by, run
from hwnas.ofa_supernet.network import OfaSupernet
from hwnas.ofa_supernet.recalibration import recalibrate
from hwnas.ofa_supernet.static import StaticNet
from hwnas.spaces.elastic import ElasticSpace

NAME = "full_width"
SPACE = "ofa_mbv3/w1.0/v1"
ROUNDS, QUICK_ROUNDS = 7, 1


def subnets(space: ElasticSpace, count: int) -> list[Arch]:
    """`count` random ones at the largest resolution, and the largest."""
    largest = space.largest
    return [
        *(Arch(arch.space_id, (largest.genes[0], *arch.genes[1:])) for arch in random_subnets(space, count, 0)),
        largest,
    ]


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def copies(network: StaticNet) -> list[Tensor]:
    """Of all its tensors."""
    return [tensor.clone() for tensor in network.state_dict().values()]


def textbook(network: StaticNet, images: Tensor) -> None:
    """Statistics as the published code works them out, normalised by."""

    def by_batch(op: Op, value: Tensor, norm: Norm) -> Tensor:
        mean = value.mean((0, 2, 3), keepdim=True)
        var = ((value - mean) * (value - mean)).mean((0, 2, 3))
        return normalise(op, value, Norm(norm.weight, norm.bias, mean.flatten(), var))

    run(network.net, network.weights, images, normalised_by(by_batch))


def times(supernet: OfaSupernet, arch: Arch, images: Tensor, rounds: int) -> dict[str, Floats]:
    """Seconds of each way, a value a round, after a round that warms up."""
    network = supernet.extract(arch)
    ways: dict[str, Callable[[], object]] = {
        "extract": partial(supernet.extract, arch),
        "copy": partial(copies, network),
        "forward": partial(network, images),
        "recalibrate": partial(recalibrate, network.net, network.weights, [images]),
        "textbook": partial(textbook, network, images),
    }
    taken = [[seconds(work) for work in ways.values()] for _ in range(rounds + 1)]
    return dict(zip(ways, np.array(taken[1:]).T, strict=True))


@torch.no_grad()
def main() -> None:
    options = parser(__doc__, seeds=8)
    options.add_argument("--space", default=SPACE, help="at one size, such as ofa_resnet50-r224/v1 (%(default)s)")
    args = options.parse_args()
    torch.set_num_threads(1)
    supernet = OfaSupernet(spaces.load(args.space)).eval()
    _, *size = supernet.full.net.input_shape
    images = torch.randn(BATCH, 3, *size, generator=torch.Generator().manual_seed(0))
    images = images.contiguous(memory_format=torch.channels_last)
    taken = []
    for arch in subnets(supernet.space, 1 if args.quick else args.seeds):
        taken.append(times(supernet, arch, images, QUICK_ROUNDS if args.quick else ROUNDS))
        log(f"{len(taken)} subnets")
    extract_ms, copy_ms = ([1e3 * np.median(one[way]) for one in taken] for way in ("extract", "copy"))
    ratio, book_ratio = ([np.median(one[way] / one["forward"]) for one in taken] for way in ("recalibrate", "textbook"))
    results = {
        "extract_ms": extract_ms,
        "copy_ms": copy_ms,
        "recalibration_over_forward": ratio,
        "textbook_over_forward": book_ratio,
    }
    figures = {"space": args.space, "subnets": len(taken)} | {
        name: {"median": float(np.median(values)), "greatest": float(np.max(values))}
        for name, values in results.items()
    }
    rows = [
        [name, *(f"{figure(values):.1f} ms" for figure in (np.median, np.max))]
        for name, values in (("extraction", extract_ms), ("copying its tensors", copy_ms))
    ] + [
        [f"{name} / forward pass", *(f"{figure(values):.2f}" for figure in (np.median, np.max))]
        for name, values in (("recalibration", ratio), ("textbook recalibration", book_ratio))
    ]
    finish(args, NAME, figures, [markdown(["", "median", "greatest"], rows)])


if __name__ == "__main__":
    main()
