"""Which accuracy models were released, what their inputs and layers mean, and what is known of their answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwnas.core.arch import Choice
from hwnas.core.errors import InputError
from hwnas.evaluators.arrays import Arrays

RESOLUTION = "resolution"
"""The choice that a released model has inputs of its own for: not every option of a space is among them."""


@dataclass(frozen=True)
class Released:
    """One released model.

    `inputs` names choices of a space in the order of the columns: one column an option, in the order of the options;
    for the resolution one for each of `resolutions`, in pixels. A choice that bears on nothing has zeros.
    """

    name: str
    spaces: tuple[str, ...]
    """What the ids of the spaces that it is for begin with."""
    inputs: tuple[str, ...]
    resolutions: tuple[int, ...]
    columns: int
    layers: tuple[tuple[str, str | None], ...]
    """Weight and bias of each layer as the file calls them."""
    constant: str | None
    """What is added at the end."""
    rmse: float | None
    """Root mean square error of its answers less their mean error, as a fraction; None where nobody measured it."""
    note: str

    def refuse_other(self, space_id: str) -> None:
        """Raise InputError where it was made for other networks than this space's."""
        if not space_id.startswith(self.spaces):
            raise InputError(
                f"the {self.name} says nothing of {space_id}, only of {' and '.join(self.spaces)}: "
                "name a supernet of these"
            )

    def unknown(self, resolution: int) -> InputError:
        """The error for a resolution that it was not fitted for."""
        known = ", ".join(map(str, self.resolutions))
        return InputError(
            f"the {self.name} says nothing of images of {resolution} x {resolution}, only of {known}: "
            "take a supernet at one of these (--resolution)"
        )

    def refuse_misshapen(self, arrays: Arrays) -> None:
        """Raise InputError where a layer does not fit the one before it, or a weight is no number."""
        width = self.columns
        for weight, bias in self.layers:
            shape = arrays[weight].shape
            fits = len(shape) == 2 and shape[1] == width and (bias is None or arrays[bias].shape == shape[:1])
            if not fits:
                raise InputError(f"{weight} of the {self.name} is {_sizes(shape)} where {width} inputs come in")
            width = shape[0]
        if width != 1 or (self.constant is not None and arrays[self.constant].size != 1):
            raise InputError(f"the {self.name} wants one output, not {width}")
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise InputError(f"the {self.name} holds weights that are no numbers: fetch the file again")

    def starts(self, choices: Sequence[Choice]) -> dict[str, int]:
        """The first column of each input, for a space of these choices."""
        sizes = {choice.name: len(choice) for choice in choices} | {RESOLUTION: len(self.resolutions)}
        starts, start = {}, 0
        for name in self.inputs:
            starts[name] = start
            start += sizes[name]
        return starts


_BLOCKS = tuple(f"unit{unit}.block{position}" for unit in range(5) for position in range(4))

MOBILENET_V3 = Released(
    name="published accuracy model of once-for-all MobileNetV3",
    spaces=("ofa_mbv3/w1.0", "ofa_mbv3/w1.2"),
    inputs=(*(f"{block}.kernel" for block in _BLOCKS), *(f"{block}.expansion" for block in _BLOCKS), RESOLUTION),
    resolutions=tuple(range(112, 225, 16)),
    columns=128,
    layers=tuple((f"{index}.weight", f"{index}.bias") for index in (0, 2, 4, 6)),
    constant=None,
    rmse=0.0027,  # on the 2,373 subnets of the note (benchmarks/published_predictors.py)
    note=(
        "it ranks and is no ImageNet accuracy: fitted on images held out of the training set, for the network of width "
        "1.2, it is 5.9 points above what 2,373 subnets of width 1.0 reach on ImageNet's validation images"
    ),
)
"""``acc_predictor.pth`` of the once-for-all tutorial, which takes kernels, then expansions, then the resolution."""

RESNET_50 = Released(
    name="published accuracy model of once-for-all ResNet-50",
    spaces=("ofa_resnet50",),
    inputs=(
        RESOLUTION,
        "stem.depth",
        "stem.middle",
        *(f"{part}.width" for part in ("stem", "unit0", "unit1", "unit2", "unit3")),
        *(f"unit{unit}.block{place}.expansion" for unit, depth in enumerate((4, 4, 6, 4)) for place in range(depth)),
    ),
    resolutions=(128, 144, 160, 176, 192, 224, 240, 256),
    columns=82,
    layers=(*((f"layers.{index}.0.weight", f"layers.{index}.0.bias") for index in range(3)), ("layers.3.weight", None)),
    constant="base_acc",
    rmse=None,
    note=(
        "it ranks and is no ImageNet accuracy: fitted on images held out of the training set, it is probably too high, "
        "as MobileNetV3's is; nobody has published by how much, nor how well it ranks"
    ),
)
"""``ofa_resnet50_acc_predictor.pth``, whose resolutions are those of the tutorial that comes with it."""

RELEASED = (MOBILENET_V3, RESNET_50)


def is_ranked(space_id: str) -> bool:
    """Whether a model was released for the networks of a space."""
    return any(space_id.startswith(released.spaces) for released in RELEASED)


def recognised(arrays: Arrays) -> Released:
    """The released model whose layers these are.

    Raises:
        InputError: they are none's, or do not fit together.
    """
    for released in RELEASED:
        names = {name for layer in released.layers for name in layer if name is not None}
        if arrays.keys() == names | ({released.constant} if released.constant is not None else set()):
            released.refuse_misshapen(arrays)
            return released
    firsts = ", ".join(str(released.layers[0][0]) for released in RELEASED)
    raise InputError(
        f"none of the published accuracy models, whose layers begin with {firsts}: name one of their files"
    )


def _sizes(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
