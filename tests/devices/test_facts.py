"""What the probe reads of a machine, from trees that look as the kernel's documentation says (sysfs)."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwnas.devices.runner.facts import cache_bytes

CACHES = (("1", "Data", "48K"), ("1", "Instruction", "32K"), ("2", "Unified", "1024K"), ("3", "Unified", "32768K"))


def test_caches_are_those_of_data(tmp_path: Path) -> None:
    for index, (level, kind, size) in enumerate(CACHES):
        folder = tmp_path / f"sys/devices/system/cpu/cpu2/cache/index{index}"
        folder.mkdir(parents=True)
        for name, text in (("level", level), ("type", kind), ("size", size)):
            (folder / name).write_text(f"{text}\n")
    assert cache_bytes(2, tmp_path) == {"L1": 48 << 10, "L2": 1 << 20, "L3": 32 << 20}


@pytest.mark.parametrize("size", ["", "unknown", "K"])
def test_hidden_caches_are_left_out(tmp_path: Path, size: str) -> None:
    assert cache_bytes(0, tmp_path) == {}
    folder = tmp_path / "sys/devices/system/cpu/cpu0/cache/index0"
    folder.mkdir(parents=True)
    (folder / "type").write_text("Data\n")
    (folder / "size").write_text(size)
    assert cache_bytes(0, tmp_path) == {}
