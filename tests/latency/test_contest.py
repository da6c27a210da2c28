"""Which latency model is best: how networks are dealt out, which models take part, and what is handed over."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_device import SPACE, TABLE, TEST, make_table, measure, truth

from hwnas.core.arch import Arch, ArchBatch
from hwnas.core.metrics import Measurement
from hwnas.latency.contest import SIXTHS, Contest, Networks
from hwnas.latency.in_use import FittedLatency
from hwnas.latency.lut import CorrectedTable


def networks(count: int = 40, seed: int = 0) -> Networks:
    batch = TEST.take(np.arange(count))
    return Networks.in_order(SPACE, TABLE, dict(zip(batch, measure(batch, seed=seed), strict=True)))


@pytest.fixture(scope="module")
def contest() -> Contest:
    return Contest.of(SPACE, TABLE, 40, known=[make_table(0.05, "another")])


@pytest.mark.parametrize("count", [1, 5, 6, 40, 100])
def test_each_network_is_in_one_part_and_each_part_spans_the_range(count: int) -> None:
    whole = networks(count)
    parts = {name: whole.part(name) for name in dict.fromkeys(SIXTHS)}
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


def test_the_card(contest: Contest) -> None:
    card = contest.card(networks())
    assert card is not None
    assert [one.model for one in card.scores] == [
        *("macs", "params", "lut", "lut corrected", "gcn", "transfer, 10 networks", "lut corrected, p90"),
    ]
    assert (card.fitted_on, card.validated_on, len(card.measured_ms)) == (20, 7, 13)
    assert card.best not in ("macs", "params", "lut")
    assert [row["model"] for row in card.to_json() if row["best_on_validation"]] == [card.best]
    errors = {one.model: one.mape for one in card.scores}
    assert errors["lut corrected"] < 0.02 < min(errors["lut"], errors["macs"])  # the sum counts a call a block


def test_the_best_is_told_by_the_validation_part_alone(contest: Contest) -> None:
    """What the third part says changes no choice: there every other model is right and the best one wrong."""
    whole = networks()
    card = contest.card(whole)
    assert card is not None
    place = [one.model for one in card.scores].index(card.best)
    spoilt = list(whole.measurements)
    for row in range(len(spoilt)):
        if SIXTHS[row % len(SIXTHS)] == "test":
            spoilt[row] = Measurement(3 * spoilt[row].samples_ms)
    again = contest.card(Networks(SPACE, whole.archs, tuple(spoilt)))
    assert again is not None
    assert again.best == card.best
    assert again.scores[place].mape > 0.5


def test_too_few_networks_make_no_card(contest: Contest) -> None:
    assert contest.card(networks(2)) is None
    assert "gcn" not in Contest.of(SPACE, TABLE, 20).models
    assert "transfer, 10 networks" not in Contest.of(SPACE, TABLE, 40).models


def test_a_cpu_that_tells_its_clock_has_a_roofline() -> None:
    facts = {"device": "local", "cpu": "x", "isa": ["avx2", "fma"], "cores": 2, "threads": 1, "clock_mhz": 3000.0}
    assert "roofline, simulated" not in Contest.of(SPACE, TABLE, 40, {"device": "local"}).models
    assert len(Contest.of(SPACE, TABLE, 40, facts).models) >= 4


@pytest.mark.parametrize("name", ["macs", "params", "lut", "lut corrected", "gcn", "transfer, 10 networks"])
def test_every_model_can_be_used(contest: Contest, name: str) -> None:
    model = contest.fitted(name, networks())
    assert model.name == name
    assert isinstance(model, CorrectedTable if name == "lut corrected" else FittedLatency)
    assert len(model.points.median) == 40
    held = TEST.take(np.arange(100, 200))
    said = model.estimate(held)
    error = np.abs(said.median / truth(held) - 1)
    if name not in ("macs", "params", "lut"):
        assert error.mean() < 0.04
    assert np.all(said.p90 >= said.median)
    covered = np.mean((truth(held) >= said.lower) & (truth(held) <= said.upper))
    assert covered > 0.75
    least, most = model.reachable("p90")
    assert least <= said.p90.min() * 1.05
    assert most >= said.p90.max() * 0.95
    fastest = ArchBatch.of([model.least("p90")])
    assert model.estimate(fastest).p90[0] == pytest.approx(least)
