"""Training recipes: one TOML file, one readable table a stage."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hwnas.core.errors import InputError
from hwnas.ofa_supernet.datasets import READERS
from hwnas.spaces import load_units
from hwnas.spaces.units import UnitSpace


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Stage(_Table):
    """One stage of progressive shrinking: which options are elastic, for how long, at which learning rate.

    An epoch sees `images` training images, all of them by default. An option list left out means the largest option
    alone; of `resolutions`, all. `resolution_bias` b draws a step's resolution R with a probability proportional to
    R^-b: 0 is uniform; 2 spends equal compute on each as long as the recipe's `pixels_per_step` does not cut the batch.
    Where it does, a step costs much the same at every resolution that is cut, and 0 spends equal compute on those.

    A step trains `subnets` drawn ones, and with `sandwich` the stage's largest and smallest besides (the sandwich rule:
    Yu et al., BigNAS, ECCV 2020, section 3.1). `extremes` is the share of draws that take one of these two, half of
    them each: the same at the price of one subnet a step. Independent draws of some forty genes hardly ever come near
    either, and the largest would end below the middle.

    `distill` is how much the answers of a better network count beside the labels. With `sandwich` that is the largest
    subnet of the same step, and the others learn from it alone (in-place distillation, same section): 1, or 0 for
    labels. Else it is the full network as it was before the first stage that distils (once-for-all, section 3.2).
    """

    name: str
    epochs: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(default=100, ge=0)
    subnets: int = Field(default=1, ge=0)
    sandwich: bool = False
    images: int | None = Field(default=None, ge=2)
    kernels: list[int] | None = None
    expansions: list[int] | None = None
    depths: list[int] | None = None
    resolutions: list[int] | None = None
    resolution_bias: float = 0.0
    extremes: float = Field(default=0.0, ge=0, le=1)
    distill: float = Field(default=0.0, ge=0)
    weight_decay: float | None = Field(default=None, ge=0)
    """The recipe's by default."""
    sort_channels: bool = False


class PredictorRecipe(_Table):
    """How the accuracy predictor's data is made: how many subnets, and images to recalibrate and to measure each on.

    `searched` is the share of the subnets that searches propose; the others, 20 at least, are random.
    """

    subnets: int = Field(default=200, ge=20)
    searched: float = Field(default=0.5, ge=0, lt=1)
    images: int = Field(default=1000, ge=1)
    calibration_images: int = Field(default=256, ge=1)

    @property
    def proposed(self) -> int:
        """How many of the subnets searches propose."""
        return min(round(self.searched * self.subnets), self.subnets - 20)


class Augment(_Table):
    """How training images differ from the stored ones; see `hwnas.ofa_supernet.augment.Augmentation`."""

    mirror: bool = True
    shift: int = Field(default=0, ge=0)
    pad: Literal["reflect", "edge", "zeros"] = "reflect"
    area: float = Field(default=1.0, gt=0, le=1)
    mixup: float = Field(default=0.0, ge=0)


