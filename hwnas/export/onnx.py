"""`NetSpec` to ONNX bytes, built directly: no tracing, no torch, milliseconds a network.

Batch normalisation is folded into its convolution, as the runtime would do at load time, so that a block alone and the
same block within a network are the same kernels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from hwnas.core.net import INPUT, NetSpec, Op

OPSET = 17
"""The oldest opset with all we need reaches the most runtimes, and newer ones buy nothing.

Measured with onnxruntime 1.31.1, one thread of an AMD EPYC, a subnet of 0.3 ms, median of 480 calls in interleaved
rounds at opset 17, 22 and 25: h_swish as HardSwish 0.305, 0.305, 0.306 ms; as HardSigmoid and Mul 0.306, 0.306,
0.307 (the runtime expands HardSwish to just these: outputs equal bit for bit); as Add, Clip, Mul, Mul 0.386, 0.385,
0.383.
"""
IR_VERSION = 8
"""What opset 17 came with."""

Weights = Mapping[str, NDArray[np.float32]]


def build(
    net: NetSpec,
    weights: Weights | None = None,
    *,
    batch: int | None = None,
    metadata: Mapping[str, str] | None = None,
    seed: int = 0,
) -> bytes:
    """The network as a serialised ONNX model.

    Input ``image`` is N x C x H x W float32. The output is ``logits``, N x classes, where the last operator is linear,
    and ``output``, N x C x H x W, otherwise. N is `batch`, or free where that is None. Without `weights` they are drawn
    from `seed`: enough for timing.

    Raises:
        ValueError: a weight is missing or has the wrong shape; the message names it.
    """
    graph = _Graph(net, weights if weights is not None else random_weights(net, seed))
    size: int | str = "N" if batch is None else batch
    last = net.ops[-1]
    flat = last.kind == "linear"
    out_shape = (last.out_shape[0],) if flat else last.out_shape
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, [size, *net.input_shape])]
    outputs = [helper.make_tensor_value_info(graph.output, TensorProto.FLOAT, [size, *out_shape])]
    body = helper.make_graph(graph.nodes, "net", inputs, outputs, graph.initializers)
    model = helper.make_model(
        body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="hwnas"
    )
    if metadata:
        helper.set_model_props(model, dict(metadata))
    data: bytes = model.SerializeToString()
    return data


def random_weights(net: NetSpec, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Weights for every operator, scaled so that activations neither die out (denormals are slow) nor overflow."""
    rng = np.random.default_rng(seed)
    weights: dict[str, NDArray[np.float32]] = {}
    for op in net.ops:
        shape = op.weight_shape
        if shape is None:
            continue
        scale = math.sqrt(2 / math.prod(shape[1:]))  # He et al. 2015: keeps the variance through relu
        weights[f"{op.name}.weight"] = rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)
        channels = shape[0]
        if op.bias:
            weights[f"{op.name}.bias"] = np.zeros(channels, dtype=np.float32)
        if op.norm:
            weights[f"{op.name}.norm.weight"] = np.ones(channels, dtype=np.float32)
            weights[f"{op.name}.norm.bias"] = np.zeros(channels, dtype=np.float32)
            weights[f"{op.name}.norm.running_mean"] = np.zeros(channels, dtype=np.float32)
            weights[f"{op.name}.norm.running_var"] = np.ones(channels, dtype=np.float32)
    return weights


