"""Device files of simulators: every command takes them, and says simulated where it would say measured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from command_line import hwnas
from small_workspace import SUPERNET

from hwnas.cli.specialize import _text
from hwnas.core.additive import distinct_blocks
from hwnas.export.package import check_hashes, read_manifest
from hwnas.latency.hardware import KNOWN
from hwnas.latency.roofline import Roofline
from hwnas.latency.simulated import SimulatedLatency
from hwnas.luts import LatencyTable
from hwnas.ofa_supernet.folder import SupernetFolder
from hwnas.workspace import Workspace

ROOT = Path(__file__).parents[2]
NAME = "v100-sim"
SHIPPED = (ROOT / f"devices/{NAME}.toml").read_text()
WRONG = [
    ('model = "roofline"', 'model = "crystal-ball"', "choose one of roofline"),
    ('like = "v100/fp16"', 'like = "v100/fp17"', "choose one of v100/fp32"),
    ('like = "v100/fp16"', 'like = "v100/fp16"\nwats = 3', "unknown key 'wats'"),
    ('like = "v100/fp16"', "", "is missing"),
    ('model = "roofline"', 'model = "systolic"', "systolic array: key 'rows' is missing"),
    ('model = "roofline"', "", "simulator.model"),
]


def command(workspace: Path, *words: str) -> str:
    """The text of a command that does what it is asked."""
    code, out, err = hwnas(*words, "--workspace", str(workspace))
    assert code == 0, err
    return out


def document(workspace: Path, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(command(workspace, *words, "--json"))
    return found


@pytest.fixture(scope="module")
def simulated(unmeasured: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """A workspace that was specialized for the simulator, its document, and that as text."""
    path = tmp_path_factory.mktemp("simulated") / "ws"
    shutil.copytree(unmeasured, path)
    (path / f"devices/{NAME}.toml").write_text(SHIPPED)
    found = document(path, "specialize", "--device", NAME, "--latency", "1.2ms", "--energy")
    return path, found, _text(found)


@pytest.fixture
def bare(fresh: Path) -> Path:
    """A workspace of one's own with the shipped device file."""
    (fresh / f"devices/{NAME}.toml").write_text(SHIPPED)
    return fresh


def test_the_document_says_simulated(simulated: tuple[Path, dict[str, Any], str]) -> None:
    _, found, _ = simulated
    assert (found["device_kind"], found["verified_by"], found["holds"]) == ("simulator", "simulation", True)
    assert found["measured"] is None
    times = found["simulated"]["latency_ms"]
    assert 0 < times["median"] == times["p90"] <= 1.2
    assert found["simulated"]["energy_mj"]["total"] > 0
    [artifact] = found["artifacts"]
    assert (artifact["verified_by"], artifact["latency_ms"], artifact["memory_bytes"]) == ("simulation", times, None)


def test_the_verdict_is_the_simulator_s_own(simulated: tuple[Path, dict[str, Any], str]) -> None:
    path, found, _ = simulated
    space = SupernetFolder(path / "ofa_supernet" / SUPERNET).space
    arch = type(space.smallest).from_json(found["arch"])
    cost = Roofline(KNOWN["v100/fp16"]).simulate(space.lower(arch))
    assert found["simulated"]["latency_ms"]["p90"] == pytest.approx(cost.latency_ms)
    assert found["simulated"]["energy_mj"]["total"] == pytest.approx(cost.energy_mj)


def test_the_text_never_says_measured(simulated: tuple[Path, dict[str, Any], str]) -> None:
    _, _, text = simulated
    assert "holds 1.2 ms on v100-sim, as simulated" in text
    assert text.count("by simulation") == 2
    assert "measure" not in text.replace("nothing was measured", "")


def test_the_package_says_simulated(simulated: tuple[Path, dict[str, Any], str]) -> None:
    _, found, _ = simulated
    folder = Path(found["package"])
    check_hashes(folder)
    manifest = read_manifest(folder)
    told = manifest["provenance"]
    assert (told["device_kind"], told["verified_by"]) == ("simulator", "simulation")
    kinds = {(number["metric"], number["kind"]) for number in manifest["numbers"]}
    assert {("latency", "simulated"), ("energy", "simulated"), ("accuracy", "measured")} <= kinds
    assert not {("latency", "measured"), ("energy", "measured"), ("memory", "measured")} & kinds
    [latency] = [n for n in manifest["numbers"] if (n["metric"], n["kind"]) == ("latency", "simulated")]
    assert latency["source"]["simulator"] == {"model": "roofline", "like": "v100/fp16"}
    assert not {"samples", "precision", "threads", "cpu", "disturbed"} & set(latency["source"])
    card = (folder / "README.md").read_text()
    assert "**Simulated, never measured on a device: energy, latency.**" in card
    assert "| latency | simulated |" in card
    assert '"verified_by": "simulation"' in card


def test_what_was_specialized_checks_as_simulated(simulated: tuple[Path, dict[str, Any], str]) -> None:
    path, _, _ = simulated
    items = [item for item in document(path, "check")["items"] if NAME in item["path"]]
    details = {item["kind"]: item["detail"] for item in items}
    assert details["device"] == "simulator, roofline"
    assert "460 rows in ms, simulated" in details["table"]
    assert "simulated networks" in details["model"]


