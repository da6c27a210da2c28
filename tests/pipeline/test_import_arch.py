"""`hwnas import arch`: a document, a text, a file; sizes from three places; one space or all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import hwnas
from net_configs import document
from small_workspace import SUPERNET

import hwnas as package
from hwnas import spaces
from hwnas.core.arch import Arch
from hwnas.core.count import macs, params

SPACE = spaces.load("ofa_mbv3/w1.2/v1")
ARCH = SPACE.arch([3, 5, 7, 3] * 5, [6, 4, 3, 6] * 5, [2, 3, 4, 3, 2], 224)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "net.config"
    path.write_text(json.dumps(document(SPACE, ARCH)))
    return path


def imported(*words: str) -> dict[str, Any]:
    code, out, err = hwnas("import", "arch", *words, "--json")
    assert (code, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found


def test_one_document_on_stdout_and_no_workspace_is_needed(config: Path) -> None:
    found = imported("net.config")
    net = SPACE.lower(ARCH)
    assert list(found) == [
        *("schema", "file", "network", "arch", "space", "resolution", "classes", "macs", "params", "choices"),
    ]
    assert (found["schema"], found["file"], found["network"]) == (1, "net.config", "MobileNetV3")
    assert Arch.from_json(found["arch"]) == ARCH
    assert (found["space"], found["resolution"], found["classes"]) == (SPACE.id, 224, 1000)
    assert (found["macs"], found["params"]) == (macs(net), params(net))
    assert found["choices"]["unit2.block3.kernel"] == 3
    assert "unit0.block2.kernel" not in found["choices"]  # skipped


def test_a_text_for_a_person(config: Path) -> None:
    code, out, _ = hwnas("import", "arch", "net.config")
    assert code == 0
    first, cost, *rest = out.splitlines()
    assert first == "net.config: a network of ofa_mbv3/w1.2/v1 for images of 224 x 224"
    assert cost == f"  cost      {macs(SPACE.lower(ARCH)) / 1e6:.2f} M MACs, {params(SPACE.lower(ARCH)):,} parameters"
    assert "  depth     2 3 4 3 2" in rest
    assert "  kernel    3 5 | 3 5 7 | 3 5 7 3 | 3 5 7 | 3 5" in rest
    assert Arch.from_json(json.loads(rest[-1].removeprefix("  arch "))) == ARCH


def test_the_size_of_the_images(config: Path) -> None:
    (config.parent / "run.config").write_text('{"image_size": 236, "n_epochs": 75}')
    assert imported("net.config")["space"] == "ofa_mbv3/w1.2-r236/v1"
    assert imported("net.config", "--resolution", "192")["resolution"] == 192
    for text in ('{"image_size": [128, 224]}', "[]", "{"):
        (config.parent / "run.config").write_text(text)
        code, _, err = hwnas("import", "arch", "net.config")
        assert code == 2
        assert "run.config" in err


def test_the_architecture_as_a_file(config: Path) -> None:
    imported("net.config", "--output", "made/arch.json")
    assert Arch.from_json(json.loads((config.parent / "made/arch.json").read_text())) == ARCH
    (config.parent / "folder").mkdir()
    code, out, err = hwnas("import", "arch", "net.config", "--output", "folder")
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_in_a_supernet_s_space_alone(config: Path, fresh: Path) -> None:
    words = ("import", "arch", str(config), "--supernet", SUPERNET, "--workspace", str(fresh))
    code, _, err = hwnas(*words)
    assert code == 2
    assert "is not in ofa_mbv3/small/v1: ofa_mbv3/small/v1 takes no images of 224 x 224" in err
    small = package.Workspace(fresh).supernet_folder(SUPERNET)
    space = spaces.load("ofa_mbv3/small/v1")
    (small / "net.config").write_text(json.dumps(document(space, space.largest)))
    found = package.Workspace(fresh).import_arch(small / "net.config", supernet=SUPERNET, resolution=128)
    assert found.arch == space.largest


@pytest.mark.parametrize(
    ("content", "hint"),
    [(None, "No such file"), ("{", "is no JSON"), ("{}", "want a JSON object"), (b"\xff\xfe", "is no JSON")],
)
def test_bad_files_are_one_line(content: Any, hint: str, tmp_path: Path) -> None:
    path = tmp_path / "net.config"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    code, out, err = hwnas("import", "arch", str(path))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert str(path) in err
    assert hint in err


def test_an_import_needs_no_torch() -> None:
    code = "import sys, hwnas.pipeline.import_arch; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
