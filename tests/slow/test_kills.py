"""SIGKILL at thirty random moments of every long command: the same command again loses nothing and ends right.

After each kill, everything that can be seen is whole, every journal has grown and none has changed; at the end nothing
was measured twice and no temporary file is left.
"""

from __future__ import annotations

import csv
import json
import lzma
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from small_workspace import SUPERNET, make_workspace
from tiny_space import TINY
from tiny_training import EPOCHS, RECIPE_TEXT, stripes
from victim import hwnas

from hwnas.core.additive import distinct_blocks
from hwnas.core.files import read_lines
from hwnas.export.package import check_hashes
from hwnas.latency.lut import CorrectedTable
from hwnas.luts import LatencyTable
from hwnas.ofa_supernet import checkpoint
from hwnas.ofa_supernet.curve import EVENTS
from hwnas.ofa_supernet.datasets import READERS
from hwnas.ofa_supernet.folder import SupernetFolder
from hwnas.ofa_supernet.trainer import CHECKPOINT
from hwnas.spaces.ofa_mbv3 import LAYOUTS
from hwnas.workspace import Workspace

pytestmark = pytest.mark.slow

KILLS = 30
RECIPE = RECIPE_TEXT.replace("[[stage]]", "[predictor]\nsubnets = 24\nimages = 30\n\n[[stage]]", 1)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(LAYOUTS, "ofa_mbv3/tiny/v1", TINY)
    monkeypatch.setitem(READERS, "stripes", stripes)
    yield


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


@pytest.fixture
def untouched(tmp_path: Path) -> Path:
    """A workspace to copy."""
    return make_workspace(tmp_path / "untouched", RECIPE, stripes(tmp_path).splits().held)


@dataclass
class Kept:
    """What a workspace had at the last kill, and how often that was more than before."""

    lines: dict[str, bytes] = field(default_factory=dict)
    epochs: list[object] = field(default_factory=list)
    moments: set[int] = field(default_factory=set)

    def grew(self, workspace: Path) -> None:
        """Every whole line and epoch of the last time is there still, unchanged and in its place."""
        for name, before in self.lines.items():
            assert (workspace / name).read_bytes().startswith(before), name
        for path in workspace.rglob("*.jsonl"):
            content = path.read_bytes()
            self.lines[str(path.relative_to(workspace))] = content[: content.rfind(b"\n") + 1]
        epochs = finished_epochs(workspace / "ofa_supernet/new")
        assert epochs[: len(self.epochs)] == self.epochs
        self.epochs = epochs
        self.moments.add(sum(map(len, self.lines.values())) + len(epochs))


def finished_epochs(folder: Path) -> list[object]:
    """One entry an epoch, from the checkpoint or, once that is gone, from the curve."""
    if (folder / CHECKPOINT).exists():
        curve = checkpoint.load(folder / CHECKPOINT)[1].curve
    elif (folder / "weights.safetensors").exists():
        with (folder / "curve.csv").open(newline="") as file:
            curve = list(csv.DictReader(file))
    else:
        return []
    return [(row["stage"], int(row["epoch"]), float(row["seconds"])) for row in curve]


def assert_whole(workspace: Path) -> None:
    """Whatever is visible can be read; `hwnas check` finds fault with folders that are still being made alone."""
    for item in Workspace(workspace).check().items:
        unfinished = item.kind == "supernet" and not (Path(item.path) / "hashes.json").exists()
        assert item.ok or unfinished, item
    for path in workspace.rglob("*"):
        if path.name.startswith(".") or path.parent.name.startswith("."):
            continue
        match path.suffix:
            case ".json":
                json.loads(path.read_text())
            case ".safetensors":
                safetensors.numpy.load(path.read_bytes())
            case ".xz":
                safetensors.numpy.load(lzma.decompress(path.read_bytes()))
            case ".csv":
                with path.open(newline="") as file:
                    assert len({len(row) for row in csv.reader(file)}) == 1, path


def assert_measured_once(folder: Path) -> None:
    """No block and no network has a second measurement."""
    for name in ("samples.jsonl", "networks.jsonl"):
        measured = [line["name"] for line in read_lines(folder / name) if line["kind"] == "measured"]
        assert len(set(measured)) == len(measured) > 0


