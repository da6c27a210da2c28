"""`hwnas report`, and that the model which was best on the validation split is the one that is searched with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from command_line import hwnas
from lab import Lab
from small_workspace import SETTINGS, SUPERNET

from hwnas.core.additive import compile_additive
from hwnas.core.count import macs
from hwnas.latency.selection import Networks, Selection
from hwnas.luts import LatencyTable
from hwnas.pipeline.latency import MODEL, NETWORKS_JOURNAL, kept_networks
from hwnas.workspace import Workspace


@pytest.fixture
def rich(bench: Path, lab: Lab) -> Path:
    """A workspace with networks enough to choose a model by."""
    (bench / "hwnas.toml").write_text(SETTINGS.replace("subnets = 18", "subnets = 40"))
    Workspace(bench).profile()
    lab.timed.clear()
    return bench


def test_the_card_again_and_nothing_measured(rich: Path, lab: Lab) -> None:
    profiled = Workspace(rich).profile().to_json()
    code, out, err = hwnas("report", "--device", "local", "--json", "--workspace", str(rich))
    assert code == 0, err
    document = json.loads(out)
    assert lab.timed == []
    assert document["schema"] == 1
    assert document["report_card"] == profiled["report_card"]
    assert document["best_on_validation"] == document["in_use"] == profiled["in_use"] == "lut corrected"
    assert [row["model"] for row in document["report_card"] if row["best_on_validation"]] == ["lut corrected"]
    assert document["networks"] == 54
    assert (document["fitted_on"], document["validated_on"]) == (27, 9)
    assert Path(document["picture"]).read_bytes().startswith(b"\x89PNG")


def test_text(rich: Path) -> None:
    code, out, _ = hwnas("report", "--workspace", str(rich))
    assert code == 0
    assert "fitted on 27 networks, chosen by 9 others, scored on 18 more" in out
    assert "least MAPE on those 9: lut corrected" in out
    assert "in use: lut corrected" in out
    assert str(rich / "luts/local" / SUPERNET / "report_card.png") in out


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
    assert "in use: lut corrected" in out


def test_networks_of_another_device_are_not_mixed_in(bench: Path, lab: Lab) -> None:
    """As a profile leaves it that was killed before the networks of a new machine."""
    journal = bench / "luts/local" / SUPERNET / NETWORKS_JOURNAL
    journal.write_text(journal.read_text().replace(lab.cpu, "another"))
    code, out, _ = hwnas("report", "--json", "--workspace", str(bench))
    assert code == 1
    assert json.loads(out)["networks"] == 0


def test_another_device_is_learnt_from_and_a_damaged_one_is_not(rich: Path) -> None:
    other = rich / "luts/other" / SUPERNET
    shutil.copytree(rich / "luts/local" / SUPERNET, other)
    [row] = [row for row in _card(rich) if row["model"].startswith("transfer")]
    assert row["mape"] < 0.1
    (other / "table.csv").write_text("key\n")
    assert not [row for row in _card(rich) if row["model"].startswith("transfer")]


def _card(workspace: Path) -> list[dict[str, object]]:
    code, out, err = hwnas("report", "--json", "--workspace", str(workspace))
    assert code == 0, err
    card: list[dict[str, object]] = json.loads(out)["report_card"]
    return card


def test_the_best_model_is_the_one_that_is_used(bench: Path, lab: Lab) -> None:
    """Networks take their multiply-adds here, whatever their blocks took: MACs are right, every table is wrong."""
    lab.cost = compile_additive(lab.space, lambda net: macs(net) / 25e6)
    (bench / "luts/local" / SUPERNET / NETWORKS_JOURNAL).unlink()
    (bench / "hwnas.toml").write_text(SETTINGS.replace("subnets = 18", "subnets = 40"))
    profiled = Workspace(bench).profile().to_json()
    assert profiled["best_on_validation"] == profiled["in_use"] == "macs"
    assert json.loads((bench / "luts/local" / SUPERNET / MODEL).read_text())["model"] == "macs"
    assert Workspace(bench).check().holds
    limit = lab.between(0.4)
    result = Workspace(bench).specialize(f"{limit}ms")
    assert result.to_json()["predicted"]["latency_model"] == "macs"
    assert result.candidate.predicted_p90_ms == pytest.approx(lab.true_ms(result.candidate.arch), rel=1e-3)


@pytest.mark.parametrize("name", ["lut", "gcn"])
def test_whichever_model_is_in_use_the_limit_holds(name: str, rich: Path, lab: Lab) -> None:
    folder = rich / "luts/local" / SUPERNET
    table = LatencyTable.read(folder / "table.csv")
    kept = kept_networks(lab.space, folder / NETWORKS_JOURNAL, table.provenance.device)
    networks = Networks.in_order(lab.space, table, kept)
    Selection.of(lab.space, table, len(networks)).fitted(name, networks).save(folder / MODEL)
    assert Workspace(rich).check().holds
    limit = lab.between(0.4)
    result = Workspace(rich).specialize(f"{limit}ms")
    document = result.to_json()
    assert document["holds"] is True
    assert document["predicted"]["latency_model"] == name
    assert lab.true_ms(result.candidate.arch) <= limit
