"""The wheel stands alone: built, installed where nothing of this clone is seen, it does the main job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from shipped import ROOT, shipped

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def bin_folder(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of a fresh environment with the wheel; its dependencies are those installed here."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin/python"
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)
    [site] = home.glob("lib/python3*/site-packages")
    # A folder named in a .pth is searched, but its own .pth files are not read: the editable hwnas stays unseen.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


def there(command: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in `folder`, with nothing of this environment but an empty home."""
    env = {"PATH": os.defpath, "HOME": str(folder)}
    return subprocess.run(list(map(str, command)), cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_what_it_carries(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"hwnas"}
    assert "hwnas/_template/hwnas.toml" in names
    assert "hwnas/export/run.py" in names
    assert not [name for name in names if name.endswith(("checkpoint.safetensors", ".tmp"))]


def test_the_main_job_outside_any_clone(bin_folder: Path, tmp_path: Path) -> None:
    shipped()
    found = there([bin_folder / "python", "-c", "import hwnas; print(hwnas.__file__)"], tmp_path)
    assert found.stdout.startswith(str(bin_folder.parent)), found
    made = there([bin_folder / "hwnas", "init", "ws"], tmp_path)
    assert made.returncode == 0, made.stderr
    workspace = tmp_path / "ws"
    done = there([bin_folder / "hwnas", "specialize", "--latency", "2ms", "--json"], workspace)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["holds"] is True
    assert document["measured"]["latency_ms"]["p90"] <= 2
    assert document["accuracy"]["images"] == 10_000
    checked = there([bin_folder / "hwnas", "check"], workspace)
    assert checked.returncode == 0, checked.stdout
    timed = there([bin_folder / "python", workspace / document["package"] / "run.py", "--benchmark"], tmp_path)
    assert json.loads(timed.stdout)["latency_ms"]["p90"] > 0, timed.stderr
