"""`hwnas specialize` as people run it: everything real, on this machine."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import hwnas
from small_workspace import SUPERNET

import hwnas as package
from hwnas.core.arch import Arch
from hwnas.core.images import Preprocessing
from hwnas.export.package import check_hashes, read_manifest
from hwnas.export.verify import predict
from hwnas.latency.lut import CorrectedTable
from hwnas.luts import LatencyTable
from hwnas.ofa_supernet.folder import SupernetFolder
from hwnas.workspace import Workspace

NUMBER = (int, float)
TIMES = {"median": NUMBER, "p90": NUMBER}
DOCUMENT = {
    "schema": 1,
    "holds": True,
    "binding": bool,
    "device": "local",
    "device_kind": "real",
    "verified_by": "measurement",
    "package": str,
    "arch": {"space": str, "genes": [int]},
    "constraints": [{"metric": "latency", "statistic": "p90", "limit": NUMBER, "unit": "ms"}],
    "predicted": {"latency_ms": TIMES, "accuracy": NUMBER},
    "measured": {
        "latency_ms": TIMES,
        "interval_95_ms": {"median": [NUMBER], "p90": [NUMBER]},
        "disturbed": str,
    },
    "accuracy": {"top1": NUMBER, "images": 40, "split": "test"},
    "artifacts": [{"file": str, "runtime": str, "precision": str, "latency_ms": TIMES, "top1": NUMBER}],
    "rounds": int,
    "seconds": dict,
}
UNREACHABLE = {"schema": 1, "holds": False, "reachable": {"latency_ms": [NUMBER]}, "nearest": dict}


def fits(document: Any, shape: Any) -> bool:
    """Every key of `shape` is there, of its type or of its value; more keys may be."""
    if isinstance(shape, dict):
        return isinstance(document, dict) and all(key in document and fits(document[key], shape[key]) for key in shape)
    if isinstance(shape, list):
        return isinstance(document, list) and bool(document) and all(fits(entry, shape[0]) for entry in document)
    if isinstance(shape, type | tuple):
        return isinstance(document, shape) and (shape is bool or not isinstance(document, bool))
    return type(document) is type(shape) and bool(document == shape)


def model_of(workspace: Path) -> CorrectedTable:
    """The latency model that was kept."""
    space = SupernetFolder(workspace / "ofa_supernet" / SUPERNET).space
    folder = workspace / "luts/local" / SUPERNET
    return CorrectedTable.load(space, LatencyTable.read(folder / "table.csv"), folder / "latency_model.json")


def test_the_document_is_as_promised(specialized: tuple[Path, dict[str, Any]]) -> None:
    _, document = specialized
    assert fits(document, DOCUMENT), json.dumps(document, indent=2)
    assert document["constraints"][0]["limit"] == 1000
    measured = document["measured"]["latency_ms"]
    assert 0 < measured["median"] <= measured["p90"] <= 1000
    assert 0 <= document["accuracy"]["top1"] <= 1
    assert document["artifacts"][0]["latency_ms"] == measured
    assert 1 <= document["rounds"] <= 3
    assert all(value >= 0 for value in document["seconds"].values())


def test_a_limit_that_does_not_bind_is_said_so(specialized: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    workspace, document = specialized
    assert document["binding"] is False
    shutil.copytree(workspace, tmp_path / "ws")
    code, out, _ = hwnas("specialize", "--latency", "1s", "--workspace", str(tmp_path / "ws"))
    assert code == 0
    assert "the limit does not bind" in out


def test_the_whole_workspace_is_whole(specialized: tuple[Path, dict[str, Any]]) -> None:
    workspace, _ = specialized
    report = Workspace(workspace).check()
    assert report.holds, report
    assert {item.kind for item in report.items} == {
        "settings",
        "device",
        "table",
        "journal",
        "model",
        "supernet",
        "package",
    }
    assert list(workspace.rglob("*.tmp")) == []


def test_the_package_runs_and_says_what_the_document_says(
    specialized: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    workspace, document = specialized
    made = Path(document["package"])
    assert made.parent == workspace / "export"
    check_hashes(made)
    manifest = read_manifest(made)
    assert manifest["arch"] == document["arch"]
    figures = {(number["metric"], number["kind"]): number for number in manifest["numbers"]}
    assert figures["latency", "measured"]["values"] == document["measured"]["latency_ms"]
    assert figures["latency", "measured"]["source"]["runtime"] == "onnxruntime"
    assert figures["accuracy", "measured"]["values"]["top1"] == document["accuracy"]["top1"]
    test = SupernetFolder(workspace / "ofa_supernet" / SUPERNET).images("test")
    np.save(tmp_path / "images.npy", test.images[:20])
    shutil.copytree(made, tmp_path / "elsewhere")
    command = [sys.executable, str(tmp_path / "elsewhere/run.py"), str(tmp_path / "images.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    best = [json.loads(line)["classes"][0]["label"] for line in done.stdout.splitlines()]
    classes = predict(made / "model.onnx", test.images[:20], Preprocessing.from_json(manifest["preprocessing"]))
    assert best == [manifest["labels"][index] for index in classes]


def test_a_limit_that_binds_holds(specialized: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    shutil.copytree(specialized[0], tmp_path / "ws")
    least, most = model_of(tmp_path / "ws").reachable("p90")
    limit = math.sqrt(least * most)
    code, out, err = hwnas(
        "specialize", "--latency", f"{limit:.4f}ms", "--seed", "1", "--json", "--workspace", str(tmp_path / "ws")
    )
    assert code == 0, err
    document = json.loads(out)
    assert fits(document, DOCUMENT)
    assert document["binding"] is True
    assert document["measured"]["latency_ms"]["p90"] <= document["constraints"][0]["limit"]
    assert len(Workspace(tmp_path / "ws").packages()) == 2


def test_what_is_measured_stays_measured(specialized: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    shutil.copytree(specialized[0], tmp_path / "ws")
    folder = tmp_path / "ws/luts/local" / SUPERNET
    before = {name: (folder / name).read_bytes() for name in ("samples.jsonl", "table.csv", "networks.jsonl")}
    report = Workspace(tmp_path / "ws").specialize("1s")
    assert report.verdict.holds
    assert (folder / "samples.jsonl").read_bytes() == before["samples.jsonl"]
    assert (folder / "table.csv").read_bytes() == before["table.csv"]
    assert (folder / "networks.jsonl").read_bytes().startswith(before["networks.jsonl"])


def test_an_impossible_limit_says_what_is_reachable(specialized: tuple[Path, dict[str, Any]]) -> None:
    workspace, _ = specialized
    code, out, err = hwnas("specialize", "--latency", "1us", "--json", "--workspace", str(workspace))
    assert code == 1
    document = json.loads(out)
    assert fits(document, UNREACHABLE), document
    least, most = document["reachable"]["latency_ms"]
    assert (least, most) == pytest.approx(model_of(workspace).reachable("p90"))
    assert Arch.from_json(document["nearest"]["arch"]) == model_of(workspace).least("p90")
    assert "0.001 ms cannot be met on local" in err.splitlines()[-1]


def test_an_impossible_limit_without_a_table_builds_none(fresh: Path) -> None:
    code, out, err = hwnas("specialize", "--latency", "1us", "--json", "--workspace", str(fresh))
    assert code == 1
    document = json.loads(out)
    assert fits(document, UNREACHABLE), document
    least, most = document["reachable"]["latency_ms"]
    assert 0.001 < least < most
    assert err.count("hwnas: error: ") == 1
    assert not (fresh / "luts").exists()
    assert not (fresh / "export").exists()


def test_from_python(specialized: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    shutil.copytree(specialized[0], tmp_path / "ws")
    result = package.Workspace(tmp_path / "ws").specialize(latency="1s", device="local", seed=3)
    document = result.to_json()
    assert fits(document, DOCUMENT)
    assert document["measured"]["latency_ms"]["p90"] == result.verdict.p90_ms
    assert Path(result.package).is_dir()