def folded(op: Op, weights: Weights) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Weight and bias of a convolution or linear layer with its normalisation folded in; computed in float64.

    Raises:
        ValueError: a weight is missing or has the wrong shape.
    """
    shape = op.weight_shape
    if shape is None:
        raise ValueError(f"{op.name} is a {op.kind}: it has no weights")
    weight = _weight(weights, f"{op.name}.weight", shape).astype(np.float64)
    bias = _weight(weights, f"{op.name}.bias", shape[:1]).astype(np.float64) if op.bias else None
    if op.norm:
        gain, shift, mean, variance = (
            _weight(weights, f"{op.name}.norm.{part}", shape[:1]).astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gain / np.sqrt(variance + op.norm_eps)
        weight = weight * scale.reshape(-1, *[1] * (len(shape) - 1))
        bias = shift + ((0.0 if bias is None else bias) - mean) * scale
    return weight.astype(np.float32), None if bias is None else bias.astype(np.float32)


def _weight(weights: Weights, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    if name not in weights:
        raise ValueError(f"weight {name!r} is missing")
    if weights[name].shape != shape:
        raise ValueError(f"weight {name!r} wants shape {shape}, has {weights[name].shape}")
    return weights[name]


class _Graph:
    """Nodes and initialisers of a network; `output` is the name of its last value."""

    def __init__(self, net: NetSpec, weights: Weights) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.output = "logits" if net.ops[-1].kind == "linear" else "output"
        self._weights = weights
        self._values = {INPUT: "image"}
        for index, op in enumerate(net.ops):
            final = index == len(net.ops) - 1
            self._values[index] = self.output if final else f"{op.name}.out"
            self._op(op, self._values[index], final)

    def _op(self, op: Op, out: str, final: bool) -> None:
        inputs = [self._values[i] for i in op.inputs]
        raw = out if op.act == "none" else f"{op.name}.raw"
        if op.kind == "conv":
            self._conv(op, inputs, raw)
        elif op.kind == "linear":
            self._linear(op, inputs[0], raw, final)
        elif op.kind == "global_pool":
            self._node("GlobalAveragePool", inputs, raw)
        elif op.kind in ("avg_pool", "max_pool"):
            self._pool(op, inputs, raw)
        elif op.kind == "add":
            self._node("Add", inputs, raw)
        elif op.kind == "mul":
            self._node("Mul", inputs, raw)
        elif op.kind == "zero":
            self._node("Mul", [*inputs, self._constant(f"{op.name}.zero", np.zeros(1, dtype=np.float32))], raw)
        elif op.act == "none":
            self._node("Identity", inputs, raw)
        else:
            raw = inputs[0]
        self._activate(op, raw, out)

    def _conv(self, op: Op, inputs: list[str], out: str) -> None:
        pad = op.kernel // 2
        self._node(
            "Conv",
            inputs + self._parameters(op),
            out,
            kernel_shape=[op.kernel, op.kernel],
            strides=[op.stride, op.stride],
            pads=[pad] * 4,
            group=op.groups,
        )

    def _pool(self, op: Op, inputs: list[str], out: str) -> None:
        pads = [(op.kernel - 1) // 2] * 4
        kind = "AveragePool" if op.kind == "avg_pool" else "MaxPool"
        rounded: dict[str, Any] = {"ceil_mode": 1} if op.ceil_mode else {}
        self._node(kind, inputs, out, kernel_shape=[op.kernel] * 2, strides=[op.stride] * 2, pads=pads, **rounded)

    def _linear(self, op: Op, source: str, out: str, final: bool) -> None:
        flat = out if final else f"{op.name}.flat"
        self._node("Flatten", [source], f"{op.name}.in", axis=1)
        self._node("Gemm", [f"{op.name}.in", *self._parameters(op)], flat, transB=1)
        if not final:  # the operators after it expect C x 1 x 1
            shape = self._constant(f"{op.name}.shape", np.array([0, op.out_shape[0], 1, 1], dtype=np.int64))
            self._node("Reshape", [flat, shape], out)

    def _activate(self, op: Op, raw: str, out: str) -> None:
        if op.act == "relu":
            self._node("Relu", [raw], out)
        elif op.act == "relu6":
            low, high = (np.array(bound, dtype=np.float32) for bound in (0, 6))
            bounds = [self._constant(f"{op.name}.low", low), self._constant(f"{op.name}.high", high)]
            self._node("Clip", [raw, *bounds], out)
        elif op.act == "h_swish":
            self._node("HardSwish", [raw], out)
        elif op.act == "h_sigmoid":
            self._node("HardSigmoid", [raw], out, alpha=1 / 6, beta=0.5)

    def _parameters(self, op: Op) -> list[str]:
        weight, bias = folded(op, self._weights)
        names = [self._constant(f"{op.name}.weight", weight)]
        if bias is not None:
            names.append(self._constant(f"{op.name}.bias", bias))
        return names

    def _constant(self, name: str, value: NDArray[np.float32] | NDArray[np.int64]) -> str:
        self.initializers.append(onnx.numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _node(self, kind: str, inputs: list[str], out: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [out], name=f"{out}/{kind}", **attributes))
