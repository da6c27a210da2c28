"""ONNX files compute what the network says, in every block and at every batch size."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from hwnas.core.net import NetSpec, Op
from hwnas.export.onnx import OPSET, build, random_weights
from hwnas.ofa_supernet.forward import run


def _run(data: bytes, inputs: Any) -> Any:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": inputs})[0]


def test_valid_named_and_free_in_its_batch(net: NetSpec) -> None:
    model = onnx.load_from_string(build(net, metadata={"arch": "{}"}))
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == OPSET
    assert [value.name for value in model.graph.output] == ["logits"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert {prop.key: prop.value for prop in model.metadata_props} == {"arch": "{}"}


def test_fixed_batch(net: NetSpec) -> None:
    model = onnx.load_from_string(build(net, batch=4))
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 4


def test_blocks_in_turn_equal_the_whole(net: NetSpec) -> None:
    weights = random_weights(net, seed=3)
    value = image = np.random.default_rng(0).standard_normal((2, *net.input_shape)).astype(np.float32)
    for block in net.blocks().values():
        value = _run(build(block, weights), value)
    np.testing.assert_allclose(value, _run(build(net, weights), image), rtol=1e-5, atol=1e-6)


def test_a_block_ends_in_output(net: NetSpec) -> None:
    model = onnx.load_from_string(build(net.blocks()["body"], batch=1))
    assert [value.name for value in model.graph.output] == ["output"]


def test_activations_worked_by_hand() -> None:
    points = np.array([-4, -3, -1, 0, 1, 3, 4], dtype=np.float32).reshape(1, 1, 1, -1)
    gate = np.clip(points + 3, 0, 6) / 6
    points[..., -1] = 7
    gate[..., -1] = 1
    capped = {"relu": np.maximum(points, 0), "relu6": np.clip(points, 0, 6)}
    for act, wanted in (("h_swish", points * gate), ("h_sigmoid", gate), *capped.items()):
        op = Op("conv", "c", (-1,), 1, (1, 1, 7), act=act)  # type: ignore[arg-type]
        weights = {"c.weight": np.ones((1, 1, 1, 1), dtype=np.float32)}
        got = _run(build(NetSpec((1, 1, 7), (op,)), weights), points)
        np.testing.assert_allclose(got, wanted, atol=1e-6)


@pytest.mark.parametrize("kind", ["avg_pool", "max_pool"])
def test_pools_of_an_odd_size_worked_by_hand(kind: str) -> None:
    """Of an even kernel the last window holds what is left; of an odd one what is padded does not count."""
    points = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
    made = {"avg_pool": np.mean, "max_pool": np.max}[kind]
    for kernel, starts in ((2, (0, 2)), (3, (-1, 1))):
        op = Op(kind, "p", (-1,), 1, (1, 2, 2), kernel, 2)  # type: ignore[arg-type]
        ranges = [slice(max(start, 0), start + kernel) for start in starts]
        wanted = [[made(points[0, 0, rows, columns]) for columns in ranges] for rows in ranges]
        net = NetSpec((1, 3, 3), (op,))
        np.testing.assert_allclose(_run(build(net), points)[0, 0], wanted, rtol=1e-6)
        np.testing.assert_allclose(run(net, lambda op: None, torch.tensor(points)).reshape(2, 2), wanted, rtol=1e-6)


def test_folding_worked_by_hand() -> None:
    op = Op("conv", "c", (-1,), 1, (1, 1, 1), bias=True, norm=True)
    numbers = {"weight": 3, "bias": 1, "norm.weight": 2, "norm.bias": 0.5, "norm.running_mean": 4}
    weights = {f"c.{name}": np.array([value], dtype=np.float32) for name, value in numbers.items()}
    weights["c.weight"] = weights["c.weight"].reshape(1, 1, 1, 1)
    weights["c.norm.running_var"] = np.array([4 - 1e-5], dtype=np.float32)
    got = _run(build(NetSpec((1, 1, 1), (op,)), weights), np.full((1, 1, 1, 1), 5, dtype=np.float32))
    assert got.item() == pytest.approx((3 * 5 + 1 - 4) / 2 * 2 + 0.5)


def test_linear_layers_may_follow_each_other_and_be_followed() -> None:
    first = Op("linear", "a", (-1,), 3, (4, 1, 1), bias=True, act="relu")
    second = Op("linear", "b", (0,), 4, (5, 1, 1))
    last = Op("conv", "c", (1,), 5, (2, 1, 1))
    inputs = np.ones((2, 3, 1, 1), dtype=np.float32)
    assert _run(build(NetSpec((3, 1, 1), (first, second))), inputs).shape == (2, 5)
    assert _run(build(NetSpec((3, 1, 1), (first, second, last))), inputs).shape == (2, 2, 1, 1)


def test_missing_and_misshapen_weights_are_named(net: NetSpec) -> None:
    weights = random_weights(net)
    with pytest.raises(ValueError, match=r"'deep.norm.bias' is missing"):
        build(net, {name: value for name, value in weights.items() if name != "deep.norm.bias"})
    with pytest.raises(ValueError, match=r"'stem.weight' wants shape \(8, 1, 3, 3\), has \(1,\)"):
        build(net, weights | {"stem.weight": np.zeros(1, dtype=np.float32)})


def test_same_seed_same_bytes(net: NetSpec) -> None:
    assert build(net, seed=1) == build(net, seed=1) != build(net, seed=2)
