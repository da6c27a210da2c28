"""A table from measured blocks: on the real runner for a toy space, and resumed."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwnas.core.additive import distinct_blocks
from hwnas.core.arch import Arch, Choice, Genes
from hwnas.core.errors import InputError
from hwnas.core.metrics import Measurement
from hwnas.core.net import INPUT, NetSpec, Op
from hwnas.core.protocols import Slot
from hwnas.devices.campaign import campaign
from hwnas.devices.device import open_device
from hwnas.devices.profile import DeviceProfile, MeasuringRules
from hwnas.export.onnx import build
from hwnas.luts import LatencyTable, build_table

RULES = MeasuringRules(group=4, rounds=3, min_samples=15, min_seconds=0.002, warm_up_max_seconds=0.05)


@dataclass(frozen=True)
class Toy:
    """Two positions, each with one of three kernels; they share their blocks."""

    id: str = "toy/v1"
    choices: tuple[Choice, ...] = (Choice("a", (1, 3, 5)), Choice("b", (1, 3, 5)))

    def active(self, genes: Genes) -> np.ndarray:
        return np.ones(genes.shape, dtype=np.bool_)

    def canonical(self, genes: Genes) -> Genes:
        return genes

    def slots(self) -> tuple[Slot, ...]:
        return Slot("a", (0,)), Slot("b", (1,))

    def block(self, slot: Slot, options: tuple[int, ...]) -> NetSpec:
        return NetSpec((8, 16, 16), (Op("conv", "c", (INPUT,), 8, (8, 16, 16), kernel=(1, 3, 5)[options[0]]),))

    def lower(self, arch: Arch) -> NetSpec:
        raise NotImplementedError


@dataclass
class FakeCampaign:
    """All blocks but the failed ones take 1 ms."""

    failed: dict[str, str] = field(default_factory=dict)
    measurements: dict[str, Measurement] = field(default_factory=dict)
    device_seconds: float = 2.5
    fresh: frozenset[str] = frozenset()
    repeats: tuple[tuple[str, Measurement], ...] = ()

    def __call__(
        self, device: Any, models: Any, journal: Path, progress: Any = None, enough: Any = None, anchor: Any = None
    ) -> "FakeCampaign":
        self.measurements = {name: Measurement(np.ones(5)) for name, _ in models if name not in self.failed}
        return self


class FakeDevice:
    def facts(self) -> dict[str, Any]:
        return {"device": "fake", "precision": "float32"}


def test_on_the_real_runner_then_again_from_the_journal(tmp_path):
    built = []
    told = []

    def build_onnx(net: NetSpec) -> bytes:
        built.append(net.key())
        return build(net)

    with open_device(DeviceProfile(name="here"), RULES) as device:
        table = build_table(Toy(), device, build_onnx, tmp_path, lambda *args: told.append(args), campaign=campaign)
        again = build_table(Toy(), device, build_onnx, tmp_path, campaign=campaign)
    assert sorted(table) == sorted(distinct_blocks(Toy())) == sorted(set(built))  # some more than once
    assert told[-1] == (3, 3)
    assert dict(again.rows) == dict(table.rows)
    assert again.provenance == table.provenance  # the date says when blocks were measured, not when somebody asked
    assert again.provenance.device_seconds == table.provenance.device_seconds > 0
    assert table.provenance.device["runtime"] == "onnxruntime"
    assert table.provenance.samples >= 45
    assert dict(LatencyTable.read(tmp_path / "table.csv").rows) == dict(table.rows)


def test_failed_blocks_have_no_row(tmp_path):
    blocks = distinct_blocks(Toy())
    broken = next(iter(blocks))
    table = build_table(Toy(), FakeDevice(), build, tmp_path, campaign=FakeCampaign({broken: "too slow"}))
    assert len(table) == 2
    with pytest.raises(InputError, match="too slow"):
        table.row(blocks[broken])
