"""Training on a tiny space: it learns, and one that is killed at any step goes on without a difference."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_space import TINY
from tiny_training import EPOCHS, PROBE_IMAGES, RECIPE_TEXT, SANDWICH_TEXT, stripes

from hwnas.core.arch import Arch
from hwnas.core.errors import InputError
from hwnas.core.progress import Progress, silent
from hwnas.ofa_supernet import checkpoint, trainer
from hwnas.ofa_supernet.asked import asked
from hwnas.ofa_supernet.curve import EVENTS
from hwnas.ofa_supernet.data import Split
from hwnas.ofa_supernet.datasets import READERS, Splits
from hwnas.ofa_supernet.folder import CURVE, RECIPE, WEIGHTS
from hwnas.ofa_supernet.network import OfaSupernet
from hwnas.ofa_supernet.recipe import Recipe, Stage, parse_recipe
from hwnas.ofa_supernet.sampling import OneArch
from hwnas.ofa_supernet.train import train
from hwnas.ofa_supernet.trainer import CHECKPOINT, Trainer
from hwnas.spaces.ofa_mbv3 import LAYOUTS

RECIPES = {"shrinking": RECIPE_TEXT, "sandwich": SANDWICH_TEXT}
STEPS = {"shrinking": 2 * EPOCHS, "sandwich": 3 * 3}
"""Of each recipe; those at three resolutions have as many images in each step."""


class StoppedError(Exception):
    """Stands for a kill."""


@pytest.fixture(scope="module", autouse=True)
def tiny() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LAYOUTS, "ofa_mbv3/tiny/v1", TINY)
        patch.setitem(READERS, "stripes", stripes)
        patch.setattr(trainer, "PROBE_IMAGES", PROBE_IMAGES)
        yield


def trained(text: str, out: Path, resume: bool = False, progress: Progress = silent) -> OfaSupernet:
    return train(text, stripes(out).splits(), out, resume, progress)


def curve(folder: Path) -> list[dict[str, str]]:
    with (folder / CURVE).open(newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a whole training by each recipe."""
    done: dict[str, Path] = {}

    def whole(name: str) -> Path:
        if name not in done:
            done[name] = tmp_path_factory.mktemp(name) / "out"
            trained(RECIPES[name], done[name])
        return done[name]

    return whole


