"""Accuracies of sampled subnets, which the accuracy predictor is fitted on: a process a core, a line a subnet."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np
import torch

from hwnas.core.arch import Arch, ArchBatch
from hwnas.core.files import append_line, read_lines
from hwnas.core.genetics import sample, unique
from hwnas.core.metrics import Floats
from hwnas.core.progress import Progress
from hwnas.ofa_supernet import folder as names
from hwnas.ofa_supernet.data import Bytes, Split
from hwnas.ofa_supernet.evaluate import Normalisation
from hwnas.ofa_supernet.folder import SupernetFolder
from hwnas.ofa_supernet.network import OfaSupernet
from hwnas.pipeline.scoring import exported_top1

WORTH_A_PROCESS = 20
"""Subnets that take about as long as a process that imports torch takes to start."""


@dataclass(frozen=True, eq=False)
class Judge:
    """Measures one subnet at a time: statistics from `calibration` images, accuracy on `held_out` ones."""

    supernet: OfaSupernet
    by: Normalisation
    calibration: Bytes
    held_out: Split

    def top1(self, arch: Arch) -> float:
        """Accuracy of the exported subnet, on one thread."""
        return exported_top1(self.supernet, arch, self.calibration, self.held_out, self.by, threads=1)


def measure_subnets(
    made: SupernetFolder, supernet: OfaSupernet, splits: dict[str, Split], progress: Progress
) -> tuple[ArchBatch, Floats]:
    """Sample subnets and measure each on held-out training images, through a journal; N architectures, N accuracies."""
    wanted = made.recipe.predictor
    rng = np.random.default_rng(made.recipe.seed)
    ends = ArchBatch.of([made.space.smallest, made.space.largest])
    drawn = sample(made.space, 2 * wanted.subnets, rng)
    batch = unique(ArchBatch(made.space.id, np.concatenate([ends.genes, drawn.genes])))
    batch = batch.take(np.arange(wanted.subnets))
    held_out = splits["predictor"].first(wanted.images)
    calibration = splits["calibration"].images[: wanted.calibration_images]
    journal = made.path / names.SUBNETS
    asked = {"images": len(held_out), "weights": made.weights_sha256()}
    lines = [line for line in read_lines(journal) if {key: line.get(key) for key in asked} == asked]
    known = {tuple(line["genes"]): float(line["accuracy"]) for line in lines}
    missing = [arch for arch in batch if arch.genes not in known]
    done = len(batch) - len(missing)
    progress("subnets", done, len(batch))
    # As many subnets at a time as torch would use threads, where they are worth the processes.
    workers = min(torch.get_num_threads(), len(missing) // WORTH_A_PROCESS)
    for arch, top1 in judged(Judge(supernet, made.recipe, calibration, held_out), missing, workers):
        append_line(journal, {"genes": list(arch.genes), "accuracy": top1, **asked})
        known[arch.genes] = top1
        done += 1
        progress("subnets", done, len(batch))
    return batch, np.array([known[arch.genes] for arch in batch])


def judged(judge: Judge, archs: Sequence[Arch], workers: int) -> Iterator[tuple[Arch, float]]:
    """Each architecture with its accuracy, as they come; in this process, or in `workers` of one thread each."""
    if workers <= 1:
        yield from ((arch, judge.top1(arch)) for arch in archs)
        return
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(workers, context, _start_worker, (judge,)) as pool:
        futures = {pool.submit(_ask_worker, arch): arch for arch in archs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_judge: Judge | None = None
"""A worker's own, so that weights and images travel once and not with every subnet."""


def _start_worker(judge: Judge) -> None:
    global _judge
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    torch.set_num_threads(1)
    _judge = judge
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """A killed parent leaves no orphan."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _ask_worker(arch: Arch) -> float:
    assert _judge is not None
    return _judge.top1(arch)
