"""Published once-for-all MobileNetV3 checkpoints (https://github.com/mit-han-lab/once-for-all, MIT) as supernets here.

The two released networks, and any other of their family, differ in widths, classes and input channels alone; all three
are read from the shapes. Every one of them has the same architectures, so one space id stands for all: an `arch` fits
whichever `supernet` it is given to. The weights serve any input size, so resolutions reach beyond the 128..224 of
training; to search where the network was trained, take ``ofa_mbv3/w1.0/v1`` or ``ofa_mbv3/w1.2/v1``.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from hwnas.core.arch import Arch
from hwnas.core.errors import InputError
from hwnas.ofa_supernet.network import OfaSupernet
from hwnas.spaces.ofa_mbv3 import Layout, OfaMbv3, published_layout

SPACE_ID = "ofa_mbv3/published/v1"
RESOLUTIONS = tuple(range(32, 257, 4))
"""Input sizes that `arch` takes, in pixels; the published training drew from 128..224 in the same steps."""

_SHAPE = published_layout(1.0)
"""Everything but the widths: units, strides, activations and options are the same in every published checkpoint."""

_RENAMED = (
    # The released files call a block's convolutions `mobile_inverted_conv`; the later code calls them `conv`.
    (re.compile(r"^(blocks\.\d+)\.(?:mobile_inverted_conv|conv)\."), r"\1."),
    (re.compile(r"\.depth_conv\.se\.fc\.(reduce|expand)\."), r".se.\1."),
    # Each elastic layer of the published code wraps a plain one of the same name.
    (re.compile(r"\.conv\.\d+to(\d+)_matrix$"), r".to_\1"),
    (re.compile(r"(?:\.conv)+\.(weight|bias)$"), r".\1"),
    (re.compile(r"(?:\.linear)+\.(weight|bias)$"), r".\1"),
    (re.compile(r"(?:\.bn)+\.(\w+)$"), r".norm.\1"),
)


def read(path: Path) -> dict[str, Tensor]:
    """The state dict in a checkpoint file, alone or under ``state_dict``; no code in the file is run.

    Raises:
        InputError: the file cannot be read, or holds anything but tensors by name.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks on an odd file, which an error or the weights follow
            found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; name a checkpoint file") from error
    except Exception as error:
        raise InputError(f"{path} is damaged, or holds more than weights: fetch it again") from error
    weights = found.get("state_dict", found) if isinstance(found, dict) else found
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise InputError(f"{path} holds no tensors by name: name a released checkpoint")
    return {str(name): value for name, value in weights.items()}


def supernet(state_dict: Mapping[str, Tensor]) -> OfaSupernet:
    """The published network of a checkpoint's state dict, in evaluation mode, in the precision of its weights.

    Raises:
        InputError: this is no state dict of the published MobileNetV3 supernet.
    """
    weights = {_renamed(key): value for key, value in state_dict.items() if not key.endswith("num_batches_tracked")}
    network = OfaSupernet(_space(weights)).to(weights["first_conv.weight"].dtype)
    wanted = network.full.state_dict()
    for problem, names in (("lacks", wanted.keys() - weights.keys()), ("has unknown", weights.keys() - wanted.keys())):
        if names:
            raise _not_published(f"it {problem} {min(names)}, one of {len(names)}")
    for name, value in weights.items():
        if value.shape != wanted[name].shape:
            raise _not_published(f"{name} is {_sizes(value)} where its widths want {_sizes(wanted[name])}")
    network.full.load_state_dict(weights)
    return network.eval()


def arch(ks: Sequence[int], e: Sequence[int], d: Sequence[int], resolution: int = 224) -> Arch:
    """An architecture from the published lists: 20 kernel sizes, 20 expansions, 5 depths; `resolution` in pixels.

    Entries of skipped blocks are present in published lists but unused, so whatever they hold will do.

    Raises:
        InputError: a list has the wrong length, or a value is no option.
    """
    space = OfaMbv3(SPACE_ID, replace(_SHAPE, resolutions=RESOLUTIONS), _SHAPE.classes, _SHAPE.in_channels)
    kernels, expansions = list(ks), list(e)
    for unit, depth in enumerate(d):
        skipped = range(unit * _SHAPE.max_depth + max(depth, 0), min((unit + 1) * _SHAPE.max_depth, len(ks), len(e)))
        for block in skipped:
            kernels[block], expansions[block] = _SHAPE.kernels[0], _SHAPE.expansions[0]
    return space.arch(kernels, expansions, list(d), resolution)


def _renamed(key: str) -> str:
    for pattern, name in _RENAMED:
        key = pattern.sub(name, key)
    return key


def _space(weights: Mapping[str, Tensor]) -> OfaMbv3:
    """The space whose widths, classes and input channels the shapes show."""

    def size(name: str, axis: int = 0) -> int:
        value = weights.get(f"{name}.weight")
        if not isinstance(value, torch.Tensor) or value.ndim <= axis:
            raise _not_published(f"it lacks {name}")
        return value.shape[axis]

    firsts = range(1, 1 + len(_SHAPE.units) * _SHAPE.max_depth, _SHAPE.max_depth)
    units = zip(_SHAPE.units, firsts, strict=True)
    layout: Layout = replace(
        _SHAPE,
        stem=size("first_conv"),
        first_width=size("blocks.0.point_linear"),
        units=tuple(replace(unit, width=size(f"blocks.{block}.point_linear")) for unit, block in units),
        final_expand=size("final_expand_layer"),
        feature_mix=size("feature_mix_layer"),
        resolutions=RESOLUTIONS,
        classes=size("classifier"),
        in_channels=size("first_conv", 1),
    )
    return OfaMbv3(SPACE_ID, layout, layout.classes, layout.in_channels)


def _sizes(value: Tensor) -> str:
    return "x".join(map(str, value.shape))


def _not_published(why: str) -> InputError:
    return InputError(
        f"not a state dict of the published once-for-all MobileNetV3 ({why}): "
        "pass what its checkpoint holds under 'state_dict'"
    )