def test_a_report_is_of_the_device_as_its_file_describes_it(
    simulated: tuple[Path, dict[str, Any], str], tmp_path: Path
) -> None:
    shutil.copytree(simulated[0], tmp_path / "ws")
    command(tmp_path / "ws", "report", "--device", NAME)
    (tmp_path / f"ws/devices/{NAME}.toml").write_text(f"{SHIPPED}launch_us = 11\n")
    code, _, err = hwnas("report", "--device", NAME, "--workspace", str(tmp_path / "ws"))
    assert code == 2
    assert f"was made before {NAME}.toml changed: run `hwnas profile --device {NAME} --supernet" in err


def test_profiling_builds_no_files_and_says_simulated(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise AssertionError("a simulator takes no files")

    monkeypatch.setattr("hwnas.pipeline.names.build", refuse)
    text = command(bare, "profile", "--device", NAME, "--strict")
    assert "v100-sim: 460 simulated rows in" in text
    assert "networks that were simulated, not measured" in text
    assert "measure" not in text.replace("nothing was measured", "").replace("not measured", "")
    [entry] = document(bare, "profile", "--device", NAME)["devices"]
    assert (entry["device_kind"], entry["disturbed"], entry["failed"]) == ("simulator", {}, [])
    space = SupernetFolder(bare / "ofa_supernet" / SUPERNET).space
    table = LatencyTable.read(bare / f"luts/{NAME}/{SUPERNET}/table.csv")
    assert (table.provenance.how, len(table)) == ("simulated", len(distinct_blocks(space)))
    latency = SimulatedLatency(space, Roofline(KNOWN["v100/fp16"]))
    whole = sum(table.row(block).median_ms for block in space.lower(space.largest).blocks().values())
    assert latency.reachable()[1] == pytest.approx(whole)


def test_a_budget_estimates_the_rest_of_the_simulated_rows(bare: Path) -> None:
    text = command(bare, "profile", "--device", NAME, "--budget", "0.001s")
    assert "rows are simulated" in text
    assert "rows are measured" not in text


def test_another_simulator_makes_another_table(bare: Path) -> None:
    table = bare / f"luts/{NAME}/{SUPERNET}/table.csv"
    command(bare, "profile", "--device", NAME)
    before = table.read_bytes()
    (bare / f"devices/{NAME}.toml").write_text(SHIPPED.replace("fp16", "fp32"))
    command(bare, "profile", "--device", NAME)
    assert table.read_bytes() != before
    assert LatencyTable.read(table).provenance.device["simulator"]["like"] == "v100/fp32"


def test_simulators_side_by_side(bare: Path) -> None:
    twin = SHIPPED.replace(NAME, "twin")
    (bare / "devices/twin.toml").write_text(twin)
    (bare / "devices/wrong.toml").write_text(twin.replace("twin", "wrong").replace("v100/fp16", "abacus"))
    code, out, _ = hwnas("profile", "--device", f"{NAME},twin,wrong", "--json", "--workspace", str(bare))
    found = json.loads(out)
    assert code == 2
    assert [entry["device_kind"] for entry in found["devices"]] == ["simulator", "simulator", None]
    [units] = found["units"]
    assert (units["devices"], units["median_ratio"], units["agree"]) == ([NAME, "twin"], 1.0, True)


def test_what_is_out_of_reach_is_said_to_be_simulated(bare: Path) -> None:
    words = ("specialize", "--device", NAME, "--latency", "10us", "--json", "--workspace", str(bare))
    for _ in range(2):  # without a table and with one
        code, out, err = hwnas(*words)
        assert code == 1
        assert "(simulated, not measured)" in err
        assert json.loads(out)["device_kind"] == "simulator"
        Workspace(bare).profile(NAME)


def test_devices_lists_and_checks_it(bare: Path) -> None:
    [found] = [entry for entry in document(bare, "devices")["devices"] if entry["device"] == NAME]
    assert (found["error"], found["facts"]["kind"]) == (None, "simulator")
    assert found["profile"]["simulator"] == found["facts"]["simulator"] == {"model": "roofline", "like": "v100/fp16"}
    checked = document(bare, "devices", "check", NAME)
    assert (checked["works"], checked["device_kind"]) == (True, "simulator")
    assert [step["name"] for step in checked["steps"]] == ["simulator", "models"]
    assert command(bare, "devices", "check", NAME).endswith("v100-sim can be simulated\n")


@pytest.mark.parametrize("word", ["trust", "clean"])
def test_there_is_nothing_to_trust_or_clean(word: str, bare: Path) -> None:
    code, out, err = hwnas("devices", word, NAME, "--workspace", str(bare))
    assert (code, out) == (2, "")
    assert "there is nothing to trust" in err


@pytest.mark.parametrize(("old", "new", "reason"), WRONG)
def test_wrong_files_are_one_line(old: str, new: str, reason: str, bare: Path) -> None:
    (bare / f"devices/{NAME}.toml").write_text(SHIPPED.replace(old, new))
    for words in (("profile", "--device"), ("specialize", "--latency", "1ms", "--device"), ("devices", "check")):
        code, out, err = hwnas(*words, NAME, "--workspace", str(bare))
        assert (code, out) == (2, ""), words
        assert err.count("hwnas: error: ") == err.count("\n") == 1
        assert reason in err
        assert NAME in err
    code, out, _ = hwnas("check", "--json", "--workspace", str(bare))
    assert code == 1
    assert any(reason in item["detail"] for item in json.loads(out)["items"] if not item["ok"])
    assert reason in command(bare, "devices")
    assert not (bare / "luts" / NAME).exists()
