"""Accuracies of exported subnets, kept by architecture, so that no architecture is measured twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from hwnas.core.arch import Arch
from hwnas.core.files import append_line, read_lines
from hwnas.ofa_supernet.folder import HASHES, SupernetFolder
from hwnas.pipeline.scoring import exported_top1


@dataclass(frozen=True)
class Images:
    """How many images serve to recalibrate, to choose and to test."""

    calibration: int
    choice: int
    test: int


class Accuracies:
    """A journal of accuracies for one supernet and one setting of images."""

    def __init__(self, supernet: Path, images: Images, folder: Path) -> None:
        sealed = (supernet / HASHES).read_bytes() + repr(astuple(images)).encode()
        self.images = images
        self._supernet = supernet
        self._path = folder / f"{hashlib.sha256(sealed).hexdigest()[:16]}.jsonl"
        self._known: dict[str, dict[Arch, float]] = {"choice": {}, "test": {}}
        for line in read_lines(self._path):
            self._known[line["split"]][Arch.from_json(line["arch"])] = float(line["top1"])

    def known(self, split: str) -> dict[Arch, float]:
        return self._known[split]

    def missing(self, archs: Iterable[Arch], split: str) -> list[Arch]:
        """The distinct ones of `archs` that were not measured yet, in order."""
        return [arch for arch in dict.fromkeys(archs) if arch not in self._known[split]]

    def keep(self, arch: Arch, top1: float, split: str) -> None:
        append_line(self._path, {"split": split, "arch": arch.to_json(), "top1": top1})
        self._known[split][arch] = top1

    def task(self, split: str) -> Callable[[Arch], tuple[Arch, float]]:
        """What a worker process runs."""
        return partial(measure, self._supernet, self.images, split)


def measure(supernet: Path, images: Images, split: str, arch: Arch) -> tuple[Arch, float]:
    """Extract, recalibrate, export, and the exported file's accuracy, as the product does it."""
    folder, weights = _loaded(supernet)
    calibration = folder.images("calibration").images[: images.calibration]
    scored = folder.images(split).first(images.choice if split == "choice" else images.test)
    return arch, exported_top1(weights, arch, calibration, scored, folder.recipe, threads=1)


@cache
def _loaded(supernet: Path) -> tuple[SupernetFolder, Any]:
    """The supernet, once a process, which keeps to one thread: there is a process a core."""
    import torch

    torch.set_num_threads(1)
    folder = SupernetFolder(supernet)
    return folder, folder.load()
