"""The exported file against the torch module, and its accuracy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwnas.core.errors import InputError
from hwnas.core.images import Preprocessing
from hwnas.core.net import NetSpec
from hwnas.core.protocols import Exporter
from hwnas.export.exporter import OnnxExporter
from hwnas.export.verify import accuracy, predict
from hwnas.testing import ExporterContract

PREPROCESSING = Preprocessing(16, (0.3,), (0.4,))


@pytest.mark.parametrize("batch", [None, 1, 7])
def test_file_follows_module(
    net: NetSpec, make_module: Callable[[NetSpec], Any], tmp_path: Path, batch: int | None
) -> None:
    module, path = make_module(net), tmp_path / "model.onnx"
    exporter = OnnxExporter(batch)
    exporter.export(net, module, path, {})
    images = np.random.default_rng(1).standard_normal((300, 1, 16, 16)).astype(np.float32)
    agreement = exporter.compare(path, module, images)
    assert agreement.greatest_difference < 1e-4
    assert agreement.same_class == 1
    assert agreement.images == 300
    assert exporter.verify(path, module, images) == agreement.greatest_difference


def test_a_changed_module_is_seen(net: NetSpec, make_module: Callable[[NetSpec], Any], tmp_path: Path) -> None:
    module, path = make_module(net), tmp_path / "model.onnx"
    OnnxExporter().export(net, module, path, {})
    module.classifier.bias.data += 1
    images = np.zeros((3, 1, 16, 16), dtype=np.float32)
    assert OnnxExporter().verify(path, module, images) == pytest.approx(1, abs=1e-4)


def test_verify_leaves_the_training_flag(net: NetSpec, make_module: Callable[[NetSpec], Any], tmp_path: Path) -> None:
    module, path = make_module(net).train(), tmp_path / "model.onnx"
    OnnxExporter().export(net, module, path, {})
    before = module.stem.norm.running_mean.clone()
    assert OnnxExporter().verify(path, module, np.ones((4, 1, 16, 16), dtype=np.float32)) < 1e-4
    assert module.training
    assert bool((module.stem.norm.running_mean == before).all())


def test_accuracy_counts_and_batches(net: NetSpec, make_module: Callable[[NetSpec], Any], tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    OnnxExporter().export(net, make_module(net), path, {})
    images = np.random.default_rng(0).integers(0, 256, (50, 12, 12, 1), dtype=np.uint8)
    labels = predict(path, images, PREPROCESSING)
    assert accuracy(path, images, labels, PREPROCESSING, batch=7).top1 == 1
    labels[:5] = (labels[:5] + 1) % 5
    result = accuracy(path, images, labels, PREPROCESSING)
    assert (result.top1, result.images) == (0.9, 50)


def test_bad_files_and_labels_are_one_line(tmp_path: Path) -> None:
    images, labels = np.zeros((2, 16, 16, 1), dtype=np.uint8), np.zeros(2, dtype=np.int64)
    with pytest.raises(InputError, match="cannot read"):
        accuracy(tmp_path / "none.onnx", images, labels, PREPROCESSING)
    (tmp_path / "broken.onnx").write_bytes(b"\x00broken")
    with pytest.raises(InputError, match="no model that onnxruntime can load"):
        accuracy(tmp_path / "broken.onnx", images, labels, PREPROCESSING)
    with pytest.raises(InputError, match="2 images and 1 labels"):
        accuracy(tmp_path / "none.onnx", images, labels[:1], PREPROCESSING)


def test_importing_export_loads_no_torch() -> None:
    code = "import sys, hwnas.export.exporter, hwnas.export.package; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestOnnxContract(ExporterContract):
    @pytest.fixture(autouse=True)
    def _case(self, net: NetSpec, make_module: Callable[[NetSpec], Any]) -> None:
        self.net, self.module = net, make_module(net)

    def exporter(self) -> Exporter:
        return OnnxExporter()

    def case(self) -> tuple[NetSpec, Any, Any]:
        images = np.random.default_rng(2).standard_normal((8, *self.net.input_shape)).astype(np.float32)
        return self.net, self.module, images
