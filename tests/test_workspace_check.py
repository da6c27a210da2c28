"""`Workspace.check` looks at every file: what was measured, and all that a supernet must have."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_workspace import SUPERNET, make_workspace

from hwnas.core.additive import distinct_blocks
from hwnas.core.count import macs
from hwnas.core.files import append_line
from hwnas.core.genetics import sample
from hwnas.core.metrics import Measurement
from hwnas.latency.lut import CorrectedTable
from hwnas.luts.table import LatencyTable, Provenance, Row
from hwnas.ofa_supernet.folder import HASHES, SupernetFolder
from hwnas.workspace import Workspace

JOURNALS = ("samples.jsonl", "networks.jsonl", "finalists.jsonl", "verdicts.jsonl")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a made-up table, a model fitted to it, and journals of two lines; copy it."""
    path = make_workspace(tmp_path_factory.mktemp("made") / "ws")
    folder = path / "luts/local" / SUPERNET
    space = SupernetFolder(path / "ofa_supernet" / SUPERNET).space
    blocks = {key: macs(net) / 1e8 for key, net in distinct_blocks(space).items()}
    rows = {key: Row(0.01 + ms, 0.02 + ms, 0.1, 10) for key, ms in blocks.items()}
    numbers = {"rows": len(rows), "samples": 10 * len(rows), "median_spread": 0.1, "seconds": 1, "device_seconds": 1}
    table = LatencyTable(rows, Provenance(space=space.id, device={"device": "local"}, date="2026-01-01", **numbers))
    table.write(folder / "table.csv")
    batch = sample(space, 20, np.random.default_rng(0))
    timed = [Measurement(np.array([macs(space.lower(arch)) / 1e8, macs(space.lower(arch)) / 9e7])) for arch in batch]
    CorrectedTable.fit(space, table, batch, timed).save(folder / "latency_model.json")
    for name in JOURNALS:
        append_line(folder / name, {"kind": "header"})
        append_line(folder / name, {"kind": "measured"})
    return path


@pytest.fixture
def workspace(made: Path, tmp_path: Path) -> Workspace:
    shutil.copytree(made, tmp_path / "ws")
    return Workspace(tmp_path / "ws")


def measured(workspace: Workspace) -> Path:
    return workspace.table_folder("local", SUPERNET)


def broken(workspace: Workspace) -> list[tuple[str, str]]:
    return [(item.kind, item.detail) for item in Workspace(workspace.path).check().items if not item.ok]


def test_every_file_is_looked_at(workspace: Workspace) -> None:
    report = workspace.check()
    assert report.holds, report
    looked_at = {Path(item.path).name: item.kind for item in report.items}
    assert looked_at == {
        "hwnas.toml": "settings",
        "local.toml": "device",
        "table.csv": "table",
        **dict.fromkeys(JOURNALS, "journal"),
        "latency_model.json": "model",
        SUPERNET: "supernet",
    }
    [detail] = [item.detail for item in report.items if item.kind == "model"]
    assert detail.startswith("lut corrected: p90s from ")
    assert "fitted on 20 networks" in detail


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def of_another_space(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"space": "toy/v1"}))


@pytest.mark.parametrize("damage", [truncate, of_another_space])
def test_a_damaged_model(damage: Callable[[Path], None], workspace: Workspace) -> None:
    damage(measured(workspace) / "latency_model.json")
    [(kind, detail)] = broken(workspace)
    assert kind == "model"
    assert "run `hwnas profile --device local --supernet" in detail


def test_a_model_without_its_table_is_not_in_use(workspace: Workspace) -> None:
    (measured(workspace) / "table.csv").unlink()
    assert broken(workspace) == []


def test_a_model_of_a_supernet_that_is_gone(workspace: Workspace) -> None:
    measured(workspace).rename(workspace.table_folder("local", "gone"))
    [(kind, detail)] = broken(workspace)
    assert kind == "model"
    assert "'gone' that is not there: restore it, or remove" in detail


@pytest.mark.parametrize("name", JOURNALS)
@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"\xff\xfe\x00\x01", "is no text"),
        (b"hello\n", "has no line of JSON"),
        (b'{\n  "kind": "header",\n', "has no line of JSON"),
    ],
)
def test_a_journal_that_is_none(name: str, content: bytes, fault: str, workspace: Workspace) -> None:
    (measured(workspace) / name).write_bytes(content)
    [(kind, detail)] = broken(workspace)
    assert kind == "journal"
    assert name in detail
    assert f"{fault}: restore it, or remove it" in detail


def test_a_folder_in_place_of_a_journal(workspace: Workspace) -> None:
    (measured(workspace) / "verdicts.jsonl").unlink()
    (measured(workspace) / "verdicts.jsonl").mkdir()
    [(kind, detail)] = broken(workspace)
    assert kind == "journal"
    assert "verdicts.jsonl: Is a directory" in detail


@pytest.mark.parametrize("content", [b"", b'{"ki', b'{"a": 1}\n{"b"', b'{"a": 1}\n{"b"\n{"c": 3}\n'])
def test_what_a_killed_writer_leaves_is_no_fault(content: bytes, workspace: Workspace) -> None:
    (measured(workspace) / "samples.jsonl").write_bytes(content)
    report = workspace.check()
    assert report.holds, report
    [detail] = [item.detail for item in report.items if item.path.endswith("samples.jsonl")]
    assert ("1 torn" in detail) == bool(content)


@pytest.mark.parametrize(
    "name", ["recipe.toml", "weights.safetensors", "predictor.safetensors", "images.safetensors.xz"]
)
def test_what_specialize_needs_is_listed(name: str, workspace: Workspace) -> None:
    listing = workspace.supernet_folder(SUPERNET) / HASHES
    hashes = json.loads(listing.read_text())
    del hashes[name]
    listing.write_text(json.dumps(hashes))
    [(kind, detail)] = broken(workspace)
    assert kind == "supernet"
    assert f"does not list {name}" in detail


def test_no_hashes_at_all(workspace: Workspace) -> None:
    (workspace.supernet_folder(SUPERNET) / HASHES).write_text("{}")
    [(kind, _)] = broken(workspace)
    assert kind == "supernet"


def test_a_file_that_cannot_be_read(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_bytes

    def denied(path: Path) -> bytes:
        if path.name == "weights.safetensors":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", denied)
    [(kind, detail)] = broken(workspace)
    assert kind == "supernet"
    assert "weights.safetensors: Permission denied; make it a readable file" in detail
