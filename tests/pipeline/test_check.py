"""`hwnas check` names every broken file, and what is wrong with it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from small_workspace import RECIPE

from hwnas.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "hwnas.toml").write_text('supernet = "tiny"\n')
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices/local.toml").write_text('name = "local"\n')
    folder = tmp_path / "ofa_supernet/tiny"
    folder.mkdir(parents=True)
    names = ("weights.safetensors", "predictor.safetensors", "images.safetensors.xz")
    contents = {"recipe.toml": RECIPE, **{name: name for name in names}}
    for name, content in contents.items():
        (folder / name).write_text(content)
    hashes = {name: hashlib.sha256(content.encode()).hexdigest() for name, content in contents.items()}
    (folder / "hashes.json").write_text(json.dumps(hashes))
    return Workspace(tmp_path)


def broken(workspace: Workspace) -> list[tuple[str, str]]:
    return [(item.kind, item.detail) for item in Workspace(workspace.path).check().items if not item.ok]


def test_a_whole_workspace_holds(workspace: Workspace) -> None:
    report = workspace.check()
    assert report.holds, report
    assert [item.kind for item in report.items] == ["settings", "device", "supernet"]
    assert report.to_json()["holds"] is True


def test_settings_that_name_nothing(workspace: Workspace) -> None:
    workspace.settings_file.write_text('device = "pixel"\nsupernet = "tiny"\n')
    [(kind, detail)] = broken(workspace)
    assert kind == "settings"
    assert "choose one of local" in detail


def test_a_device_file_with_another_name(workspace: Workspace) -> None:
    workspace.device_file("local").write_text('name = "remote"\n')
    assert [kind for kind, _ in broken(workspace)] == ["device"]


@pytest.mark.parametrize("damage", ["change", "remove", "unlist"])
def test_a_damaged_supernet(damage: str, workspace: Workspace) -> None:
    folder = workspace.supernet_folder("tiny")
    if damage == "change":
        (folder / "weights.safetensors").write_bytes(b"weight")
    elif damage == "remove":
        (folder / "weights.safetensors").unlink()
    else:
        (folder / "hashes.json").write_text("[")
    [(kind, detail)] = broken(workspace)
    assert kind == "supernet"
    assert str(folder) in detail


def test_a_truncated_table_and_a_package_without_manifest(workspace: Workspace) -> None:
    table = workspace.table_folder("local", "tiny") / "table.csv"
    table.parent.mkdir(parents=True)
    table.write_text("key,median_ms\n")
    (workspace.export_folder / "model").mkdir(parents=True)
    assert [kind for kind, _ in broken(workspace)] == ["table", "package"]


def test_images_that_stay_elsewhere_are_not_asked_for(workspace: Workspace) -> None:
    folder = workspace.supernet_folder("tiny")
    (folder / "images.safetensors.xz").unlink()
    hashes = json.loads((folder / "hashes.json").read_text())
    del hashes["images.safetensors.xz"]
    (folder / "hashes.json").write_text(json.dumps(hashes))
    assert "does not list images.safetensors.xz" in broken(workspace)[0][1]
    recipe = "pack = false\n" + RECIPE
    (folder / "recipe.toml").write_text(recipe)
    hashes["recipe.toml"] = hashlib.sha256(recipe.encode()).hexdigest()
    (folder / "hashes.json").write_text(json.dumps(hashes))
    assert broken(workspace) == []
