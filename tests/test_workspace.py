"""A workspace: its paths, `init`, and that the repository's root is one of the same shape."""

from __future__ import annotations

import stat
import subprocess
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import hwnas
from hwnas import workspace as module
from hwnas.core.errors import InputError
from hwnas.ofa_supernet.curve import EVENTS
from hwnas.ofa_supernet.trainer import CHECKPOINT
from hwnas.workspace import LEFT_OUT, TEMPLATE, Workspace

ROOT = Path(__file__).parents[1]


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


UNFINISHED = (CHECKPOINT, f"{EVENTS}/one", "__pycache__/x.pyc", ".recipe.toml.1.a.tmp")
"""What may lie in a supernet's folder and belongs to no template."""


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small template, as an installed wheel would carry it."""
    root = tmp_path / "template"
    readmes = [f"{folder}/README.md" for folder in ("luts", "ofa_supernet", "export")]
    for name in ("hwnas.toml", "devices/local.toml", *readmes):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("" if name == "hwnas.toml" else name)
    supernet = root / "ofa_supernet/fashion-mnist"
    for name in ("__pycache__", EVENTS):
        (supernet / name).mkdir(parents=True)
    for name in ("weights.safetensors", *UNFINISHED):
        (supernet / name).write_bytes(b"bytes")
    for path in (root / "hwnas.toml", supernet / "weights.safetensors"):
        path.chmod(0o444)
    for path in (supernet, root / "devices"):
        path.chmod(0o555)
    monkeypatch.setattr(module, "template_root", lambda: root)
    return root


def test_init_copies_the_template(template: Path, tmp_path: Path) -> None:
    made = Workspace.init(tmp_path / "a" / "ws")
    assert files(made.path) == files(template) - {f"ofa_supernet/fashion-mnist/{name}" for name in UNFINISHED}
    assert made.device_names() == ["local"]
    assert made.supernet_names() == ["fashion-mnist"]


def test_a_read_only_template_makes_a_workspace_that_can_be_written(template: Path, tmp_path: Path) -> None:
    made = Workspace.init(tmp_path / "ws")
    assert all(path.stat().st_mode & stat.S_IWUSR for path in (made.path, *made.path.rglob("*")))


def test_init_fills_an_empty_folder_and_refuses_others(template: Path, tmp_path: Path) -> None:
    (tmp_path / "ws").mkdir()
    Workspace.init(tmp_path / "ws")
    with pytest.raises(InputError, match="not empty"):
        Workspace.init(tmp_path / "ws")
    with pytest.raises(InputError, match="is a file"):
        Workspace.init(template / "hwnas.toml")


@pytest.mark.parametrize("moves", range(5))
def test_an_interrupted_init_goes_on(moves: int, template: Path, tmp_path: Path, monkeypatch) -> None:
    move, left = module._move, [moves]

    def stop(source: Path, target: Path) -> None:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        move(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_move", stop)
        with pytest.raises(KeyboardInterrupt):
            Workspace.init(tmp_path / "ws")
    with pytest.raises(InputError):
        Workspace(tmp_path / "ws")
    assert files(Workspace.init(tmp_path / "ws").path) == files(Workspace.init(tmp_path / "other").path)


def test_init_where_nothing_can_be_written(template: Path) -> None:
    with pytest.raises(InputError, match="cannot write"):
        Workspace.init(template / "hwnas.toml" / "ws")


def test_a_full_disk_is_one_line(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(InputError, match=r"cannot write .*ws: No space left on device; name a folder") as caught:
        Workspace.init(tmp_path / "ws")
    assert "None" not in str(caught.value)


def test_names_that_are_not_there(template: Path, tmp_path: Path) -> None:
    workspace = Workspace.init(tmp_path / "ws")
    with pytest.raises(InputError, match=r"no device is called 'pixel'.*choose one of local"):
        workspace.device_file("pixel")
    with pytest.raises(InputError, match="no supernet is called"):
        workspace.supernet_folder("../fashion-mnist")
    with pytest.raises(InputError, match="hwnas init"):
        hwnas.Workspace(tmp_path)


def test_paths(template: Path, tmp_path: Path) -> None:
    workspace = Workspace.init(tmp_path / "ws")
    assert workspace.device_file("local") == tmp_path / "ws/devices/local.toml"
    assert workspace.table_folder("local", "fashion-mnist") == tmp_path / "ws/luts/local/fashion-mnist"
    assert workspace.export_folder == tmp_path / "ws/export"
    assert workspace.table_folders() == []
    assert workspace.packages() == []
    workspace.table_folder("local", "fashion-mnist").mkdir(parents=True)
    assert workspace.table_folders() == [tmp_path / "ws/luts/local/fashion-mnist"]


def test_init_and_the_root_agree(tmp_path: Path) -> None:
    """What git keeps of the root's workspace folders is what `hwnas init` makes."""
    made = files(Workspace.init(tmp_path / "ws").path)
    folders = sorted({name.split("/")[0] for name in TEMPLATE})
    listed = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        assert made >= set(listed.stdout.split())
    assert {path.split("/")[0] for path in made} == set(folders)


def test_the_wheel_carries_the_same_template() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    hook = project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]
    assert tuple(hook["template"]) == TEMPLATE
    assert tuple(hook["left_out"]) == LEFT_OUT


def test_the_wheel_leaves_out_what_init_does(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    hook = import_module("hatch_template").TemplateHook(
        str(template), {"template": TEMPLATE, "left_out": LEFT_OUT}, None, None, "", "wheel"
    )
    carried: dict[str, dict[str, str]] = {"force_include": {}}
    hook.initialize("standard", carried)
    wanted = files(template) - {f"ofa_supernet/fashion-mnist/{name}" for name in UNFINISHED}
    assert carried["force_include"] == {str(template / name): f"hwnas/_template/{name}" for name in wanted}


@pytest.mark.parametrize("name", UNFINISHED)
def test_git_keeps_nothing_of_an_unfinished_training(name: str) -> None:
    path = f"ofa_supernet/fashion-mnist/{name}"
    done = subprocess.run(["git", "check-ignore", "--no-index", "-q", path], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode in (0, 128)  # 128: this is no clone
