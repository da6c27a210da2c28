"""The other package that is called hwnas is noticed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(("provides", "code"), [("hwnas/__init__.py", 2), ("slimnet/__init__.py", 0)])
def test_slimnet_is_refused_where_it_provides_hwnas(provides: str, code: int, tmp_path: Path) -> None:
    info = tmp_path / "slimnet-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slimnet\nVersion: 1.0\n")
    (info / "RECORD").write_text(f"{provides},,\n")
    script = f"import sys; sys.path.append({str(tmp_path)!r}); from hwnas.cli import main; main(['--version'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert ("pip uninstall slimnet" in done.stderr) == (code == 2)
