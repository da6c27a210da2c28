"""Latency models in use: corrected by the closed loop, kept and read again, whatever their kind."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from synthetic_device import SPACE, TABLE, TEST, TRAIN, make_table, measure, truth

from hwnas import spaces
from hwnas.core.errors import InputError
from hwnas.latency.in_use import LatencyInUse, load_latency
from hwnas.latency.selection import Networks, Selection
from hwnas.testing import EstimatorContract

KINDS = ["lut", "lut corrected", "gcn", "transfer, 10 networks"]


@pytest.fixture(scope="module")
def models() -> dict[str, LatencyInUse]:
    found = dict(zip(TRAIN, measure(TRAIN), strict=True))
    networks = Networks.in_order(SPACE, TABLE, found)
    selection = Selection.of(SPACE, TABLE, len(networks), known=[make_table(0.05, "another")])
    return {name: selection.fitted(name, networks) for name in KINDS}


class TestFittedLatency(EstimatorContract):
    @pytest.fixture(autouse=True)
    def _fitted(self, models):
        self.model = models["gcn"]

    def space(self):
        return SPACE

    def estimator(self):
        return self.model


@pytest.mark.parametrize("name", KINDS)
def test_one_verdict_corrects_most_of_a_miss(models: dict[str, LatencyInUse], name: str) -> None:
    """The device became 10% slower than when the networks were measured."""
    model, chosen = models[name], TEST.take(np.array([0]))
    limit = float(1.08 * truth(chosen)[0])
    updated = model.update(chosen, measure(chosen, scale=1.1, noise=0.0), limit_ms=limit)
    actual = 1.08 * truth(chosen, 1.1)[0]
    before, after = model.estimate(chosen).p90[0], updated.estimate(chosen).p90[0]
    assert abs(after / actual - 1) < 0.5 * abs(before / actual - 1) + 0.002


@pytest.mark.parametrize("name", KINDS)
def test_save_and_load(tmp_path: Path, models: dict[str, LatencyInUse], name: str) -> None:
    path = tmp_path / "latency_model.json"
    model = models[name].update(TEST.take(np.arange(2)), measure(TEST.take(np.arange(2))), limit_ms=0.1)
    model.save(path)
    loaded = load_latency(SPACE, TABLE, path)
    assert loaded.name == name
    for field in ("median", "p90", "lower", "upper"):
        assert np.array_equal(getattr(loaded.estimate(TEST), field), getattr(model.estimate(TEST), field))
    assert loaded.points.to_json() == model.points.to_json()
    assert loaded.reachable("p90") == model.reachable("p90")


def test_weights_that_are_no_longer_needed_are_removed(tmp_path: Path, models: dict[str, LatencyInUse]) -> None:
    path = tmp_path / "latency_model.json"
    for name in ("gcn", "gcn"):
        models[name].save(path)
        assert len(list(tmp_path.glob("latency_model.*.safetensors"))) == 1
    for name in ("lut", "lut corrected"):
        models["gcn"].save(path)
        (tmp_path / "latency_model.new.safetensors").write_bytes(b"of a killed command")
        models[name].save(path)
        assert [file.name for file in tmp_path.iterdir()] == ["latency_model.json"]


@pytest.mark.parametrize("spoil", [lambda file: file.unlink(), lambda file: file.write_bytes(file.read_bytes()[:-9])])
def test_weights_that_are_missing_or_torn(tmp_path: Path, models: dict[str, LatencyInUse], spoil) -> None:
    path = tmp_path / "latency_model.json"
    models["gcn"].save(path)
    [weights] = tmp_path.glob("*.safetensors")
    spoil(weights)
    with pytest.raises(InputError, match=r"missing or damaged: run `hwnas profile --device .*` again"):
        load_latency(SPACE, TABLE, path)


@pytest.mark.parametrize("key", ["additive", "correction", "interval", "points", "space"])
def test_a_damaged_model(tmp_path: Path, models: dict[str, LatencyInUse], key: str) -> None:
    path = tmp_path / "latency_model.json"
    models["lut"].save(path)
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, key: {"slots": 3}}))
    with pytest.raises(InputError, match=r"run `hwnas profile --device .*` again"):
        load_latency(SPACE, TABLE, path)


def test_a_model_of_another_space(tmp_path: Path, models: dict[str, LatencyInUse]) -> None:
    models["lut"].save(tmp_path / "latency_model.json")
    other = spaces.load("ofa_mbv3/w1.0/v1")
    with pytest.raises(InputError, match=re.escape(f"not of {other.id}")):
        load_latency(other, TABLE, tmp_path / "latency_model.json")


@pytest.mark.parametrize("name", KINDS)
def test_a_number_that_was_edited(tmp_path: Path, models: dict[str, LatencyInUse], name: str) -> None:
    path = tmp_path / "latency_model.json"
    models[name].save(path)
    load_latency(SPACE, TABLE, path)
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "limit_ms": 17.0}))
    with pytest.raises(InputError, match="is damaged"):
        load_latency(SPACE, TABLE, path)
