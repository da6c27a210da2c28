"""`hwnas specialize --arch-only`: predicted accuracy decides, random weights are verified, and nothing is exported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from command_line import hwnas
from lab import Lab
from published_files import predictor_file
from small_workspace import SETTINGS, SUPERNET

from hwnas.core.arch import Arch, ArchBatch
from hwnas.core.errors import InfeasibleError
from hwnas.core.files import read_lines
from hwnas.ofa_supernet.folder import PREDICTOR, RECIPE
from hwnas.pipeline.candidates import Candidate
from hwnas.pipeline.finalists import RandomFinalists
from hwnas.pipeline.supernets import load_predictor, open_supernet
from hwnas.workspace import Workspace

PUBLISHED = "ofa-mbv3-w1.0"


def verdicts(workspace: Path, name: str = SUPERNET) -> list[dict[str, Any]]:
    return read_lines(workspace / "luts/local" / name / "verdicts.jsonl")


def limited(workspace: Path, latency_ms: float, *words: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, document and stderr of a search for an architecture."""
    line = ("specialize", "--latency", f"{latency_ms}ms", "--arch-only", "--json", "--workspace", str(workspace))
    code, out, err = hwnas(*line, *words)
    return code, json.loads(out), err


@pytest.fixture
def bare(bench: Path) -> Path:
    """The bench's workspace, whose supernet has neither weights nor images."""
    folder = bench / "ofa_supernet" / SUPERNET
    for path in folder.iterdir():
        if path.name not in (RECIPE, PREDICTOR):
            path.unlink()
    return bench


def test_an_architecture_holds(bare: Path, lab: Lab) -> None:
    limit = lab.between(0.3)
    code, document, err = limited(bare, limit)
    assert code == 0, err
    assert (document["holds"], document["binding"], document["weights"]) == (True, True, "random")
    assert (document["package"], document["accuracy"], document["agreement"]) == (None, None, None)
    assert document["artifacts"] == []
    assert document["supernet"] == SUPERNET
    assert document["table"] == str(bare / "luts/local" / SUPERNET / "table.csv")
    [arch] = lab.verified
    assert Arch.from_json(document["arch"]) == arch
    assert document["measured"]["latency_ms"]["p90"] == pytest.approx(lab.true_ms(arch))
    assert lab.true_ms(arch) <= limit
    predictor = load_predictor(open_supernet(Workspace(bare)))
    assert document["predicted"]["accuracy"] == pytest.approx(predictor.evaluate(ArchBatch.of([arch]))[0])
    assert document["predicted"]["accuracy_model"] == predictor.name
    assert document["predicted"]["accuracy_note"] is None
    options = {choice.name: choice.options for choice in lab.space.choices}
    assert document["choices"]["resolution"] == options["resolution"][arch.genes[0]]
    assert all(value in options[name] for name, value in document["choices"].items())
    assert not (bare / "export").exists()
    [line] = verdicts(bare)
    assert line["arch"] == document["arch"]


def test_of_the_finalists_the_one_that_is_predicted_best_is_verified(bare: Path, tmp_path: Path) -> None:
    supernet = open_supernet(Workspace(bare))
    space = supernet.space
    archs = [Arch(space.id, (gene, *([0] * (len(space.choices) - 1)))) for gene in range(4)]
    candidates = [
        Candidate(arch, accuracy, 1.0, 1.0) for arch, accuracy in zip(archs, (0.5, 0.8, 0.8, 0.1), strict=True)
    ]
    chosen, exported = RandomFinalists(supernet, tmp_path).best(candidates, lambda *_: None)
    assert chosen == candidates[1]
    assert (exported.arch, exported.score, exported.weights) == (archs[1], 0.8, "random")
    model = onnx.load(exported.path)
    metadata = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert Arch.from_json(metadata["arch"]) == archs[1]
    assert "random weights" in metadata["provenance"]["method"]


def test_a_file_of_its_own_for_each_that_is_verified(bare: Path, tmp_path: Path) -> None:
    supernet = open_supernet(Workspace(bare))
    finalists = RandomFinalists(supernet, tmp_path)
    archs = [Arch(supernet.space.id, (gene, *([0] * (len(supernet.space.choices) - 1)))) for gene in range(2)]
    paths = [finalists.best([Candidate(arch, 0.5, 1.0, 1.0)], lambda *_: None)[1].path for arch in archs]
    assert paths[0] != paths[1]
    assert all(path.exists() for path in paths)


def test_a_miss_is_out_for_good(bare: Path, lab: Lab) -> None:
    limit = lab.between(0.25)
    lab.verdict = lambda true_ms: 1.01 * limit
    with pytest.raises(InfeasibleError, match="no model was verified within"):
        Workspace(bare).specialize(f"{limit}ms", arch_only=True)
    first = list(lab.verified)
    assert first
    assert [Arch.from_json(line["arch"]) for line in verdicts(bare)] == first
    code, document, _ = limited(bare, limit)
    assert (code, document["holds"]) == (1, False)
    assert len(set(lab.verified)) == len(lab.verified) > len(first)
    assert not (bare / "export").exists()


def test_a_verdict_on_an_architecture_counts_for_its_model_too(bench: Path, lab: Lab) -> None:
    """Time does not depend on weights: what missed with random ones is not tried again with trained ones."""
    limit = lab.between(0.3)
    lab.verdict = lambda true_ms: 1.01 * limit
    with pytest.raises(InfeasibleError):
        Workspace(bench).specialize(f"{limit}ms", arch_only=True)
    missed = set(lab.verified)
    lab.verdict = lambda true_ms: true_ms
    result = Workspace(bench).specialize(f"{limit}ms")
    assert result.candidate.arch not in missed
    assert result.to_json()["weights"] == "trained"
    assert result.package is not None


