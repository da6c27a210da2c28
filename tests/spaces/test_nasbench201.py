"""The cell space of NAS-Bench-201: contract, pruning, and networks that compute what torch does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hwnas.core.arch import Arch, ArchBatch
from hwnas.core.count import macs, params
from hwnas.core.errors import InputError
from hwnas.core.net import NetSpec
from hwnas.core.protocols import SearchSpace
from hwnas.export.onnx import build, random_weights
from hwnas.ofa_supernet.forward import Norm, OpWeights, run
from hwnas.spaces.nasbench201 import AVG_POOL, CONV_1X1, CONV_3X3, NONE, SKIP, NasBench201
from hwnas.testing import SpaceContract

SPACE = NasBench201()
DENSEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
CELLS = [
    (CONV_3X3,) * 6,
    (NONE, NONE, NONE, SKIP, NONE, NONE),
    (NONE,) * 6,
    (CONV_1X1, AVG_POOL, NONE, SKIP, CONV_3X3, AVG_POOL),
    (SKIP, NONE, SKIP, NONE, NONE, SKIP),
    (AVG_POOL, SKIP, CONV_3X3, NONE, NONE, SKIP),
]


class TestNasBench201(SpaceContract):
    def space(self) -> SearchSpace:
        return SPACE


def test_the_published_figures_of_the_densest_cell() -> None:
    """1.531546 M parameters and 220.12 M operations are the benchmark's greatest; its counts have the activations'
    normalisations beside the multiply-accumulates."""
    net = SPACE.lower(SPACE.arch(DENSEST))
    assert params(net) + 2 * 64 == 1_531_546  # the last normalisation, 64 scales and shifts, is no operator here
    assert macs(net) == pytest.approx(220.12e6, rel=0.02)


def test_dead_edges_are_nowhere() -> None:
    dead = SPACE.arch("|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|")
    alone = SPACE.arch("|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|")
    assert dead == alone
    raw = (CONV_3X3, NONE, NONE, SKIP, NONE, NONE)
    assert macs(SPACE.network(raw)) > macs(SPACE.lower(dead))


def test_every_cell_has_one_canonical_form() -> None:
    genes = np.array(list(np.ndindex(*[5] * 6)), dtype=np.int16)
    canonical = SPACE.canonical(genes)
    connected = canonical.any(axis=1)
    assert (~connected).sum() == 15_625 - 15_284  # the published measurements leave just these out
    assert SPACE.active(canonical[connected]).any(axis=1).all()


@pytest.mark.parametrize("edges", CELLS)
def test_the_file_computes_what_torch_does(edges: tuple[int, ...]) -> None:
    import onnxruntime

    genes = SPACE.canonical(np.array([edges], dtype=np.int16))
    net = SPACE.lower(ArchBatch(SPACE.id, genes)[0])
    images = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    session = onnxruntime.InferenceSession(build(net, batch=None), providers=["CPUExecutionProvider"])
    found = session.run(None, {"image": images})[0]
    np.testing.assert_allclose(found, _torch(net, images), atol=1e-4 * max(1.0, float(np.abs(found).max())))


def _torch(net: NetSpec, images: np.ndarray) -> np.ndarray:
    weights = {name: torch.from_numpy(value) for name, value in random_weights(net).items()}

    def of(op: object) -> OpWeights:
        name = op.name  # type: ignore[attr-defined]
        parts = ("weight", "bias", "running_mean", "running_var")
        norm = Norm(*(weights[f"{name}.norm.{part}"] for part in parts)) if f"{name}.norm.weight" in weights else None
        return OpWeights(weights[f"{name}.weight"], weights.get(f"{name}.bias"), norm)

    return run(net, of, torch.from_numpy(images)).numpy()


def test_what_is_no_cell_is_refused() -> None:
    with pytest.raises(InputError, match="not a cell"):
        SPACE.arch("|nor_conv_3x3~0|")
    with pytest.raises(InputError, match="not an architecture"):
        SPACE.lower(Arch("nas_bench_201/v1", (9,) * 6))
