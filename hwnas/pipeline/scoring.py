"""Accuracy of a subnet as it will be handed over: extracted, recalibrated, and run as the exported file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hwnas.core.arch import Arch
from hwnas.core.images import Preprocessing
from hwnas.export.onnx import build
from hwnas.export.verify import right

if TYPE_CHECKING:
    from hwnas.ofa_supernet.data import Bytes, Split
    from hwnas.ofa_supernet.evaluate import Normalisation
    from hwnas.ofa_supernet.network import OfaSupernet


def exported_hits(
    supernet: OfaSupernet, arch: Arch, calibration: Bytes, scored: Split, by: Normalisation, threads: int = 0
) -> NDArray[np.bool_]:
    """Which of the `scored` images the subnet's ONNX model classifies rightly, with statistics from `calibration`.

    onnxruntime is three times as fast here as the torch module. `threads` 0 leaves their number to it.
    """
    from hwnas.ofa_supernet.evaluate import recalibrated

    network = recalibrated(supernet, arch, calibration, by)
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    preprocessing = Preprocessing(network.net.input_shape[1], tuple(by.mean), tuple(by.std))
    return right(build(network.net, weights), scored.images, scored.labels, preprocessing, threads=threads)


def exported_top1(
    supernet: OfaSupernet, arch: Arch, calibration: Bytes, scored: Split, by: Normalisation, threads: int = 0
) -> float:
    """Share of `scored` that `exported_hits` finds."""
    return float(np.mean(exported_hits(supernet, arch, calibration, scored, by, threads)))
