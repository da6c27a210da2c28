"""docs/cli.md says what --help says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_page_is_up_to_date() -> None:
    subprocess.run([sys.executable, str(ROOT / "docs" / "make_cli.py"), "--check"], check=True)


@pytest.mark.parametrize("words", [[], ["specialize"]])
def test_the_page_shows_what_the_program_prints(words: list[str]) -> None:
    command = [sys.executable, "-m", "hwnas.cli", *words, "--help"]
    env = os.environ | {"COLUMNS": "100"}
    printed = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    shown = (ROOT / "docs" / "cli.md").read_text().split(f"\n## {' '.join(['hwnas', *words])}\n\n```\n")[1]
    assert shown.split("```\n")[0] == printed
    assert "-h, --help" in printed
