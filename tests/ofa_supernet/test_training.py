"""Progressive shrinking on a tiny space: it learns, and a stopped training goes on without a difference."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_space import TINY
from tiny_training import EPOCHS, PROBE_IMAGES, RECIPE_TEXT, stripes

from hwnas.core.errors import InputError
from hwnas.ofa_supernet import checkpoint
from hwnas.ofa_supernet import train as training
from hwnas.ofa_supernet.data import READERS, Split
from hwnas.ofa_supernet.recipe import Recipe, Stage, read_recipe
from hwnas.ofa_supernet.train import CHECKPOINT, CURVE, RECIPE, TEACHER, WEIGHTS, Trainer, train
from hwnas.spaces.ofa_mbv3 import LAYOUTS


class StoppedError(Exception):
    """Stands for a kill."""


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAYOUTS, "ofa_mbv3/tiny/v1", TINY)
    monkeypatch.setitem(READERS, "stripes", stripes)
    monkeypatch.setattr(training, "PROBE_IMAGES", PROBE_IMAGES)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "asked.toml"
    path.write_text(RECIPE_TEXT)
    return path


def curve(folder: Path) -> list[dict[str, str]]:
    with (folder / CURVE).open(newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def stop_in(epoch: int) -> object:
    """Progress that stops training in the middle of this epoch (from 0): the last checkpoint is the one before."""
    started: set[str] = set()

    def progress(stage: str, done: int, total: int) -> None:
        if stage != "teacher":
            started.add(stage)
            if len(started) > epoch:
                raise StoppedError

    return progress


def test_a_stopped_training_goes_on_without_a_difference(tmp_path: Path, recipe: Path) -> None:
    train(recipe, tmp_path / "whole")
    assert len(curve(tmp_path / "whole")) == EPOCHS
    for epoch in range(1, EPOCHS):
        with pytest.raises(StoppedError):
            train(recipe, tmp_path / "parts", resume=True, progress=stop_in(1))  # type: ignore[arg-type]
        assert len(checkpoint.load(tmp_path / "parts" / CHECKPOINT)[2].curve) == epoch
        torch.rand(epoch)  # whatever the process drew elsewhere does not matter
    train(recipe, tmp_path / "parts", resume=True)
    assert (tmp_path / "parts" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert curve(tmp_path / "parts") == curve(tmp_path / "whole")


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_a_damaged_teacher_is_made_again(damage: bytes | None, tmp_path: Path, recipe: Path) -> None:
    train(recipe, tmp_path / "whole")
    with pytest.raises(StoppedError):
        train(recipe, tmp_path / "out", progress=stop_in(3))  # type: ignore[arg-type]
    teacher = tmp_path / "out" / TEACHER
    teacher.write_bytes(teacher.read_bytes()[:-100] if damage is None else damage)
    train(recipe, tmp_path / "out", resume=True)
    assert (tmp_path / "out" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()


def test_what_a_finished_training_leaves(tmp_path: Path, recipe: Path) -> None:
    supernet = train(recipe, tmp_path / "out")
    assert {file.name for file in (tmp_path / "out").iterdir()} == {WEIGHTS, CURVE, RECIPE}
    assert (tmp_path / "out" / RECIPE).read_text() == RECIPE_TEXT
    stored = checkpoint.load_weights(tmp_path / "out" / WEIGHTS)
    assert all(torch.equal(stored[name], value) for name, value in supernet.state_dict().items())
    rows = curve(tmp_path / "out")
    assert [(row["stage"], row["epoch"]) for row in rows[2:4]] == [("full", "3"), ("kernel", "1")]
    assert float(rows[-1]["largest"]) > 0.5  # of four classes
    again = train(recipe, tmp_path / "out", resume=True)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), supernet.parameters(), strict=True))


def test_a_folder_in_use_is_not_overwritten(tmp_path: Path, recipe: Path) -> None:
    with pytest.raises(StoppedError):
        train(recipe, tmp_path / "out", progress=stop_in(1))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="holds an unfinished training: go on with --resume"):
        train(recipe, tmp_path / "out")
    checkpoint.save_weights(tmp_path / "out" / WEIGHTS, {"a": torch.zeros(1)}, {})
    (tmp_path / "out" / CHECKPOINT).unlink()
    with pytest.raises(InputError, match="holds a trained supernet: name another folder"):
        train(recipe, tmp_path / "out")


def test_another_recipe_does_not_resume(tmp_path: Path, recipe: Path) -> None:
    with pytest.raises(StoppedError):
        train(recipe, tmp_path / "out", progress=stop_in(1))  # type: ignore[arg-type]
    recipe.write_text(RECIPE_TEXT.replace("seed = 5", "seed = 6"))
    with pytest.raises(InputError, match="was trained with another recipe"):
        train(recipe, tmp_path / "out", resume=True)


PREDICTOR = "[predictor]\nsubnets = 20\n\n[[stage]]"


def test_a_finished_training_takes_another_predictor_and_nothing_else(tmp_path: Path, recipe: Path) -> None:
    out = tmp_path / "out"
    supernet = train(recipe, out)
    (out / TEACHER).write_bytes(b"of a killed end")
    other = RECIPE_TEXT.replace("[[stage]]", PREDICTOR, 1)
    recipe.write_text(other)
    again = train(recipe, out, resume=True)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), supernet.parameters(), strict=True))
    assert {file.name for file in out.iterdir()} == {WEIGHTS, CURVE, RECIPE}
    assert (out / RECIPE).read_text() == other
    for change in ({"seed = 5": "seed = 6"}, {"epochs = 3": "epochs = 4"}, {'"both"': '"both", "neither"'}):
        [(old, new)] = change.items()
        recipe.write_text(other.replace(old, new))
        with pytest.raises(
            InputError, match=r"was trained with another recipe: only \[predictor\] may change"
        ) as caught:
            train(recipe, out, resume=True)
        assert len(str(caught.value).splitlines()) == 1
    assert (out / RECIPE).read_text() == other


def test_weights_of_another_space_are_one_line(tmp_path: Path, recipe: Path) -> None:
    train(recipe, tmp_path / "out")
    checkpoint.save_weights(tmp_path / "out" / WEIGHTS, {"a": torch.zeros(1)}, {})
    with pytest.raises(InputError, match="does not fit ofa_mbv3/tiny/v1"):
        train(recipe, tmp_path / "out", resume=True)


def test_a_file_is_no_folder_to_train_into(tmp_path: Path, recipe: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match="cannot write"):
        train(recipe, tmp_path / "out")


def test_a_label_without_a_name_is_one_line(tmp_path: Path, recipe: Path) -> None:
    recipe.write_text(RECIPE_TEXT.replace(', "both"', ""))
    with pytest.raises(InputError, match="stripes has 4 classes, labels in the recipe name 3: name each"):
        train(recipe, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_teacher_s_progress_comes_to_its_end(tmp_path: Path, recipe: Path) -> None:
    told: list[tuple[int, int]] = []

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "teacher":
            told.append((done, total))

    train(recipe, tmp_path / "out", progress=progress)
    assert told == [(64, 128), (128, 128)]


def test_a_teacher_left_behind_is_not_another_training_s(tmp_path: Path, recipe: Path) -> None:
    train(recipe, tmp_path / "whole")
    with pytest.raises(StoppedError):
        train(recipe, tmp_path / "out", progress=stop_in(4))  # type: ignore[arg-type]
    (tmp_path / "out" / CHECKPOINT).unlink()
    content = bytearray((tmp_path / "out" / TEACHER).read_bytes())
    content[-64:] = bytes(64)
    (tmp_path / "out" / TEACHER).write_bytes(content)
    train(recipe, tmp_path / "out")
    assert (tmp_path / "out" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()


def test_no_held_out_image_is_trained_on(tmp_path: Path, recipe: Path) -> None:
    """Training sees its own images alone: nothing changes when predictor, choice and test images do."""
    read = read_recipe(recipe).model_copy(update={"stage": read_recipe(recipe).stage[:2]})
    weights = []
    for swapped in (False, True):
        splits = stripes(tmp_path)
        for name in ("predictor", "choice", "test") if swapped else ():
            splits[name] = Split(255 - splits[name].images, splits[name].labels)
        trainer = Trainer(read, splits, tmp_path / str(swapped), lambda stage, done, total: None)
        trainer.run()
        weights.append(trainer.supernet.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_learning_rate_warms_up_and_ends_near_zero() -> None:
    stage = Stage(name="s", epochs=1, learning_rate=0.2, warmup_steps=10)
    rates = [training._learning_rate(stage, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.02)
    assert max(rates) == pytest.approx(0.2)
    assert np.argmax(rates) in (9, 10)
    assert np.all(np.diff(rates[10:]) < 0)
    assert rates[-1] < 0.001


def test_shared_statistics_move_with_the_batch(recipe: Path) -> None:
    """Running statistics of the full network are views: a training step of a slice updates its part in place."""
    space = Recipe.model_validate(read_recipe(recipe).model_dump()).open_space()
    supernet = training.OfaSupernet(space)
    images = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    supernet(images, supernet.net(space.smallest), training.BY_BATCH)
    moved = supernet.full.get_buffer("blocks.1.depth_conv.norm.running_mean") != 0
    middle = next(op for op in supernet.net(space.smallest).ops if op.name == "blocks.1.depth_conv").out_shape[0]
    assert moved[:middle].any()
    assert not moved[middle:].any()
