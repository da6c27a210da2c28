"""`hwnas profile`: its document, its report card, and that nothing is measured twice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import hwnas
from lab import Lab
from small_workspace import SUPERNET

from hwnas.core.additive import distinct_blocks
from hwnas.core.genetics import sample
from hwnas.devices.campaign import ANCHOR
from hwnas.latency.lut import TableSum
from hwnas.luts import LatencyTable
from hwnas.ofa_supernet.folder import SupernetFolder
from hwnas.pipeline.latency import spread_out
from hwnas.workspace import Workspace

CARD = {"spearman", "within_5", "within_10", "mape", "noise_floor"}


def test_the_document_and_the_report_card(bench: Path, lab: Lab) -> None:
    code, out, err = hwnas("profile", "--json", "--workspace", str(bench))
    assert code == 0, err
    document = json.loads(out)
    assert document["schema"] == 1
    [device] = document["devices"]
    assert device["device"] == "local"
    assert device["tables"] == [str(bench / "luts/local" / SUPERNET / "table.csv")]
    assert device["rows"] == len(distinct_blocks(lab.space)) == 460
    assert device["failed"] == []
    assert device["device_seconds"] > 0
    card = {row["model"]: row for row in device["report_card"]}
    assert list(card) == ["macs", "params", "lut", "lut corrected", "lut corrected, p90"]
    assert (device["fitted_on"], device["validated_on"]) == (9, 3)
    assert device["best_on_validation"] is None  # three networks choose nothing
    assert device["in_use"] == "lut corrected"
    assert Path(device["picture"]).read_bytes().startswith(b"\x89PNG")
    assert all(set(row) >= CARD for row in card.values())
    # The laboratory's times are the blocks' sums and a constant, which only the corrected table can know.
    assert card["lut corrected"]["spearman"] == pytest.approx(1)
    assert card["lut corrected"]["within_5"] == 1
    assert card["lut corrected"]["mape"] < card["lut"]["mape"] < card["macs"]["mape"]
    assert card["lut"]["noise_floor"] == 0


def test_text(bench: Path, lab: Lab) -> None:
    code, out, _ = hwnas("profile", "--workspace", str(bench))
    assert code == 0
    assert "local: 460 rows in" in out
    assert "lut corrected" in out


def test_profiling_again_measures_nothing(bench: Path, lab: Lab) -> None:
    folder = bench / "luts/local" / SUPERNET
    before = {path.name: path.read_bytes() for path in folder.glob("*.*")}
    report = Workspace(bench).profile()
    assert lab.timed == []
    for name in ("samples.jsonl", "networks.jsonl", "table.csv", "latency_model.json"):
        assert (folder / name).read_bytes() == before[name]
    assert report.to_json()["rows"] == 460
    assert Workspace(bench).check().holds


def test_a_budget_measures_the_most_telling_blocks(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifteenth of the rows tells networks within a few percent; without the budget the others are measured too."""
    lab = Lab(SupernetFolder(fresh / "ofa_supernet" / SUPERNET).space)
    lab.install(monkeypatch)
    code, out, err = hwnas("profile", "--budget", "0.001s", "--json", "--workspace", str(fresh))
    assert code == 0, err
    [device] = json.loads(out)["devices"]
    assert device["rows"] == 460
    measured = {name for name in lab.timed if ":" not in name} - {ANCHOR}
    assert device["estimated"] == 460 - len(measured) >= 420
    space = lab.space
    batch = sample(space, 200, np.random.default_rng(0))
    table = LatencyTable.read(fresh / "luts/local" / SUPERNET / "table.csv")
    true = np.array([lab.true_ms(arch) for arch in batch])
    assert np.mean(np.abs(TableSum(space, table).median(batch) / true - 1)) < 0.05
    times = [lab.true_ms(arch) for arch in spread_out(space, TableSum(space, table), 40)]
    seen = [np.mean(np.array(times) < lab.samples(name)[0]) for name in lab.timed if ":" in name]
    assert min(seen) < 0.05
    assert max(seen) > 0.95
    assert 0.3 < np.median(seen) < 0.7  # not the cheapest alone

    code, out, _ = hwnas("profile", "--json", "--workspace", str(fresh))
    [device] = json.loads(out)["devices"]
    assert device["estimated"] == 0
    assert len({name for name in lab.timed if ":" not in name} - {ANCHOR}) == 460
    networks = [name for name in lab.timed if ":" in name]
    assert len(networks) == len(set(networks))  # none was measured twice


@pytest.mark.parametrize("budget", ["20", "0s", "-1min", "soon"])
def test_a_budget_that_is_no_time(budget: str, bench: Path) -> None:
    code, _, err = hwnas("profile", "--budget", budget, "--workspace", str(bench))
    assert code == 2
    assert err.count("hwnas: error: ") == 1


def test_a_block_that_does_not_run_is_named(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = SupernetFolder(fresh / "ofa_supernet" / SUPERNET).space
    lab = Lab(space)
    broken = next(iter(distinct_blocks(space)))
    lab.broken.add(broken)
    lab.install(monkeypatch)
    code, out, _ = hwnas("profile", "--json", "--workspace", str(fresh))
    assert code == 1
    [device] = json.loads(out)["devices"]
    assert device["failed"] == [broken]
    assert device["rows"] == 459
    assert device["report_card"] == []
    code, out, err = hwnas("specialize", "--latency", "1s", "--workspace", str(fresh))
    assert code == 3
    assert broken in err
    assert err.count("hwnas: error: ") == 1


def test_the_networks_that_correct_the_table(bench: Path) -> None:
    space = SupernetFolder(bench / "ofa_supernet" / SUPERNET).space
    total = TableSum(space, LatencyTable.read(bench / "luts/local" / SUPERNET / "table.csv"))
    batch = spread_out(space, total, 18)
    assert len({arch.genes for arch in batch}) == len(batch) == 18
    times = total.median(batch)
    assert (times.min(), times.max()) == pytest.approx(total.reachable())
