"""How fast is a training step? Against elastic layers as they are usually written, and against the subnet alone.

Random subnets, the smallest and the largest of each space: forward, backward and the optimizer's step, at equal work,
in channels-last memory. Four sides, each in a process of its own that the others leave in peace, take turns:

- ours: `OfaSupernet` as `hwnas train` runs it;
- naive: elastic modules (`_naive.py`), torch's own functions, no other settings;
- alone: the same subnet as a stand-alone network, run as ours is;
- plain: the same subnet of torch's own modules' functions, no other settings.

Figures are ratios of medians within a subnet's rounds, and of their sums over the subnets of a space, which is what a
training takes: naive over ours is how much faster ours is, ours over alone what elasticity costs.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from _common import finish, log, markdown, parser, random_subnets
from _naive import NaiveSupernet
from torch import Tensor, nn

from hwnas import spaces
from hwnas.core.arch import Arch
from hwnas.core.count import macs
from hwnas.ofa_supernet.alone import Alone
from hwnas.ofa_supernet.batch_norm import by_batch
from hwnas.ofa_supernet.network import OfaSupernet
from hwnas.ofa_supernet.train import keep_large_blocks
from hwnas.spaces.elastic import ElasticSpace

NAME = "train_throughput"
SIDES = ("ours", "naive", "alone", "plain")
RATIOS = (("naive", "ours"), ("ours", "alone"), ("plain", "ours"))
SPACES = {"ofa_basic/small/v1": (32, 128), "ofa_mbv3/small/v1": (48, 64), "ofa_mbv3/w1.0/v1": (128, 32)}
"""Pixels and images of a step: those of the shipped recipes, and a batch of the published network that fits here."""
SUBNETS, QUICK_SUBNETS = 4, 1
"""Random ones."""
ROUNDS, QUICK_ROUNDS = 5, 2
Model = tuple[nn.Module, Callable[[Tensor], Tensor]]


def model(side: str, space: ElasticSpace, arch: Arch) -> Model:
    """A side's network and how it runs the subnet."""
    net = space.lower(arch)
    if side == "ours":
        supernet = OfaSupernet(space)
        convolve = by_batch()
        return supernet, lambda images: supernet(images, net, convolve)
    if side == "alone":
        alone = Alone(OfaSupernet(space).extract(arch))
        convolve = by_batch()
        return alone, lambda images: alone(images, None, convolve)
    # A naive network with nothing elastic, sized as the subnet, is a plain one.
    naive = NaiveSupernet(net if side == "plain" else space.lower(space.largest), sorted(space.kernels))
    return naive, lambda images: naive(images, net)


def serve(side: str, device: str, pipe: Connection) -> None:
    """Time steps as they are asked for: a space, a subnet, pixels, images; answers seconds."""
    if side in ("ours", "alone"):
        keep_large_blocks()
    made: tuple[Any, ...] | None = None
    while (asked := pipe.recv()) is not None:
        space_id, genes, pixels, count = asked
        if made is None or made[0] != asked:
            space = spaces.load(space_id)
            module, run = model(side, space, Arch(space_id, genes))
            module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            optimizer = torch.optim.SGD(module.parameters(), lr=1e-3, momentum=0.9, nesterov=True)
            generator = torch.Generator().manual_seed(0)
            shape = (count, space.in_channels, pixels, pixels)
            images = torch.randn(shape, generator=generator).to(device, memory_format=torch.channels_last)
            labels = torch.randint(0, space.classes, (count,), generator=generator).to(device)
            made = (asked, run, optimizer, images, labels)
            _step(*made[1:])
        pipe.send(_step(*made[1:]))


def _step(run: Callable[[Tensor], Tensor], optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> float:
    started = time.perf_counter()
    optimizer.zero_grad(set_to_none=True)
    F.cross_entropy(run(images), labels).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    if images.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def subnets(space: ElasticSpace, pixels: int, count: int) -> list[Arch]:
    """The smallest, random ones and the largest, all at one resolution."""
    resolution = space.layout.resolutions.index(pixels)
    drawn = [space.smallest, *random_subnets(space, count, 1), space.largest]
    return [Arch(space.id, (resolution, *arch.genes[1:])) for arch in drawn]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="what to train on (%(default)s)")
    asked = options.parse_args()
    rounds, count = (QUICK_ROUNDS, QUICK_SUBNETS) if asked.quick else (ROUNDS, SUBNETS)
    context = multiprocessing.get_context("spawn")
    pipes = {}
    for side in SIDES:
        pipes[side], theirs = context.Pipe()
        context.Process(target=serve, args=(side, asked.device, theirs), daemon=True).start()
    rows: list[dict[str, Any]] = []
    chosen = dict(list(SPACES.items())[:2]) if asked.quick else SPACES
    for space_id, (pixels, images) in chosen.items():
        space = spaces.load(space_id)
        for arch in subnets(space, pixels, count):
            seconds: dict[str, list[float]] = {side: [] for side in SIDES}
            for _ in range(rounds):
                for side, pipe in pipes.items():
                    pipe.send((space_id, arch.genes, pixels, images))
                    seconds[side].append(pipe.recv())
            medians = {side: float(np.median(taken)) for side, taken in seconds.items()}
            row: dict[str, Any] = {
                "space": space_id,
                "macs": macs(space.lower(arch)),
                "pixels": pixels,
                "batch": images,
            }
            row |= {"ms_an_image": {side: 1000 * taken / images for side, taken in medians.items()}}
            row |= {f"{above}_over_{below}": medians[above] / medians[below] for above, below in RATIOS}
            rows.append(row)
            log(f"{space_id}: {row['macs'] / 1e6:.1f} M MACs, naive over ours {row['naive_over_ours']:.2f}")
    for pipe in pipes.values():
        pipe.send(None)
    ratios = {f"{above}_over_{below}": (above, below) for above, below in RATIOS}
    figures: dict[str, Any] = {"device": asked.device, "threads": torch.get_num_threads(), "subnets": rows}
    for ratio, (above, below) in ratios.items():
        of_space = {space: [row["ms_an_image"] for row in rows if row["space"] == space] for space in chosen}
        figures[ratio] = {
            space: sum(taken[above] for taken in found) / sum(taken[below] for taken in found)
            for space, found in of_space.items()
        }
        figures[f"median_{ratio}"] = float(np.median([row[ratio] for row in rows]))
    totals = [
        [space, "all", *[""] * len(SIDES), *(f"{figures[ratio][space]:.2f}" for ratio in ratios)] for space in chosen
    ]
    table = [
        [
            row["space"],
            f"{row['macs'] / 1e6:.1f}",
            *(f"{row['ms_an_image'][side]:.2f}" for side in SIDES),
            *(f"{row[ratio]:.2f}" for ratio in ratios),
        ]
        for row in rows
    ]
    header = (
        "space",
        "M MACs",
        *(f"{side}, ms an image" for side in SIDES),
        "naive / ours",
        "ours / alone",
        "plain / ours",
    )
    finish(asked, NAME, figures, [markdown(header, [*table, *totals])])


if __name__ == "__main__":
    main()