def stop_after(steps: int) -> Progress:
    """Progress that stops training when so many steps are done, before any is kept."""
    left = [steps]

    def progress(stage: str, done: int, total: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise StoppedError

    return progress


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("name", RECIPES)
def test_killed_at_any_step_it_ends_with_the_same_weights(
    name: str, unbroken: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """With a checkpoint after every step, after some, or after epochs alone; killed twice."""
    out = tmp_path_factory.mktemp("parts") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "CHECKPOINT_SECONDS", data.draw(st.sampled_from([0.0, 0.03, 1e9]), label="seconds"))
        for kill in range(2):
            steps = data.draw(st.integers(0, STEPS[name] - 1), label="steps")
            with pytest.raises(StoppedError) if kill == 0 else pytest.MonkeyPatch.context():
                try:
                    trained(RECIPES[name], out, resume=True, progress=stop_after(steps))
                except StoppedError:
                    if kill == 0:
                        raise
            torch.rand(3)  # whatever the process drew elsewhere does not matter
        trained(RECIPES[name], out, resume=True)
    assert (out / WEIGHTS).read_bytes() == (unbroken(name) / WEIGHTS).read_bytes()
    assert curve(out) == curve(unbroken(name))


def test_a_checkpoint_after_each_step_has_that_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(StoppedError):
        trained(SANDWICH_TEXT, tmp_path, progress=stop_after(4))
    parts, state = checkpoint.load(tmp_path / CHECKPOINT)
    assert (state.stage, state.epoch, state.step) == (0, 1, 1)
    assert parts.keys() == {"weights", "momentum", "average"}
    assert state.averaged == 4


def test_what_a_finished_training_leaves(unbroken: Callable[[str], Path], tmp_path: Path) -> None:
    out = unbroken("shrinking")
    assert {file.name for file in out.iterdir()} == {WEIGHTS, CURVE, RECIPE, EVENTS}
    assert (out / RECIPE).read_text() == RECIPE_TEXT
    rows = curve(out)
    assert len(rows) == EPOCHS
    assert [(row["stage"], row["epoch"]) for row in rows[2:4]] == [("full", "3"), ("kernel", "1")]
    assert float(rows[-1]["largest"]) > 0.5  # of four classes
    stored = checkpoint.load_weights(out / WEIGHTS)
    again = trained(RECIPE_TEXT, out, resume=True)
    assert all(torch.equal(stored[name], value) for name, value in again.state_dict().items())


def test_the_sandwich_rule_learns(tmp_path: Path) -> None:
    """Without what makes three epochs too few."""
    text = SANDWICH_TEXT.split("[augment]")[0].replace("average = 0.9", "").replace("dropout = 0.2", "dropout = 0.0")
    stage = "[[stage]]" + SANDWICH_TEXT.split("[[stage]]")[1].replace("epochs = 3", "epochs = 10")
    trained(text + stage, tmp_path / "out")
    last = curve(tmp_path / "out")[-1]
    assert float(last["smallest"]) > 0.5
    assert float(last["largest"]) > 0.5


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_resumes_as_well(precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    text = SANDWICH_TEXT.replace("seed = 5", f'seed = 5\nprecision = "{precision}"')
    trained(text, tmp_path / "whole")
    with pytest.raises(StoppedError):
        trained(text, tmp_path / "parts", progress=stop_after(5))
    trained(text, tmp_path / "parts", resume=True)
    weights = [(tmp_path / name / WEIGHTS).read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]
    assert all(np.isfinite(float(row["loss"])) for row in curve(tmp_path / "whole"))


def test_progress_tells_the_last_accuracies(tmp_path: Path) -> None:
    told: list[str] = []
    trained(SANDWICH_TEXT, tmp_path / "out", progress=lambda stage, done, total: told.append(stage))
    first = curve(tmp_path / "out")[0]
    accuracies = ", ".join(f"{name} {float(first[name]):.1%}" for name in ("smallest", "middle", "largest"))
    assert list(dict.fromkeys(told))[:2] == ["sandwich 1/3", f"sandwich 2/3 ({accuracies})"]


def test_a_folder_in_use_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        trained(RECIPE_TEXT, tmp_path / "out", progress=stop_after(3))
    with pytest.raises(InputError, match="holds an unfinished training: go on with --resume"):
        trained(RECIPE_TEXT, tmp_path / "out")
    checkpoint.save_weights(tmp_path / "out" / WEIGHTS, {"a": torch.zeros(1)}, {})
    (tmp_path / "out" / CHECKPOINT).unlink()
    with pytest.raises(InputError, match="holds a trained supernet: name another folder"):
        trained(RECIPE_TEXT, tmp_path / "out")


def test_another_recipe_does_not_resume(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        trained(RECIPE_TEXT, tmp_path / "out", progress=stop_after(3))
    with pytest.raises(InputError, match="was trained with another recipe"):
        trained(RECIPE_TEXT.replace("seed = 5", "seed = 6"), tmp_path / "out", resume=True)


PREDICTOR = "[predictor]\nsubnets = 20\n\n[[stage]]"


def test_a_finished_training_takes_another_predictor_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "out"
    supernet = trained(RECIPE_TEXT, out)
    other = RECIPE_TEXT.replace("[[stage]]", PREDICTOR, 1)
    again = trained(other, out, resume=True)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), supernet.parameters(), strict=True))
    assert (out / RECIPE).read_text() == other
    for change in ({"seed = 5": "seed = 6"}, {"epochs = 3": "epochs = 4"}, {'"both"': '"both", "neither"'}):
        [(old, new)] = change.items()
        with pytest.raises(
            InputError, match=r"was trained with another recipe: only \[predictor\] may change"
        ) as caught:
            trained(other.replace(old, new), out, resume=True)
        assert len(str(caught.value).splitlines()) == 1
    assert (out / RECIPE).read_text() == other


def test_weights_of_another_space_are_one_line(tmp_path: Path) -> None:
    trained(RECIPE_TEXT, tmp_path / "out")
    checkpoint.save_weights(tmp_path / "out" / WEIGHTS, {"a": torch.zeros(1)}, {})
    with pytest.raises(InputError, match="does not fit ofa_mbv3/tiny/v1"):
        trained(RECIPE_TEXT, tmp_path / "out", resume=True)


def test_a_file_is_no_folder_to_train_into(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match="cannot write"):
        trained(RECIPE_TEXT, tmp_path / "out")


