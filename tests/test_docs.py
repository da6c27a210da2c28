"""What the documentation shows can be used as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hwnas import spaces
from hwnas.devices.profile import load_profile
from hwnas.pipeline.opening import build_simulator

DOCS = Path(__file__).parent.parent / "docs"
FILES = re.findall(r"```toml\n(.*?)```", (DOCS / "simulators.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("text", FILES, ids=lambda text: text.splitlines()[0])
@pytest.mark.parametrize("options", [False, True], ids=["as it stands", "with the options"])
def test_each_device_file_simulates(text: str, options: bool, tmp_path: Path) -> None:
    name = text.split('"')[1]
    if options:
        text = re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE).replace('"pipeline"', '"turns"')
    (tmp_path / f"{name}.toml").write_text(text)
    profile = load_profile(tmp_path / f"{name}.toml")
    assert profile.simulator is not None
    space = spaces.load("ofa_mbv3/small/v1")
    cost = build_simulator(name, profile.simulator).simulate(space.lower(space.smallest))
    assert cost.latency_ms > 0
    assert cost.energy_mj > 0


def test_there_is_one_for_each_simulator() -> None:
    assert {re.search(r'model = "(\w+)"', text)[1] for text in FILES} == {"roofline", "systolic", "fpga_tiles"}


def test_the_examples_of_latency_models_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "latency-models.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "latency-models.md", "exec"), {})