class Recipe(_Table):
    """Everything that decides a trained supernet, besides the data itself.

    Labels, mean and standard deviation (of each channel, pixels as 0..1) may be left out of a recipe that is asked for:
    they are then the data set's own, and those of the recipe that is kept.
    """

    space: str
    dataset: str
    data: Path
    about: str = ""
    """What the images are, from where, and under which licence: the card says so."""
    image_size: int | None = Field(default=None, ge=1)
    """Pixels to which a folder's images are cut; the space's largest by default."""
    data_sha256: str | None = None
    """Of the names and labels of the images: splits of other images would mix those of training and of test."""
    pack: bool | None = None
    """Whether the supernet's folder gets the images that `specialize` needs, or else it reads them from `data`."""
    labels: list[str] = []
    mean: list[float] = []
    std: list[Annotated[float, Field(gt=0)]] = []
    seed: int = Field(default=0, ge=0)
    train_images: int | None = Field(default=None, ge=2)
    batch: int = Field(default=128, ge=2)
    pixels_per_step: int | None = Field(default=None, ge=1)
    """Greatest number of input pixels in one step, so that large images come in smaller batches at much the same cost
    (the variable batch size of MobileViT's multi-scale sampler, Mehta and Rastegari, ICLR 2022, section 3.2)."""
    momentum: float = Field(default=0.9, gt=0, lt=1)
    """Of Nesterov's kind, which is none without momentum."""
    weight_decay: float = Field(default=3e-5, ge=0)
    bias_rate: float = Field(default=1.0, gt=0)
    """Of the biases of normalisations, in learning rates: they may move much faster than weights (Jordan, "94% on
    CIFAR-10 in 3.29 seconds", 2024, section 3.4)."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    gradient_clip: float = Field(default=5.0, gt=0)
    """Greatest norm of all gradients together."""
    average: float = Field(default=0.0, ge=0, lt=1)
    """Decay a step of the moving average of the weights, which is what is kept then; 0 averages nothing."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the products in training; weights are float32 in any case."""
    augment: Augment = Augment()
    teacher_resolution: int | None = None
    predictor: PredictorRecipe = PredictorRecipe()
    stage: list[Stage] = Field(min_length=1)

    def batch_at(self, resolution: int) -> int:
        """Images in a step at this resolution; never fewer than the two that batch statistics want."""
        if self.pixels_per_step is None:
            return self.batch
        return max(2, min(self.batch, self.pixels_per_step // resolution**2))

    @property
    def identity(self) -> str:
        """What decides the weights, as text; how subnets are measured, and where the images are, does not."""
        aside = {"predictor", "data", "pack", "about"}
        return self.model_dump_json(exclude=aside)

    def trains_like(self, other: Recipe) -> bool:
        """Do both give the same weights? A recipe that keeps no digest of its images stands for any."""
        digest = self.data_sha256 if other.data_sha256 is None else other.data_sha256
        ours, theirs = (one.model_copy(update={"data_sha256": digest}) for one in (self, other))
        return self.data_sha256 in (None, digest) and ours.identity == theirs.identity

    @property
    def size(self) -> int:
        """To which a folder's images are cut, in pixels."""
        return self.image_size or self.open_space().layout.resolutions[-1]

    def open_space(self) -> UnitSpace:
        """The space with this data set's classes and channels; with its own where the recipe names none."""
        return load_units(self.space, len(self.labels) or None, len(self.mean) or None)


def read_text(path: Path) -> str:
    """The text of a recipe's file.

    Raises:
        InputError: it is missing, or cannot be read.
    """
    try:
        return path.read_text()
    except FileNotFoundError as error:
        raise InputError(
            f"no recipe at {path}: name a recipe file, such as ofa_supernet/fashion-mnist/recipe.toml"
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no TOML: {error}") from error


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe that leaves nothing out.

    Raises:
        InputError: the file is missing, is no TOML, or has a wrong key or value.
    """
    return parse_recipe(read_text(path), path)


def parse_recipe(text: str, path: Path, whole: bool = True) -> Recipe:
    """Check a recipe's text, of the file `path`; `whole` ones leave nothing out.

    Raises:
        InputError: it is no TOML, or has a wrong key or value.
    """
    try:
        recipe = Recipe.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is no TOML: {error}") from error
    except ValidationError as error:
        raise InputError(f"{path}: {_first_problem(error)}") from error
    if recipe.dataset not in READERS:
        raise InputError(f"{path}: dataset is one of {', '.join(READERS)}, not {recipe.dataset!r}")
    if len(recipe.labels) < 2 and (whole or recipe.labels):
        raise InputError(f"{path}: labels name the classes, two at least, not {len(recipe.labels)}")
    if len(recipe.mean) != len(recipe.std) or (whole and not recipe.mean):
        raise InputError(f"{path}: mean and std want one value a channel, not {len(recipe.mean)} and {len(recipe.std)}")
    space = recipe.open_space()
    if recipe.teacher_resolution not in (None, *space.layout.resolutions):
        raise InputError(
            f"{path}: teacher_resolution is one of {space.layout.resolutions}, not {recipe.teacher_resolution}"
        )
    for stage in recipe.stage:
        _check_stage(path, stage, space)
    first = recipe.stage[0]
    if first.distill and not first.sandwich:
        raise InputError(f"{path}: stage {first.name!r} is the first, and no network is trained to distill from yet")
    return recipe


def _check_stage(path: Path, stage: Stage, space: UnitSpace) -> None:
    layout = space.layout
    if stage.sandwich and stage.distill not in (0, 1):
        raise InputError(
            f"{path}: distill of stage {stage.name!r} is 0 or 1 with the sandwich rule, not {stage.distill}"
        )
    if not stage.subnets and not stage.sandwich:
        raise InputError(f"{path}: stage {stage.name!r} trains no subnet: set subnets, or sandwich = true")
    for key in ("kernels", "expansions", "depths", "resolutions"):
        known: tuple[int, ...] = getattr(layout, key)
        wrong = set(getattr(stage, key) or known) - set(known)
        if wrong:
            raise InputError(f"{path}: {key} of stage {stage.name!r} are some of {known}, not {sorted(wrong)}")


def _first_problem(error: ValidationError) -> str:
    first: Any = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}"
