"""Workspaces that are made once and copied: one that nobody measured, one that was, one in a laboratory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import hwnas
from lab import Lab
from small_workspace import SUPERNET, make_workspace

from hwnas.ofa_supernet.folder import SupernetFolder
from hwnas.workspace import Workspace


@pytest.fixture(scope="session")
def unmeasured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole workspace without a table; copy it."""
    return make_workspace(tmp_path_factory.mktemp("unmeasured") / "ws")


@pytest.fixture(scope="session")
def specialized(unmeasured: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A workspace where `specialize` did everything on this machine, and the document that it printed."""
    path = tmp_path_factory.mktemp("specialized") / "ws"
    shutil.copytree(unmeasured, path)
    code, out, err = hwnas("specialize", "--latency", "1s", "--json", "--workspace", str(path))
    assert code == 0, err
    document: dict[str, Any] = json.loads(out)
    return path, document


@pytest.fixture(scope="session")
def profiled(unmeasured: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace whose table was measured in the laboratory; copy it."""
    path = tmp_path_factory.mktemp("profiled") / "ws"
    shutil.copytree(unmeasured, path)
    with pytest.MonkeyPatch.context() as patch:
        _lab(path).install(patch)
        Workspace(path).profile()
    yield path


@pytest.fixture
def fresh(unmeasured: Path, tmp_path: Path) -> Path:
    """A workspace of one's own, without a table."""
    shutil.copytree(unmeasured, tmp_path / "ws")
    return tmp_path / "ws"


@pytest.fixture
def bench(profiled: Path, tmp_path: Path) -> Path:
    """A workspace of one's own with the laboratory's table."""
    shutil.copytree(profiled, tmp_path / "ws")
    return tmp_path / "ws"


@pytest.fixture
def lab(bench: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The laboratory that measured the bench's table; the pipeline measures there."""
    made = _lab(bench)
    made.install(monkeypatch)
    return made


def _lab(workspace: Path) -> Lab:
    return Lab(SupernetFolder(workspace / "ofa_supernet" / SUPERNET).space)
