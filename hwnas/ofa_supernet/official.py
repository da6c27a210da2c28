"""Published once-for-all checkpoints (https://github.com/mit-han-lab/once-for-all, MIT) as supernets here.

The released networks of one family, and any other of it, differ in widths, classes and input channels alone; all three
are read from the shapes. Every one of them has the same architectures, so one space id stands for all: an `arch` fits
whichever `supernet` of its family it is given to. The weights serve any input size, so resolutions reach beyond the
128..224 of training; to search where a network was trained, take its own space, such as ``ofa_mbv3/w1.0/v1``.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from hwnas.core.arch import Arch
from hwnas.core.errors import InputError
from hwnas.ofa_supernet.network import OfaSupernet
from hwnas.ofa_supernet.official_layouts import MBV3, PROXYLESS, RESNET50, not_published, space_of
from hwnas.spaces.inverted_bottlenecks import InvertedBottlenecks
from hwnas.spaces.ofa_resnet50 import LEAST_DEPTHS

_RENAMED = (
    # The released files call a block's convolutions `mobile_inverted_conv`; the later code calls them `conv`.
    (re.compile(r"^(blocks\.\d+)\.(?:mobile_inverted_conv|conv)\."), r"\1."),
    (re.compile(r"\.depth_conv\.se\.fc\.(reduce|expand)\."), r".se.\1."),
    (re.compile(r"^(input_stem\.1)\.conv\."), r"\1."),  # the convolution beside the stem's shortcut
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
        InputError: this is no state dict of a published supernet.
    """
    weights = {_renamed(key): value for key, value in state_dict.items() if not key.endswith("num_batches_tracked")}
    space = space_of(weights)
    network = OfaSupernet(space).to(weights["classifier.weight"].dtype)
    wanted = network.full.state_dict()
    for problem, names in (("lacks", wanted.keys() - weights.keys()), ("has unknown", weights.keys() - wanted.keys())):
        if names:
            raise not_published(f"it {problem} {min(names)}, one of {len(names)}")
    for name, value in weights.items():
        if value.shape != wanted[name].shape:
            raise not_published(f"{name} is {_sizes(value)} where its widths want {_sizes(wanted[name])}")
    network.full.load_state_dict(weights)
    return network.eval()


def arch(ks: Sequence[int], e: Sequence[int], d: Sequence[int], resolution: int = 224) -> Arch:
    """An architecture of MobileNetV3 or ProxylessNAS from the published lists; `resolution` in pixels.

    MobileNetV3 has 20 kernel sizes, 20 expansions and 5 depths, ProxylessNAS 21, 21 and 6, the last of which means
    nothing. Entries of skipped blocks are present in published lists but unused, so whatever they hold will do.

    Raises:
        InputError: a list has the wrong length, or a value is no option.
    """
    space: InvertedBottlenecks = MBV3
    if len(d) == len(PROXYLESS.layout.units):
        space, d = PROXYLESS, d[:-1]
    layout, kernels, expansions = space.layout, list(ks), list(e)
    for unit, depth in enumerate(d):
        end = (unit + 1) * layout.max_depth
        for block in range(unit * layout.max_depth + max(depth, 0), min(end, len(ks), len(e))):
            kernels[block], expansions[block] = layout.kernels[0], layout.expansions[0]
    return space.arch(kernels, expansions, list(d), resolution)


def resnet50_arch(d: Sequence[int], e: Sequence[float], w: Sequence[int], resolution: int = 224) -> Arch:
    """An architecture of ResNet-50 from the published lists; `resolution` in pixels.

    `d`: 2 where the stem has its second convolution, 0 or 1 where not, then what the depth of each of the 4 units is
    beyond the least; `e`: 18 expansions, shares; `w`: 6 places in the list of width multipliers: the stem's middle, the
    stem, each unit. Entries of skipped blocks are present but unused, so whatever they hold will do.

    Raises:
        InputError: a list has the wrong length, or a value is no option.
    """
    layout, expansions = RESNET50.layout, [round(100 * share) for share in e]
    if len(d) != 1 + len(LEAST_DEPTHS) or any(index not in range(len(layout.widths)) for index in w):
        raise InputError("a published ResNet-50 has 5 depths, and widths are 0, 1 or 2: give d, e and w as published")
    depths = [least + extra for least, extra in zip(LEAST_DEPTHS, d[1:], strict=True)]
    first = 0
    for depth, least in zip(depths, LEAST_DEPTHS, strict=True):
        end = first + least + layout.extra_depths[-1]
        for block in range(first + depth, min(end, len(expansions))):
            expansions[block] = layout.expansions[0]
        first = end
    stem = int(d[0] == layout.extra_depths[-1])
    return RESNET50.arch(depths, expansions, [layout.widths[index] for index in w], resolution, stem)


def _renamed(key: str) -> str:
    for pattern, name in _RENAMED:
        key = pattern.sub(name, key)
    return key


def _sizes(value: Tensor) -> str:
    return "x".join(map(str, value.shape))
