"""Tiny ONNX models."""

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


def weighty(size_bytes: int) -> bytes:
    """A model that adds up a constant of so many bytes."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [size_bytes // 4], bytes(size_bytes), raw=True)
    nodes = [
        helper.make_node("Constant", [], ["c"], value=weights),
        helper.make_node("ReduceSum", ["c"], ["s"], keepdims=0),
        helper.make_node("Add", ["x", "s"], ["y"]),
    ]
    shape = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])
    return model(nodes, [shape], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])])