def kill_thirty_times(untouched: Path, arguments: list[str], scratch: Path) -> Iterator[Path]:
    """Run and kill; yields each workspace in which the command came to its end, the last one included."""
    begun = time.monotonic()
    assert hwnas(arguments, scratch) == 0, (scratch / "log").read_text()
    seconds = time.monotonic() - begun
    workspace = untouched.with_name("ws")
    yield workspace
    rng, kept = np.random.default_rng(0), Kept()
    moments: set[int] = set()
    kills = 0
    renew(untouched, workspace)
    while kills < KILLS:
        code = hwnas(arguments, scratch, float(rng.uniform(0, seconds)))
        assert_whole(workspace)
        kept.grew(workspace)
        if code is None:
            kills += 1
            moments |= kept.moments
            continue
        assert code == 0, (scratch / "log").read_text()
        yield workspace
        renew(untouched, workspace)
        kept = Kept()
    assert len(moments) > 5  # the kills came at moments that differ
    assert hwnas(arguments, scratch) == 0, (scratch / "log").read_text()
    kept.grew(workspace)
    yield workspace


def renew(untouched: Path, workspace: Path) -> None:
    shutil.rmtree(workspace, ignore_errors=True)
    shutil.copytree(untouched, workspace)


def test_profile(untouched: Path, scratch: Path) -> None:
    workspace = untouched.with_name("ws")
    renew(untouched, workspace)
    folder = workspace / "luts/local" / SUPERNET
    space = SupernetFolder(untouched / "ofa_supernet" / SUPERNET).space
    for _ in kill_thirty_times(untouched, ["profile", "--json", "--workspace", str(workspace)], scratch):
        table = LatencyTable.read(folder / "table.csv")
        assert set(table) == set(distinct_blocks(space))
        assert CorrectedTable.load(space, table, folder / "latency_model.json").reachable("p90")[0] > 0
        assert_measured_once(folder)
        assert_finished(workspace)


def test_specialize(untouched: Path, scratch: Path) -> None:
    workspace = untouched.with_name("ws")
    renew(untouched, workspace)
    arguments = ["specialize", "--latency", "1s", "--json", "--workspace", str(workspace)]
    for _ in kill_thirty_times(untouched, arguments, scratch):
        [package] = Workspace(workspace).packages()
        check_hashes(package)
        folder = workspace / "luts/local" / SUPERNET
        assert_measured_once(folder)
        assert len(read_lines(folder / "verdicts.jsonl")) >= 1
        assert_finished(workspace)


def test_train(untouched: Path, scratch: Path) -> None:
    workspace = untouched.with_name("ws")
    renew(untouched, workspace)
    recipe = scratch / "asked.toml"
    recipe.write_text(RECIPE)
    out = workspace / "ofa_supernet/new"
    truth: dict[str, object] = {}
    for _ in kill_thirty_times(untouched, ["train", str(recipe), "--out", str(out), "--resume"], scratch):
        assert len(finished_epochs(out)) == EPOCHS
        assert len(read_lines(out / "subnets.jsonl")) == 24
        names = {path.name for path in out.iterdir()} - {EVENTS}
        assert names == {*json.loads((out / "hashes.json").read_text()), "hashes.json"}
        made = trained(out)
        assert (truth or made) == made
        truth = made
        assert_finished(workspace)


def trained(out: Path) -> dict[str, object]:
    """What two trainings of one recipe have in common, byte for byte: everything but seconds."""
    with (out / "curve.csv").open(newline="") as file:
        curve = [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]
    same = ("weights.safetensors", "subnets.jsonl", "images.safetensors.xz")
    # The predictor tensor by tensor: safetensors writes the entries of its header in any order.
    predictor = safetensors.numpy.load((out / "predictor.safetensors").read_bytes())
    tensors = {name: predictor[name].tobytes() for name in sorted(predictor)}
    return {"curve": curve} | {name: (out / name).read_bytes() for name in same} | tensors


def assert_finished(workspace: Path) -> None:
    assert Workspace(workspace).check().holds
    assert list(workspace.rglob("*.tmp")) == []
