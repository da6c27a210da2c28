"""`hwnas report`, and that the model which was best on the validation split is the one that is searched with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from command_line import hwnas
from lab import Lab
from small_workspace import SETTINGS, SUPERNET

from hwnas.latency.contest import Contest, Networks
from hwnas.luts import LatencyTable
from hwnas.pipeline.latency import MODEL, NETWORKS_JOURNAL, kept_networks
from hwnas.workspace import Workspace


def test_the_card_again_and_nothing_measured(bench: Path, lab: Lab) -> None:
    profiled = Workspace(bench).profile().to_json()
    code, out, err = hwnas("report", "--device", "local", "--json", "--workspace", str(bench))
    assert code == 0, err
    document = json.loads(out)
    assert lab.timed == []
    assert document["schema"] == 1
    assert document["report_card"] == profiled["report_card"]
    assert document["best_on_validation"] == document["in_use"] == profiled["in_use"] == "lut corrected"
    assert document["fitted_on"] > document["validated_on"] > 0
    assert Path(document["picture"]).read_bytes().startswith(b"\x89PNG")


def test_text(bench: Path, lab: Lab) -> None:
    code, out, _ = hwnas("report", "--workspace", str(bench))
    assert code == 0
    assert "best on the networks set apart for choosing: lut corrected; in use: lut corrected" in out
    assert str(bench / "luts/local" / SUPERNET / "report_card.png") in out


def test_before_a_profile(fresh: Path) -> None:
    code, out, err = hwnas("report", "--workspace", str(fresh))
    assert code == 2
    assert out == ""
    assert err.count("hwnas: error: ") == 1
    assert "hwnas profile" in err


def test_too_few_networks(bench: Path, lab: Lab) -> None:
    (bench / "luts/local" / SUPERNET / NETWORKS_JOURNAL).unlink()
    code, out, _ = hwnas("report", "--json", "--workspace", str(bench))
    assert code == 1
    assert json.loads(out)["report_card"] == []
    code, out, _ = hwnas("report", "--workspace", str(bench))
    assert "too few whole networks" in out


def test_another_device_is_learnt_from_and_a_damaged_one_is_not(bench: Path, lab: Lab) -> None:
    other = bench / "luts/other" / SUPERNET
    shutil.copytree(bench / "luts/local" / SUPERNET, other)
    [row] = [row for row in _card(bench) if row["model"].startswith("transfer")]
    assert row["mape"] < 0.05
    (other / "table.csv").write_text("key\n")
    assert not [row for row in _card(bench) if row["model"].startswith("transfer")]


def _card(workspace: Path) -> list[dict[str, object]]:
    code, out, err = hwnas("report", "--json", "--workspace", str(workspace))
    assert code == 0, err
    card: list[dict[str, object]] = json.loads(out)["report_card"]
    return card


@pytest.mark.parametrize("name", ["macs", "lut", "gcn"])
def test_whichever_model_is_in_use_the_limit_holds(name: str, bench: Path, lab: Lab) -> None:
    """The plain models are far off at first; the closed loop puts them right around the limit."""
    folder = bench / "luts/local" / SUPERNET
    (bench / "hwnas.toml").write_text(SETTINGS.replace("subnets = 18", "subnets = 40"))
    Workspace(bench).profile()
    table = LatencyTable.read(folder / "table.csv")
    networks = Networks.in_order(lab.space, table, kept_networks(lab.space, folder / NETWORKS_JOURNAL))
    contest = Contest.of(lab.space, table, 40)
    contest.fitted(name, networks).save(folder / MODEL)
    assert Workspace(bench).check().holds
    limit = lab.between(0.4)
    result = Workspace(bench).specialize(f"{limit}ms")
    document = result.to_json()
    assert document["holds"] is True
    assert document["predicted"]["latency_model"] == name
    assert lab.true_ms(result.candidate.arch) <= limit
