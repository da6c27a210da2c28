"""docs/cli.md says what --help says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_is_up_to_date() -> None:
    subprocess.run([sys.executable, str(ROOT / "docs" / "make_cli.py"), "--check"], check=True)
