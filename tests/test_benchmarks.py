"""Every benchmark runs with --quick and ends with one JSON line; what such a run says backs no claim."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hwnas.workspace import Workspace

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(path for path in (ROOT / "benchmarks").glob("*.py") if not path.name.startswith("_"))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A profiled workspace of the shipped supernet."""
    made = Workspace.init(tmp_path_factory.mktemp("benchmarks") / "ws")
    made.profile()
    return made.path


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_quick_run_ends_with_one_json_line(script: Path, workspace: Path, tmp_path: Path) -> None:
    if "from _data import" in script.read_text() and "HWNAS_DATA" not in os.environ:
        pytest.skip("set HWNAS_DATA to the folder that holds help_latency/, latbench_brpnas/ and the others")
    words = ["--quick", "--workspace", str(workspace), "--cache", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, str(script), *words], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    document = json.loads(done.stdout.splitlines()[-1])
    assert set(document) == {"name", "quick", "figures", "environment"}
    assert (document["name"], document["quick"]) == (script.stem, True)
    assert document["figures"]
    assert {"cpu", "cores", "onnxruntime", "date"} <= set(document["environment"])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_help_says_what_is_measured(script: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(script), "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    assert "--quick" in done.stdout
    assert len(done.stdout.split("options:")[0].splitlines()) > 5


def test_every_script_has_a_section_in_the_results() -> None:
    text = (ROOT / "docs" / "results.md").read_text()
    assert [path.stem for path in SCRIPTS if f"`benchmarks/{path.name}" not in text] == []
