"""How long do extraction and recalibration of full-width subnets take? Against the least there is to do.

The once-for-all MobileNetV3 of width 1.0 with 1,000 classes, random weights, one thread: random subnets at 224 pixels
and the full network. Extraction stands beside copying the same tensors. Recalibration over 25 images stands beside a
plain forward pass over them, and beside the textbook way of it: two means for the variance, then normalising, each
into new memory. All three run in turn, in rounds; figures are medians of a subnet's rounds, ratios are within a round.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from _common import finish, log, markdown, parser, random_subnets
from torch import Tensor

from hwnas import spaces
from hwnas.core.arch import Arch
from hwnas.core.net import Op
from hwnas.ofa_supernet.evaluate import BATCH
from hwnas.ofa_supernet.forward import Norm, normalise, run
from hwnas.ofa_supernet.network import OfaSupernet
from hwnas.ofa_supernet.static import StaticNet, recalibrate

NAME = "full_width"
SPACE = "ofa_mbv3/w1.0/v1"
ROUNDS, QUICK_ROUNDS = 7, 1


def subnets(count: int) -> list[Arch]:
    """`count` random ones at the largest resolution, and the largest."""
    space = spaces.load(SPACE)
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


def textbook(network: StaticNet, images: Tensor) -> None:
    """Statistics as the published code works them out, normalised by."""

    def by_batch(op: Op, value: Tensor, norm: Norm) -> Tensor:
        mean = value.mean((0, 2, 3), keepdim=True)
        var = ((value - mean) * (value - mean)).mean((0, 2, 3))
        return normalise(op, value, Norm(norm.weight, norm.bias, mean.flatten(), var))

    run(network.net, network.weights, images, norm=by_batch)


@torch.no_grad()
def main() -> None:
    args = parser(__doc__, seeds=8).parse_args()
    torch.set_num_threads(1)
    supernet = OfaSupernet(spaces.load(SPACE)).eval()
    archs = subnets(1 if args.quick else args.seeds)
    images = torch.randn(BATCH, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    images = images.contiguous(memory_format=torch.channels_last)
    extracted, copied = [], []
    forward, ours, book = [], [], []
    for index, arch in enumerate(archs):
        log(f"subnet {index + 1} of {len(archs)}")
        network = supernet.extract(arch)
        tensors = list(network.state_dict().values())
        ways: list[tuple[list[list[float]], Callable[[], object]]] = [
            (extracted, lambda arch=arch: supernet.extract(arch)),
            (copied, lambda tensors=tensors: [tensor.clone() for tensor in tensors]),
            (forward, lambda network=network: network(images)),
            (ours, lambda network=network: recalibrate(network.net, network.weights, [images])),
            (book, lambda network=network: textbook(network, images)),
        ]
        for taken, _ in ways:
            taken.append([])
        for round in range((QUICK_ROUNDS if args.quick else ROUNDS) + 1):
            for taken, work in ways:
                passed = seconds(work)
                if round or args.quick:  # the first round warms up
                    taken[-1].append(passed)
    extract_ms, copy_ms = 1e3 * np.median(extracted, axis=1), 1e3 * np.median(copied, axis=1)
    ratio = np.median(np.array(ours) / np.array(forward), axis=1)
    book_ratio = np.median(np.array(book) / np.array(forward), axis=1)
    figures = {
        "subnets": len(archs),
        "extract_ms": {"median": float(np.median(extract_ms)), "greatest": float(extract_ms.max())},
        "copy_ms": {"median": float(np.median(copy_ms)), "greatest": float(copy_ms.max())},
        "recalibration_over_forward": {"median": float(np.median(ratio)), "greatest": float(ratio.max())},
        "textbook_over_forward": {"median": float(np.median(book_ratio)), "greatest": float(book_ratio.max())},
    }
    rows = [
        ["extraction", f"{np.median(extract_ms):.1f} ms", f"{extract_ms.max():.1f} ms"],
        ["copying its tensors", f"{np.median(copy_ms):.1f} ms", f"{copy_ms.max():.1f} ms"],
        ["recalibration / forward pass", f"{np.median(ratio):.2f}", f"{ratio.max():.2f}"],
        ["textbook recalibration / forward pass", f"{np.median(book_ratio):.2f}", f"{book_ratio.max():.2f}"],
    ]
    finish(args, NAME, figures, [markdown(["", "median", "greatest"], rows)])


if __name__ == "__main__":
    main()
