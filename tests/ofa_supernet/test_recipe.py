"""Recipes: what is read, and one line for what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwnas.core.errors import InputError
from hwnas.ofa_supernet.recipe import parse_recipe, read_recipe

ROOT = Path(__file__).parents[2]
GOOD = """
space = "ofa_mbv3/small/v1"
dataset = "fashion-mnist"
data = "/usr/share/datasets/fashion-mnist"
labels = ["a", "b", "c"]
mean = [0.286]
std = [0.353]
batch = 64

[[stage]]
name = "full"
epochs = 2
learning_rate = 0.1

[[stage]]
name = "kernel"
epochs = 1
learning_rate = 0.05
kernels = [3, 5, 7]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["docs/recipes/imagenet.toml", "docs/recipes/cifar10.toml"])
def test_what_is_shipped_reads(name: str) -> None:
    path = ROOT / name
    recipe = parse_recipe(path.read_text(), path, whole=False)
    assert recipe.dataset == "folder"
    ends = recipe.stage[-1]
    layout = recipe.open_space().layout
    assert tuple(ends.kernels or layout.kernels[-1:]) == layout.kernels
    assert (tuple(ends.depths or ()), tuple(ends.expansions or ())) == (layout.depths, layout.expansions)


def test_a_recipe_reads(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, GOOD))
    assert [stage.name for stage in recipe.stage] == ["full", "kernel"]
    assert recipe.stage[1].kernels == [3, 5, 7]
    assert recipe.batch == 64
    space = recipe.open_space()
    assert (space.classes, space.in_channels) == (3, 1)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("batch = 64", "bacth = 64", "bacth: Extra inputs are not permitted"),
        ("epochs = 2", "epoch = 2", r"stage\.0\.epochs: Field required"),
        ("epochs = 2", 'epochs = "two"', r"stage\.0\.epochs: Input should be a valid integer"),
        ("epochs = 2", "epochs = 0", r"stage\.0\.epochs: Input should be greater"),
        ("learning_rate = 0.05", "learning_rate = 0.05\nkernel = [3]", r"stage\.1\.kernel: Extra inputs"),
        ("kernels = [3, 5, 7]", "kernels = [3, 4]", r"kernels of stage 'kernel' are some of \(3, 5, 7\), not \[4\]"),
        ("kernels = [3, 5, 7]", "depths = [9]", r"depths of stage 'kernel' are some of \(2, 3, 4\), not \[9\]"),
        ("fashion-mnist", "mnist", "dataset is one of fashion-mnist, cifar10, cifar100, folder, not 'mnist'"),
        ("small/v1", "small/v9", "no space is called 'ofa_mbv3/small/v9'"),
        ("ofa_mbv3/small/v1", "ofa_resnet50/v1", "cannot be trained here: choose one of ofa_mbv3/w1.0/v1, "),
        ("epochs = 2", "epochs = 2\ndistill = 1.0", "stage 'full' is the first, and no network is trained to distill"),
        ("epochs = 2", "epochs = 2\nsandwich = true\ndistill = 0.3", "is 0 or 1 with the sandwich rule, not 0.3"),
        ("batch = 64", "batch = ", "is no TOML: "),
        ("batch = 64", "batch = 64\nbatch = 65", "is no TOML: "),
        ("batch = 64", "teacher_resolution = 47", r"teacher_resolution is one of \(32, .*, not 47"),
        ("std = [0.353]", "std = [0.3, 0.4]", "mean and std want one value a channel, not 1 and 2"),
        ("std = [0.353]", "std = [0.0]", r"std\.0: Input should be greater than 0"),
        ("std = [0.353]", "std = [inf]", r"std\.0: Input should be a finite number"),
        ("learning_rate = 0.1", "learning_rate = nan", r"stage\.0\.learning_rate: Input should be a finite number"),
        ('["a", "b", "c"]', '["a"]', "labels name the classes, two at least, not 1"),
        ("batch = 64", "seed = -1", "seed: Input should be greater than or equal to 0"),
        ("batch = 64", "momentum = 0.0", "momentum: Input should be greater than 0"),
        ("batch = 64", "momentum = 1.0", "momentum: Input should be less than 1"),
        ("batch = 64", "dropout = 2.0", "dropout: Input should be less than 1"),
        ("batch = 64", "dropout = -0.1", "dropout: Input should be greater than or equal to 0"),
        ("batch = 64", "label_smoothing = 1.5", "label_smoothing: Input should be less than 1"),
        ("batch = 64", "label_smoothing = -0.1", "label_smoothing: Input should be greater than or equal to 0"),
        ("batch = 64", "weight_decay = -1e-5", "weight_decay: Input should be greater than or equal to 0"),
        ("batch = 64", "gradient_clip = 0.0", "gradient_clip: Input should be greater than 0"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(InputError, match=message) as caught:
        read_recipe(write(tmp_path, GOOD.replace(old, new, 1)))
    assert len(str(caught.value).splitlines()) == 1


def test_no_stage(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="stage: Field required"):
        read_recipe(write(tmp_path, GOOD.split("[[stage]]")[0]))


def test_a_missing_recipe_names_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no recipe at .*none\.toml: name a recipe file"):
        read_recipe(tmp_path / "none.toml")


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_recipe(tmp_path)


def test_bytes_are_no_toml(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="is no TOML"):
        read_recipe(tmp_path / "recipe.toml")
