"""One architecture trained by itself: as long as the recipe says, on labels, resumable as a supernet's training is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_space import TINY
from tiny_training import PROBE_IMAGES, RECIPE_TEXT, SANDWICH_TEXT, stripes

from hwnas.core.errors import InputError
from hwnas.ofa_supernet import trainer
from hwnas.ofa_supernet.alone import train_alone
from hwnas.ofa_supernet.recipe import parse_recipe
from hwnas.spaces.ofa_mbv3 import LAYOUTS


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    from hwnas.ofa_supernet.datasets import READERS

    monkeypatch.setitem(LAYOUTS, "ofa_mbv3/tiny/v1", TINY)
    monkeypatch.setitem(READERS, "stripes", stripes)
    monkeypatch.setattr(trainer, "PROBE_IMAGES", PROBE_IMAGES)


class StoppedError(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("text", [RECIPE_TEXT, SANDWICH_TEXT], ids=["shrinking", "sandwich"])
def test_it_is_trained_through_all_stages_and_resumes(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    recipe = parse_recipe(text, tmp_path)
    splits, arch = stripes(tmp_path).splits(), recipe.open_space().smallest
    whole = train_alone(recipe, splits, arch, tmp_path / "whole")
    steps = 0

    def stop(stage: str, done: int, total: int) -> None:
        nonlocal steps
        steps += 1
        if steps == 5:
            raise StoppedError

    with pytest.raises(StoppedError):
        train_alone(recipe, splits, arch, tmp_path / "parts", progress=stop)
    again = train_alone(recipe, splits, arch, tmp_path / "parts")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    other = recipe.open_space().largest
    with pytest.raises(InputError, match="was trained with another recipe"):
        train_alone(recipe, splits, other, tmp_path / "parts")