def test_a_limit_out_of_reach(bare: Path, lab: Lab) -> None:
    code, document, err = limited(bare, lab.reachable()[0] / 3)
    assert code == 1
    assert document["reachable"]["latency_ms"][0] == pytest.approx(lab.reachable()[0], rel=0.05)
    assert err.count("hwnas: error: ") == 1


def test_text_and_file(bare: Path, lab: Lab, tmp_path: Path) -> None:
    words = ("specialize", "--latency", f"{lab.between(0.4)}ms", "--arch-only", "--workspace", str(bare))
    code, out, err = hwnas(*words, "--output", str(tmp_path / "made/arch.json"))
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].startswith(f"an architecture of {SUPERNET}: holds ")
    [accuracy] = [line for line in lines if line.startswith("  accuracy")]
    assert "as predicted by the accuracy predictor" in accuracy
    assert "  weights   random: the architecture alone was verified, and nothing is exported" in lines
    assert any(line.startswith("  depth     ") for line in lines)
    told = Arch.from_json(json.loads(lines[-1].removeprefix("  arch ")))
    assert told == Arch.from_json(json.loads((tmp_path / "made/arch.json").read_text())) == lab.verified[-1]


def test_a_file_that_cannot_be_written_is_told_at_once(bare: Path, lab: Lab) -> None:
    words = ("specialize", "--latency", f"{lab.between(0.4)}ms", "--arch-only", "--workspace", str(bare))
    code, out, err = hwnas(*words, "--output", str(bare / "luts"))
    assert (code, out) == (2, "")
    assert "it is a folder" in err
    assert lab.verified == lab.timed == []


def test_weights_that_are_missing_are_told_without_arch_only(bare: Path, lab: Lab) -> None:
    code, _, err = hwnas("specialize", "--latency", f"{lab.between(0.4)}ms", "--workspace", str(bare))
    assert code == 2
    assert "is missing or damaged" in err
    assert lab.timed == []


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a simulator and a published supernet of which the predictor alone was imported; copy it."""
    path = tmp_path_factory.mktemp("published") / "ws"
    (path / "devices").mkdir(parents=True)
    (path / "hwnas.toml").write_text(SETTINGS.replace(SUPERNET, PUBLISHED).replace("headroom = 0.9", "headroom = 0.15"))
    root = Path(__file__).parent.parent.parent
    shutil.copy(root / "devices/v100-sim.toml", path / "devices/local.toml")
    text = (path / "devices/local.toml").read_text()
    (path / "devices/local.toml").write_text(text.replace('name = "v100-sim"', 'name = "local"'))
    predictor_file(path / "acc.npz")
    Workspace(path).import_predictor(path / "acc.npz")
    return path


def test_a_published_predictor_is_all_that_is_needed(simulated: Path, tmp_path: Path) -> None:
    shutil.copytree(simulated, tmp_path / "ws")
    workspace = tmp_path / "ws"
    code, document, err = limited(workspace, 1.0)
    assert code == 0, err
    assert document["supernet"] == PUBLISHED
    assert document["measured"] is None
    assert 0.8 < document["simulated"]["latency_ms"]["p90"] <= 1.0
    assert "5.9 points above" in document["predicted"]["accuracy_note"]
    assert document["choices"]["resolution"] == 224
    assert document["faster"] is None or "accuracy" in document["faster"]["predicted"]
    assert {path.name for path in (workspace / "luts/local").iterdir()} == {PUBLISHED}
    assert Workspace(workspace).check().holds
    again = Workspace(workspace).specialize("1ms", supernet=PUBLISHED, arch_only=True, seed=5)
    assert again.verdict.holds
    code, out, _ = hwnas("specialize", "--latency", "1ms", "--arch-only", "--workspace", str(workspace))
    assert code == 0
    assert "  note      it ranks" in out


def test_profile_and_report_of_another_supernet_than_the_settings(simulated: Path, tmp_path: Path) -> None:
    shutil.copytree(simulated, tmp_path / "ws")
    (tmp_path / "ws/hwnas.toml").write_text(SETTINGS)  # whose own supernet is not even there
    words = ("--supernet", PUBLISHED, "--json", "--workspace", str(tmp_path / "ws"))
    code, out, err = hwnas("profile", *words)
    assert code == 0, err
    [device] = json.loads(out)["devices"]
    assert device["rows"] == 92
    assert f"luts/local/{PUBLISHED}/table.csv" in device["tables"][0]
    code, out, _ = hwnas("report", *words)
    assert code == 0
    assert json.loads(out)["in_use"] is not None


def test_no_faster_subnet_is_told_where_the_error_is_not_known(
    bench: Path, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unsure:
        name, rmse, note = "unsure", None, ""

        def evaluate(self, batch: ArchBatch) -> np.ndarray:
            return -np.array([lab.true_ms(arch) for arch in batch])  # the fastest is the best

    limit = lab.between(0.5)
    assert Workspace(bench).specialize(f"{limit}ms", arch_only=True).verdict.holds
    monkeypatch.setattr("hwnas.pipeline.specialize.load_predictor", lambda _: Unsure())
    document = Workspace(bench).specialize(f"{limit}ms", arch_only=True).to_json()
    assert document["faster"] is None
    assert document["predicted"]["accuracy_model"] == "unsure"
