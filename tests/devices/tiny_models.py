"""Tiny ONNX models, and processes looked at from outside."""

import time
from pathlib import Path

import onnx
from onnx import TensorProto, helper


def matmul(size: int = 8, layers: int = 1) -> bytes:
    """A chain of square products."""
    nodes = [helper.make_node("MatMul", [f"v{i}", f"v{i}"], [f"v{i + 1}"]) for i in range(layers)]
    value = helper.make_tensor_value_info("v0", TensorProto.FLOAT, [size, size])
    out = helper.make_tensor_value_info(f"v{layers}", TensorProto.FLOAT, [size, size])
    return model(nodes, [value], [out])


def mismatched() -> bytes:
    """Loads, but cannot run: the dynamic sizes do not fit."""
    value = helper.make_tensor_value_info("v0", TensorProto.FLOAT, ["n", 3])
    out = helper.make_tensor_value_info("v1", TensorProto.FLOAT, ["n", 3])
    return model([helper.make_node("MatMul", ["v0", "v0"], ["v1"])], [value], [out])


def model(nodes: list, inputs: list, outputs: list) -> bytes:
    graph = helper.make_graph(nodes, "test", inputs, outputs)
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(built)
    return built.SerializeToString()


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone_within(pid: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pid)
