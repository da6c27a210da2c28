"""Measures one subnet at a time on held-out images, wherever that is done."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hwnas.core.arch import Arch
from hwnas.ofa_supernet.data import Bytes, Split
from hwnas.ofa_supernet.evaluate import Normalisation
from hwnas.ofa_supernet.network import OfaSupernet
from hwnas.pipeline.scoring import exported_hits

Hits = NDArray[np.bool_]


@dataclass(frozen=True)
class Asked:
    """A subnet, and the number of the draw that gave it its images."""

    arch: Arch
    draw: int


@dataclass(frozen=True, eq=False)
class Judge:
    """Measures one subnet at a time: statistics from `calibration`, then `images` of the `held_out` images."""

    supernet: OfaSupernet
    by: Normalisation
    calibration: Bytes
    held_out: Split
    images: int

    def hits(self, asked: Asked) -> Hits:
        """Which images the exported subnet classifies rightly.

        On one thread, wherever it runs: the order of sums decides a rare image, and with it what is proposed next.
        """
        split = self.held_out.take(rows(asked.draw, self.images, len(self.held_out)))
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return exported_hits(self.supernet, asked.arch, self.calibration, split, self.by, threads=1)
        finally:
            torch.set_num_threads(threads)


def rows(draw: int, images: int, available: int) -> NDArray[np.int64]:
    """Which of the available images a draw takes; the same on every machine, as the splits are."""
    return np.random.default_rng(draw).permutation(available)[:images]
