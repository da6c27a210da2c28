"""The card of a supernet says what it was trained on, how, at what cost, and what it can do."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_space import TINY
from tiny_training import PROBE_IMAGES, SANDWICH_TEXT, stripes

from hwnas.evaluators.predictor import FitReport
from hwnas.ofa_supernet import trainer
from hwnas.ofa_supernet.datasets import READERS
from hwnas.ofa_supernet.folder import CARD, CURVE, RECIPE, SupernetFolder
from hwnas.pipeline.card import supernet_card
from hwnas.pipeline.train import train_supernet
from hwnas.spaces.ofa_mbv3 import LAYOUTS

MEASURED = """
about = "Stripes: made up, CC0."

[predictor]
subnets = 20
searched = 0.0
images = 30
calibration_images = 16
"""


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SupernetFolder:
    monkeypatch.setitem(LAYOUTS, "ofa_mbv3/tiny/v1", TINY)
    monkeypatch.setitem(READERS, "stripes", stripes)
    monkeypatch.setattr(trainer, "PROBE_IMAGES", PROBE_IMAGES)
    recipe = tmp_path / "recipe.toml"
    before, stages = SANDWICH_TEXT.split("[augment]")
    recipe.write_text(f"{before}{MEASURED}\n[augment]{stages}")
    return train_supernet(recipe, tmp_path / "stripes")


def test_the_card_of_a_training(made: SupernetFolder) -> None:
    card = (made.path / CARD).read_text()
    assert card.startswith(
        "# stripes\n\nA once-for-all supernet of the space `ofa_mbv3/tiny/v1`, trained on stripes.\n"
    )
    assert "| training | 3 epochs (sandwich 3 by the sandwich rule), 0.0 hours on " in card
    assert "threads |" in card
    assert "| accuracy on the 20 test images | smallest " in card
    assert "accuracy of 20 subnets, 0 of them found by searches" in card
    assert "(each on 30 of 36 held-out training images" in card
    assert "among the better half" in card
    assert "`images.safetensors.xz` holds the 20 test images" in card
    assert card.endswith("\nStripes: made up, CC0.\n")


def test_what_is_not_known_is_not_said(made: SupernetFolder) -> None:
    """A curve of an earlier version has no hardware, a predictor none of the ranks; the images may stay elsewhere."""
    curve = made.path / CURVE
    curve.write_text("stage,epoch,loss,seconds\nsandwich,1,1.0,7200\n")
    recipe = made.path / RECIPE
    recipe.write_text(recipe.read_text().replace("pack = true", "pack = false"))
    report = FitReport(samples=20, kendall_tau=0.5, rmse=0.01, kernel_share=0.5, seed=0)
    sizes = {"test": 20, "predictor": 36, "calibration": 10, "choice": 5}
    card = supernet_card(SupernetFolder(made.path), [0.5, 0.7], report, sizes, {"smallest": 0.5})
    assert "2.0 hours |" in card
    assert "Kendall's tau 0.500, RMSE 1.00 points" in card
    assert "The images are not here: `hwnas specialize` takes 20 test images" in card
