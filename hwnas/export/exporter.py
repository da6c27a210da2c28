"""`OnnxExporter`: a trained subnet as an ONNX file, and how closely the file follows the module."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from hwnas.core.files import write_atomic
from hwnas.core.net import NetSpec
from hwnas.export.onnx import build
from hwnas.export.verify import open_session, run_batches

BATCH = 25
"""Images a call when comparing: at 224 pixels a full-width subnet's widest activation takes 5 MB an image."""


@dataclass(frozen=True)
class Agreement:
    """How a file's outputs compare with the module's over `images` images."""

    greatest_difference: float
    same_class: float
    """Share of images where both name the same class."""
    images: int


@dataclass(frozen=True)
class OnnxExporter:
    """Exporter for onnxruntime; the file takes any batch size, or only `batch` images where that is given."""

    batch: int | None = None

    def export(self, net: NetSpec, module: Any, path: Path, metadata: dict[str, str]) -> None:
        """Write `module`, a torch module with the weight names of `net`, to `path`; whole or not at all.

        Raises:
            ValueError: a weight is missing or has the wrong shape.
            InputError: the folder cannot be written.
        """
        weights = {name: tensor.detach().cpu().numpy() for name, tensor in module.state_dict().items()}
        data = build(net, weights, batch=self.batch, metadata=metadata)
        onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
        write_atomic(path, data)

    def verify(self, path: Path, module: Any, images: Any) -> float:
        """Greatest absolute difference between the file's and the module's outputs; images N x C x H x W float32."""
        return self.compare(path, module, images).greatest_difference

    def compare(self, path: Path, module: Any, images: Any) -> Agreement:
        """Greatest difference and share of equal classes, over all images; both run in evaluation mode."""
        inputs = np.asarray(images, dtype=np.float32)
        session = open_session(path)
        greatest, same = 0.0, 0
        pairs = zip(run_batches(session, inputs, BATCH), _module_batches(module, inputs, BATCH), strict=True)
        for file, reference in pairs:
            difference = np.abs(file - reference)
            greatest = float(max(greatest, difference.max()))
            same += int((file.argmax(axis=1) == reference.argmax(axis=1)).reshape(len(file), -1).all(axis=1).sum())
        return Agreement(greatest, same / max(len(inputs), 1), len(inputs))


def _module_batches(module: Any, inputs: NDArray[np.float32], size: int) -> Iterator[NDArray[np.float32]]:
    import torch  # 2-5 s, and only a caller with a torch module comes here

    training = module.training
    module.eval()
    try:
        for start in range(0, len(inputs), size):
            with torch.no_grad():
                yield module(torch.from_numpy(inputs[start : start + size])).numpy()
    finally:
        module.train(training)
