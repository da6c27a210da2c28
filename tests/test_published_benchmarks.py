"""What the benchmarks of published networks make of measurements: ranks, repetitions, verdicts."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("published_networks")


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("published_limits")


def row(number: int, device: str, published_ms: float | None, median_ms: float, **changed: Any) -> dict[str, Any]:
    same = {"space": "s", "genes": [number], "resolution": 224, "setting": "lat", "published_top1": 75.0}
    times = {"published_ms": published_ms, "median_ms": median_ms, "p90_ms": 2 * median_ms, "macs": 1e6 * number}
    return {"network": f"n{number}", "published_for": device, "disturbed": "", **same, **times, **changed}


def test_a_device_is_ranked_by_four_networks_or_more(networks: ModuleType) -> None:
    four = [row(n, "phone", 10.0 * n, float(n)) for n in range(1, 5)]
    three = [row(n, "board", 10.0 * n, float(n)) for n in range(5, 8)]
    untold = [row(n, "flops", None, float(n)) for n in range(8, 12)]
    assert networks.ranks([*four, *three, *untold]) == {"MACs": 1.0, "phone": 1.0}


def test_ranks_that_are_turned_round(networks: ModuleType) -> None:
    found = networks.ranks([row(n, "phone", 10.0 * n, 10.0 - n) for n in range(1, 5)])
    assert found == {"MACs": -1.0, "phone": -1.0}


def test_one_network_under_two_names(networks: ModuleType) -> None:
    twice = [row(1, "a", 1.0, 4.0), row(1, "b", 1.0, 5.0, network="again")]
    other_size = row(1, "c", 1.0, 9.0, resolution=160)
    [found] = networks.repeated([*twice, other_size, row(2, "d", 1.0, 7.0)])
    assert found == {"networks": ["n1", "again"], "median_ms": [4.0, 5.0], "apart": 1.25}


def test_the_table_tells_batches_and_what_was_not_published(networks: ModuleType) -> None:
    lines = networks.table([row(1, "v100", 5.0, 3.0, setting="gpu64"), row(2, "flops", None, 4.0)]).splitlines()
    assert lines[2:] == [
        "| n2 | 224 | 2 | 75.0% | - | 4.00 ms | 8.00 ms |",
        "| n1 | 224 | 1 | 75.0% | 5 ms, v100, batch 64 | 3.00 ms | 6.00 ms |",
    ]


def document(p90_ms: float) -> dict[str, Any]:
    measured = {"latency_ms": {"p90": p90_ms}, "interval_95_ms": {"p90": [9.0, 11.0]}, "disturbed": ""}
    predicted = {"latency_ms": {"p90": 9.5}, "accuracy": 0.85}
    told = {"holds": True, "binding": True, "rounds": 1, "arch": {}}
    return {**told, "measured": measured, "predicted": predicted}


@pytest.mark.parametrize(("exit_code", "p90_ms", "holds"), [(0, 9.9, True), (0, 10.1, False), (1, 9.9, False)])
def test_a_limit_holds_by_exit_code_and_by_measurement(
    exit_code: int, p90_ms: float, holds: bool, limits: ModuleType
) -> None:
    assert limits.verdict(document(p90_ms), exit_code, 10.0)["holds"] is holds


def test_what_nothing_can_hold_tells_the_span(limits: ModuleType) -> None:
    told = {"schema": 1, "holds": False, "reachable": {"latency_ms": [3.5, 14.0]}, "nearest": None}
    found = limits.verdict(told, 1, 2.0)
    assert found == {"holds": False, "reachable_p90_ms": [3.5, 14.0]}
    assert "| 2 ms | no | - |" in limits.table([{"limit_ms": 2.0, "seconds": 4.0, **found}])
