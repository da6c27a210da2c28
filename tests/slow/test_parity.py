"""The exported file names the same class as the torch subnet, on every test image of the shipped supernet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from shipped import shipped

from hwnas.core.arch import Arch
from hwnas.core.genetics import sample
from hwnas.core.images import Preprocessing
from hwnas.export.exporter import OnnxExporter
from hwnas.export.verify import predict
from hwnas.ofa_supernet.evaluate import predictions, recalibrated
from hwnas.ofa_supernet.folder import SupernetFolder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def supernet() -> SupernetFolder:
    return shipped()


@pytest.mark.parametrize("which", ["smallest", "middle", "random"])
def test_file_and_module_agree(which: str, supernet: SupernetFolder, tmp_path: Path) -> None:
    space, recipe = supernet.space, supernet.recipe
    archs = {
        "smallest": space.smallest,
        "middle": Arch(space.id, tuple(len(choice) // 2 for choice in space.choices)),
        "random": sample(space, 1, np.random.default_rng(2))[0],
    }
    network = recalibrated(supernet.load(), archs[which], supernet.images("calibration").images, recipe)
    OnnxExporter().export(network.net, network, tmp_path / "model.onnx", {})
    test = supernet.images("test")
    assert len(test) == 10_000
    preprocessing = Preprocessing(network.net.input_shape[1], tuple(recipe.mean), tuple(recipe.std))
    of_file = predict(tmp_path / "model.onnx", test.images, preprocessing)
    of_module = predictions(network, test.images, recipe)
    assert np.mean(of_file == of_module) >= 0.999
    assert np.mean(of_file == test.labels) > 0.8  # trained, so agreement means something
