"""What `hwnas` offers is exactly what it says."""

from __future__ import annotations

import subprocess
import sys

import pytest

import hwnas


def test_every_public_name_is_there_and_no_other() -> None:
    assert sorted(hwnas.__all__) == ["Workspace", "__version__"]
    for name in hwnas.__all__:
        assert getattr(hwnas, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = hwnas.nothing  # type: ignore[attr-defined]


def test_importing_hwnas_imports_nothing_heavy() -> None:
    code = "import hwnas, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numpy", "onnx", "pandas", "pydantic"} & set(loaded)


def test_a_workspace_needs_no_torch() -> None:
    code = "import hwnas, sys; hwnas.Workspace; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "onnx", "pandas", "rich"} & set(loaded)