def test_a_label_without_a_name_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="stripes has 4 classes, labels in the recipe name 3: name each"):
        trained(RECIPE_TEXT.replace(', "both"', ""), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", RECIPES.values(), ids=RECIPES)
def test_no_held_out_image_is_trained_on(tmp_path: Path, text: str) -> None:
    """Training sees its own images alone: nothing changes when predictor, choice and test images do."""
    weights = []
    for swapped in (False, True):
        splits = stripes(tmp_path).splits()
        held = dict(splits.held)
        for name in ("predictor", "choice", "test") if swapped else ():
            held[name] = Split(255 - held[name].images, held[name].labels)
        out = tmp_path / str(swapped)
        weights.append(train(text, Splits(splits.train, held), out).state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_learning_rate_warms_up_and_ends_near_zero() -> None:
    stage = Stage(name="s", epochs=1, learning_rate=0.2, warmup_steps=10)
    rates = [trainer._learning_rate(stage, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.02)
    assert max(rates) == pytest.approx(0.2)
    assert np.argmax(rates) in (9, 10)
    assert np.all(np.diff(rates[10:]) < 0)
    assert rates[-1] < 0.001


Gradients = dict[str, torch.Tensor]


def gradients(recipe: Recipe, splits: Splits, arch: Arch | None = None) -> Gradients:
    """Of the first step, before it moves the weights; of one architecture alone where one is given."""
    samplers = None if arch is None else (lambda stage: OneArch(arch))
    network = OfaSupernet(recipe.open_space(), recipe.seed)
    one = Trainer(recipe, splits, network, Path("nowhere"), samplers=samplers)
    stage = recipe.stage[0]
    one._begin(stage)
    one._move = lambda: None  # type: ignore[method-assign]
    sampler = one.samplers(stage)
    [step, *_] = one._plan(sampler, stage)
    one._step(stage, sampler, step, one._generator(0, 0))
    return {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in network.named_parameters()}


@pytest.mark.parametrize("distill", [1.0, 0.0])
def test_in_the_sandwich_only_the_largest_sees_labels(distill: float, tmp_path: Path) -> None:
    """With other labels, what the smallest adds to the gradient stays the same: it learns from the largest alone."""
    text = SANDWICH_TEXT.replace("mixup = 0.3", "mixup = 0.0").replace("dropout = 0.2", "dropout = 0.0")
    text = text.replace("subnets = 2", "subnets = 0\nresolutions = [8]").replace(
        "distill = 1.0", f"distill = {distill}"
    )
    recipe = parse_recipe(text, tmp_path)
    space, splits = recipe.open_space(), stripes(tmp_path).splits()
    train_split = splits.train.take(np.arange(len(splits.train)))
    assert isinstance(train_split, Split)
    largest = Arch(space.id, (space.layout.resolutions.index(8), *space.largest.genes[1:]))
    smallest: list[Gradients] = []
    for labels in (train_split.labels, 3 - train_split.labels):
        seen = Splits(Split(train_split.images, labels), splits.held)
        both, alone = gradients(recipe, seen), gradients(recipe, seen, largest)
        smallest.append({name: both[name] - alone[name] / 2 for name in both})
    same = [torch.allclose(smallest[0][name], smallest[1][name], atol=1e-6) for name in smallest[0]]
    assert all(same) == (distill == 1.0)


def test_shared_statistics_move_with_the_batch(tmp_path: Path) -> None:
    """Running statistics of the full network are views: a training step of a slice updates its part in place."""
    space = parse_recipe(RECIPE_TEXT, tmp_path).open_space()
    supernet = OfaSupernet(space)
    images = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    supernet(images, supernet.net(space.smallest), trainer.by_batch())
    moved = supernet.full.get_buffer("blocks.1.depth_conv.norm.running_mean") != 0
    middle = next(op for op in supernet.net(space.smallest).ops if op.name == "blocks.1.depth_conv").out_shape[0]
    assert moved[:middle].any()
    assert not moved[middle:].any()


def test_a_recipe_is_completed_from_its_data(tmp_path: Path) -> None:
    lines = [line for line in RECIPE_TEXT.splitlines() if line.split(" ")[0] not in ("labels", "mean", "std")]
    path = tmp_path / "asked.toml"
    path.write_text("# mine\n" + "\n".join(lines))
    text, splits = asked(path)
    recipe = parse_recipe(text, path)
    pixels = splits.train.images / 255
    assert text.startswith("# mine\n")
    assert recipe.labels == ["none", "top", "bottom", "both"]
    assert recipe.mean == [pytest.approx(pixels.mean(), abs=1e-4)]
    assert recipe.std == [pytest.approx(pixels.std(), abs=1e-4)]
    assert recipe.pack is True
    path.write_text(text)
    assert asked(path)[0] == text
    path.write_text(text.replace(recipe.data_sha256 or "", "0" * 64))
    with pytest.raises(InputError, match="nowhere holds other images than those of"):
        asked(path)
