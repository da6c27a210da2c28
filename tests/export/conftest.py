from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hwnas.core.net import NetSpec, Op


def toy_net() -> NetSpec:
    """Every kind of operator and activation once: stem, squeeze-and-excitation, shortcut, head."""
    ops = (
        Op("conv", "stem", (-1,), 1, (8, 8, 8), kernel=3, stride=2, norm=True, act="h_swish", block="stem"),
        Op("conv", "deep", (0,), 8, (8, 8, 8), kernel=5, groups=8, norm=True, act="relu", block="body"),
        Op("global_pool", "pool", (1,), 8, (8, 1, 1), block="body"),
        Op("conv", "reduce", (2,), 8, (4, 1, 1), bias=True, act="relu", block="body"),
        Op("conv", "expand", (3,), 4, (8, 1, 1), bias=True, act="h_sigmoid", block="body"),
        Op("mul", "scale", (1, 4), 8, (8, 8, 8), block="body"),
        Op("conv", "point", (5,), 8, (8, 8, 8), norm=True, block="body"),
        Op("add", "shortcut", (0, 6), 8, (8, 8, 8), block="body"),
        Op("global_pool", "mean", (7,), 8, (8, 1, 1), block="head"),
        Op("linear", "classifier", (8,), 8, (5, 1, 1), bias=True, block="head"),
    )
    return NetSpec((1, 16, 16), ops)


@pytest.fixture
def net() -> NetSpec:
    return toy_net()


@pytest.fixture
def make_module() -> Iterator[Callable[[NetSpec], Any]]:
    """Interprets a NetSpec with torch's own operators: the reference that files are compared with."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    acts = {"none": lambda x: x, "relu": functional.relu, "h_swish": functional.hardswish}
    acts["h_sigmoid"] = functional.hardsigmoid

    class Layer(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, op: Op) -> None:
            super().__init__()
            weight = op.weight_shape
            assert weight is not None
            self.op = op
            self.weight = torch.nn.Parameter(torch.randn(weight) * 0.3)
            self.bias = torch.nn.Parameter(torch.randn(weight[0])) if op.bias else None
            if op.norm:
                self.norm = torch.nn.BatchNorm2d(weight[0])
                torch.nn.init.uniform_(self.norm.weight, 0.5, 1.5)
                torch.nn.init.normal_(self.norm.bias)
                self.norm.running_mean.normal_()
                self.norm.running_var.uniform_(0.5, 2)

        def forward(self, x: Any) -> Any:
            op = self.op
            if op.kind == "linear":
                return functional.linear(x.flatten(1), self.weight, self.bias)
            x = functional.conv2d(x, self.weight, self.bias, op.stride, op.kernel // 2, 1, op.groups)
            return self.norm(x) if op.norm else x

    class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, net: NetSpec) -> None:
            super().__init__()
            self.net = net
            for op in net.ops:
                if op.weight_shape is not None:
                    self.add_module(op.name, Layer(op))

        def forward(self, x: Any) -> Any:
            values = {-1: x}
            for index, op in enumerate(self.net.ops):
                inputs = [values[i] for i in op.inputs]
                if op.kind in ("conv", "linear"):
                    value = self.get_submodule(op.name)(inputs[0])
                elif op.kind == "global_pool":
                    value = inputs[0].mean((2, 3), keepdim=True)
                else:
                    value = inputs[0] + inputs[1] if op.kind == "add" else inputs[0] * inputs[1]
                values[index] = acts[op.act](value)
            return values[len(self.net.ops) - 1]

    def make(net: NetSpec) -> Any:
        torch.manual_seed(0)
        return Net(net).eval()

    yield make
