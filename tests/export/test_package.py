"""Packages are whole, say what they are, notice every change, and run by themselves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwnas.core import folders
from hwnas.core.arch import Arch
from hwnas.core.errors import InputError
from hwnas.core.images import Preprocessing
from hwnas.core.net import NetSpec
from hwnas.export.onnx import build
from hwnas.export.package import Number, PackageInfo, check_hashes, read_manifest, write_package
from hwnas.export.verify import predict

INFO = PackageInfo(
    name="small-2ms",
    arch=Arch("toy/v1", (0, 1, 2)),
    labels=("shirt", "bag", "boot", "coat", "dress"),
    preprocessing=Preprocessing(16, (0.3,), (0.4,)),
    provenance={"supernet": "fashion-mnist", "commit": "abc"},
    numbers=(
        Number("latency", "measured", {"median": 1.5, "p90": 1.75}, "ms", {"device": "local", "threads": 1}),
        Number("accuracy", "predicted", {"top1": 0.91}, "", {"model": "accuracy predictor"}),
    ),
)


@pytest.fixture
def made(net: NetSpec, tmp_path: Path) -> Path:
    return _write(net, tmp_path, INFO)


def _write(net: NetSpec, folder: Path, info: PackageInfo, seed: int = 0) -> Path:
    model = folder / "exported.onnx"
    model.write_bytes(build(net, metadata=info.metadata(), seed=seed))
    return write_package(folder / "export", info, model)


def test_manifest_states_every_file_and_source(made: Path) -> None:
    check_hashes(made)
    manifest = read_manifest(made)
    names = {path.name for path in made.iterdir()}
    assert names == {"model.onnx", "manifest.json", "run.py", "README.md", "requirements.txt"}
    assert set(manifest["files"]) == names - {"manifest.json"}
    assert Arch.from_json(manifest["arch"]) == INFO.arch
    assert manifest["numbers"][0]["source"] == {"device": "local", "threads": 1}
    card = (made / "README.md").read_text()
    assert "| latency | measured | median 1.5, p90 1.75 ms | device local, threads 1 |" in card
    assert [path.name for path in made.parent.iterdir()] == ["small-2ms"]


def test_replacing_is_whole(net: NetSpec, made: Path, tmp_path: Path) -> None:
    (made / "notes.txt").write_text("of the older package")
    old = read_manifest(made)["files"]["model.onnx"]["sha256"]
    again = _write(net, tmp_path, INFO, seed=1)
    assert again == made
    check_hashes(again)
    assert read_manifest(again)["files"]["model.onnx"]["sha256"] != old
    assert not (again / "notes.txt").exists()
    assert [path.name for path in made.parent.iterdir()] == ["small-2ms"]


def test_replacing_without_swap(net: NetSpec, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "_exchange", lambda first, second: False)
    check_hashes(_write(net, tmp_path, INFO, seed=1))
    assert [path.name for path in made.parent.iterdir()] == ["small-2ms"]


def test_failure_leaves_the_older_package(
    net: NetSpec, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_manifest(made)

    def full(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folders, "sync_folder", full)
    with pytest.raises(InputError, match="No space left"):
        _write(net, tmp_path, INFO, seed=1)
    assert read_manifest(made) == before
    assert [path.name for path in made.parent.iterdir()] == ["small-2ms"]


def test_leftovers_of_killed_writers(net: NetSpec, made: Path, tmp_path: Path) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    prefix = f".small-2ms.{int(dead.stdout)}"
    (made.parent / f"{prefix}.abc.tmp").mkdir()
    made.rename(made.parent / f"{prefix}.abd.old.tmp")
    live = made.parent / f".small-2ms.{os.getppid()}.abc.tmp"
    live.mkdir()
    _write(net, tmp_path, INFO, seed=1)
    assert {path.name for path in made.parent.iterdir()} == {"small-2ms", live.name}


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden"])
def test_names_are_plain(net: NetSpec, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot name a package"):
        _write(net, tmp_path, replace(INFO, name=name))


@pytest.mark.parametrize("name", ["model.onnx", "run.py", "README.md"])
def test_every_change_is_noticed(made: Path, name: str) -> None:
    data = bytearray((made / name).read_bytes())
    data[len(data) // 2] ^= 1
    (made / name).write_bytes(bytes(data))
    with pytest.raises(InputError, match=f"{name} is not what the manifest says"):
        check_hashes(made)
    (made / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        check_hashes(made)


def test_a_file_that_cannot_be_read_is_one_line(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(InputError, match=r"cannot read .*: Permission denied; make it a readable file"):
        check_hashes(made)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "no manifest of schema 1"),
        ({"files": {}}, "does not list"),
        ({"files": {"model.onnx": {}}}, "without its sha256"),
        ({"files": {"model.onnx": {"sha256": ""}, "../x": {"sha256": ""}}}, "does not list"),
        ({"arch": None}, "not an architecture"),
    ],
)
def test_bad_manifests_are_one_line(made: Path, change: dict[str, Any], message: str) -> None:
    manifest = read_manifest(made) | change
    (made / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=message):
        read_manifest(made)


def test_no_manifest_or_no_json(made: Path) -> None:
    (made / "manifest.json").write_text("{")
    with pytest.raises(InputError, match="is no JSON"):
        read_manifest(made)
    (made / "manifest.json").unlink()
    with pytest.raises(InputError, match="name the folder of a package"):
        read_manifest(made)


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(folder / "run.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")


def test_package_runs_alone_and_agrees(made: Path, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 20, 12, 1), dtype=np.uint8)
    moved = tmp_path / "elsewhere"
    shutil.copytree(made, moved)
    np.save(tmp_path / "images.npy", images)
    done = _run(moved, str(tmp_path / "images.npy"), "--benchmark", "--samples", "20")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    wanted = [INFO.labels[i] for i in predict(made / "model.onnx", images, INFO.preprocessing)]
    assert [line["classes"][0]["label"] for line in lines[:6]] == wanted
    assert 0 < lines[6]["latency_ms"]["median"] <= lines[6]["latency_ms"]["p90"]


def test_a_card_lists_no_thousand_labels(net: NetSpec, tmp_path: Path) -> None:
    labels = tuple(f"n{index:04d}" for index in range(1000))
    folder = _write(net, tmp_path, replace(INFO, labels=labels))
    card = (folder / "README.md").read_text()
    assert "Labels: n0000, n0001 ... n0999; `manifest.json` lists all 1,000 in order." in card
    assert "n0500" not in card
    assert read_manifest(folder)["labels"] == list(labels)


def test_run_cuts_the_middle_of_pictures_where_the_model_wants_it(net: NetSpec, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    cut = replace(INFO.preprocessing, crop=0.875)
    folder = _write(net, tmp_path, replace(INFO, name="cut", preprocessing=cut))
    picture = image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70), dtype=np.uint8))
    picture.save(tmp_path / "a.png")
    size, shorter = cut.resolution, cut.shorter_side
    width, left, top = 70 * shorter // 50, round((70 * shorter // 50 - size) / 2), round((shorter - size) / 2)
    middle = picture.resize((width, shorter), image.Resampling.BILINEAR).crop((left, top, left + size, top + size))
    np.save(tmp_path / "cut.npy", np.asarray(middle))
    done, same = (_run(folder, str(tmp_path / name)) for name in ("a.png", "cut.npy"))
    assert (done.returncode, same.returncode) == (0, 0), done.stderr + same.stderr
    assert json.loads(done.stdout)["classes"] == json.loads(same.stdout)["classes"]
    np.save(tmp_path / "whole.npy", np.asarray(picture))
    refused = _run(folder, str(tmp_path / "whole.npy"))
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert f"want pictures cut to {size} x {size}" in refused.stderr
    assert f"shorter side to {shorter} pixels" in (folder / "README.md").read_text()


def test_run_reads_pictures_and_refuses_others(made: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for name in ("a.png", "a.pgm"):
        image.fromarray(np.full((9, 9), 7, dtype=np.uint8)).save(tmp_path / name)
        assert _run(made, str(tmp_path / name)).returncode == 0
    np.save(tmp_path / "bad.npy", np.zeros((4, 4)))
    done = _run(made, str(tmp_path / "bad.npy"))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert _run(made).returncode == 2
