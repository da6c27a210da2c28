"""The wheel stands alone: built, installed beside nothing of this clone, it makes a workspace."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_a_wheel_makes_a_workspace(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        roots = {name.split("/")[0] for name in archive.namelist()}
        archive.extractall(site)
    assert {name for name in roots if not name.endswith(".dist-info")} == {"hwnas"}
    code = "import hwnas, hwnas.cli; print(hwnas.__file__); raise SystemExit(hwnas.cli.run(['init', 'ws']))"
    made = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout.startswith(str(site))
    assert (tmp_path / "ws" / "hwnas.toml").is_file()
    assert (tmp_path / "ws" / "ofa_supernet" / "fashion-mnist").is_dir()
    checked = subprocess.run(
        [sys.executable, "-m", "hwnas.cli", "check"],
        cwd=tmp_path / "ws",
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
