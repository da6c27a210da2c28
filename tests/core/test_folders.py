"""A folder is replaced whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwnas.core import folders
from hwnas.core.folders import replacing


@pytest.mark.parametrize("swaps", [True, False])
def test_a_folder_takes_the_place_of_another(swaps: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not swaps:
        monkeypatch.setattr(folders, "_exchange", lambda first, second: False)
    target = tmp_path / "deep" / "made"
    for name in ("first", "second"):
        with replacing(target) as fresh:
            assert list(fresh.iterdir()) == []
            (fresh / name).write_text(name)
        assert [path.name for path in target.iterdir()] == [name]
    assert [path.name for path in target.parent.iterdir()] == ["made"]
    assert target.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("there", [True, False])
def test_after_an_error_nothing_changed(there: bool, tmp_path: Path) -> None:
    target = tmp_path / "made"
    if there:
        target.mkdir()
        (target / "old").write_text("old")
    with pytest.raises(RuntimeError), replacing(target) as fresh:
        (fresh / "new").write_text("new")
        raise RuntimeError
    assert [path.name for path in tmp_path.rglob("*")] == (["made", "old"] if there else [])
