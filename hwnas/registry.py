"""Names of the parts that can be replaced, and where they live; nothing is imported until it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from hwnas.core.errors import InputError

REGISTRY: dict[str, dict[str, str]] = {
    "spaces": {
        "ofa_mbv3/w1.0/v1": "hwnas.spaces:load",
        "ofa_mbv3/w1.2/v1": "hwnas.spaces:load",
        "ofa_mbv3/small/v1": "hwnas.spaces:load",
        "ofa_proxyless/w1.3/v1": "hwnas.spaces:load",
        "ofa_resnet50/v1": "hwnas.spaces:load",
        "ofa_basic/small/v1": "hwnas.spaces:load",
        "nas_bench_201/v1": "hwnas.spaces:nas_bench_201",
    },
    "devices": {
        "local": "hwnas.devices.device:open_device",
        "simulator": "hwnas.devices.simulated:SimulatedDevice",
    },
    "strategies": {
        "random": "hwnas.strategies.random:RandomSearch",
        "evolution": "hwnas.strategies.evolution:ConstrainedEvolution",
    },
    "estimators": {
        "lut": "hwnas.latency.lut:TableSum",
        "corrected_lut": "hwnas.latency.lut:CorrectedTable",
        "simulated": "hwnas.latency.simulated:SimulatedLatency",
        "gcn": "hwnas.latency.gcn_space:GcnLatency",
        "transfer": "hwnas.latency.transfer_space:TransferLatency",
    },
    "simulators": {
        "roofline": "hwnas.latency.roofline:Roofline",
        "fpga_tiles": "hwnas.latency.fpga_tiles:FpgaTiles",
        "systolic": "hwnas.latency.systolic:Systolic",
    },
    "evaluators": {
        "predictor": "hwnas.evaluators.predictor:AccuracyPredictor",
        "published": "hwnas.evaluators.published:PublishedPredictor",
    },
    "exporters": {"onnx": "hwnas.export.exporter:OnnxExporter"},
}
"""Kind -> name -> ``module:attribute``. A new part is one file and one line here."""


def names(kind: str) -> tuple[str, ...]:
    """The names known for a kind.

    Raises:
        InputError: there is no such kind.
    """
    if kind not in REGISTRY:
        raise InputError(f"no kind of part is called {kind!r}: choose one of {', '.join(REGISTRY)}")
    return tuple(REGISTRY[kind])


def load(kind: str, name: str) -> Any:
    """The class (or function) registered under a name; its module is imported now.

    Raises:
        InputError: there is no such kind or name.
    """
    if name not in names(kind):
        raise InputError(f"none of the {kind} is called {name!r}: choose one of {', '.join(REGISTRY[kind])}")
    module, attribute = REGISTRY[kind][name].split(":")
    return getattr(import_module(module), attribute)
