"""Which latency model is best: how networks are dealt out, which models take part, and what is handed over."""

from __future__ import annotations

import json

import numpy as np
import pytest
from synthetic_device import SPACE, TABLE, TEST, make_table, measure, truth

from hwnas.core.arch import Arch, ArchBatch
from hwnas.core.count import macs
from hwnas.core.metrics import Measurement
from hwnas.latency.in_use import FittedLatency
from hwnas.latency.lut import CorrectedTable
from hwnas.latency.selection import LEAST_VALIDATION, SPLIT, Networks, Selection, split
from hwnas.luts import LatencyTable, Row


def networks(count: int = 40, seed: int = 0) -> Networks:
    batch = TEST.take(np.arange(count))
    return Networks.in_order(SPACE, TABLE, dict(zip(batch, measure(batch, seed=seed), strict=True)))


@pytest.fixture(scope="module")
def selection() -> Selection:
    return Selection.of(SPACE, TABLE, 40, known=[make_table(0.05, "another")])


@pytest.mark.parametrize("count", [1, 5, 6, 40, 100])
def test_each_network_is_in_one_part_and_each_part_spans_the_range(count: int) -> None:
    whole = networks(count)
    parts = {name: whole.part(name) for name in dict.fromkeys(SPLIT)}
    archs = [arch for part in parts.values() for arch in part.archs]
    assert len(archs) == len(set(archs)) == count
    if count >= 40:
        for part in parts.values():
            assert part.median_ms.min() < np.quantile(whole.median_ms, 0.2)
            assert part.median_ms.max() > np.quantile(whole.median_ms, 0.8)


def test_the_order_of_measuring_does_not_matter() -> None:
    batch = TEST.take(np.arange(12))
    found: dict[Arch, Measurement] = dict(zip(batch, measure(batch), strict=True))
    backwards = dict(reversed(list(found.items())))
    first, second = (Networks.in_order(SPACE, TABLE, one) for one in (found, backwards))
    assert np.array_equal(first.archs.genes, second.archs.genes)
    assert np.array_equal(first.median_ms, second.median_ms)


def test_the_card(selection: Selection) -> None:
    card = selection.card(networks())
    assert card is not None
    assert [one.model for one in card.scores] == [
        *("macs", "params", "lut", "lut corrected", "gcn", "transfer, 10 networks", f"{card.used}, p90"),
    ]
    assert (card.fitted_on, card.validated_on, len(card.measured_ms)) == (20, 7, 13)
    assert card.best == card.used
    assert card.best not in ("macs", "params", "lut")
    assert [row["model"] for row in card.to_json() if row["best_on_validation"]] == [card.best]
    errors = {one.model: one.mape for one in card.scores}
    assert errors["lut corrected"] < 0.02 < min(errors["lut"], errors["macs"])  # the sum counts a call a block


def test_the_best_is_told_by_the_validation_part_alone() -> None:
    """Whatever the third part says changes no choice: there all models are made to look wrong but MACs."""
    whole, plain = networks(), Selection.of(SPACE, TABLE, 19)
    card = plain.card(whole)
    assert card is not None
    assert card.best == "lut corrected"
    factor = whole.median_ms[0] / macs(whole.nets[0])
    spoilt = list(whole.measurements)
    for row, part in enumerate(split(len(spoilt))):
        if part == "test":
            spoilt[row] = Measurement(np.full(10, 0.3 * factor * macs(whole.nets[row])))
    again = plain.card(Networks(SPACE, whole.archs, tuple(spoilt)))
    assert again is not None
    assert again.best == "lut corrected"
    errors = {one.model: one.mape for one in again.scores}
    assert errors["lut corrected"] > 0.5


def test_the_model_that_is_right_wins_and_is_used() -> None:
    """A device whose times are its multiply-adds, and whose table is noise."""
    rng = np.random.default_rng(0)
    rows = {key: Row(*(2 * [float(rng.uniform(0.01, 1))]), 0.02, 100) for key in TABLE.rows}
    noise, batch = LatencyTable(rows, TABLE.provenance), TEST.take(np.arange(40))
    found = {arch: Measurement(np.full(10, 1e-8 * macs(SPACE.lower(arch)))) for arch in batch}
    whole = Networks.in_order(SPACE, noise, found)
    selection = Selection.of(SPACE, noise, 19)
    card = selection.card(whole)
    assert card is not None
    assert card.best == card.used == "macs"
    assert selection.fitted(card.used, whole).name == "macs"


@pytest.mark.parametrize("count", range(1, 31))
def test_few_networks(count: int) -> None:
    """Without enough of them there is no card, or none is chosen; but always a model."""
    plain = Selection.of(SPACE, TABLE, count)
    card = plain.card(networks(count))
    assert (card is None) == (count <= 6)
    if card is not None:
        assert card.used == card.best or (card.best is None and card.used == "lut corrected")
        assert (card.best is not None) == (split(count).count("validation") >= LEAST_VALIDATION)
        json.dumps(card.to_json(), allow_nan=False)
    assert len(plain.fitted("lut corrected", networks(count)).points.median) == count


def test_what_a_number_of_networks_allows() -> None:
    assert "gcn" not in Selection.of(SPACE, TABLE, 20).models
    assert "gcn" in Selection.of(SPACE, TABLE, 40).models
    assert "transfer, 10 networks" not in Selection.of(SPACE, TABLE, 40).models
    assert "transfer, 10 networks" not in Selection.of(SPACE, TABLE, 12, known=[TABLE]).models


def test_a_cpu_that_tells_its_clock_has_a_roofline() -> None:
    facts = {"device": "local", "cpu": "x", "isa": ["avx2", "fma"], "cores": 2, "threads": 1, "clock_mhz": 3000.0}
    assert "roofline, simulated" not in Selection.of(SPACE, TABLE, 40, {"device": "local"}).models
    assert len(Selection.of(SPACE, TABLE, 40, facts).models) >= 4


@pytest.mark.parametrize("name", ["macs", "params", "lut", "lut corrected", "gcn", "transfer, 10 networks"])
def test_every_model_can_be_used(selection: Selection, name: str) -> None:
    model = selection.fitted(name, networks())
    assert model.name == name
    assert isinstance(model, CorrectedTable if name == "lut corrected" else FittedLatency)
    assert len(model.points.median) == 40
    held = TEST.take(np.arange(100, 200))
    said, true = model.estimate(held), truth(held)
    plain = name in ("macs", "params", "lut")
    if not plain:
        assert np.abs(said.median / true - 1).mean() < 0.04
        assert np.abs(said.p90 / (1.08 * true) - 1).mean() < 0.05
    if name != "params":
        assert abs(np.median(said.median / true) - 1) < (0.2 if plain else 0.03)
    assert np.all(said.p90 >= said.median)
    assert np.mean((true >= said.lower) & (true <= said.upper)) > 0.75
    least, most = model.reachable("p90")
    assert least <= said.p90.min() * 1.05
    assert most >= said.p90.max() * 0.95
    fastest = ArchBatch.of([model.least("p90")])
    assert model.estimate(fastest).p90[0] == pytest.approx(least, rel=1e-6 if name != "gcn" else 0.3)
