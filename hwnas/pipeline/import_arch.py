"""`import arch`: a network that others published, as an architecture of a space here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwnas.core.arch import Arch
from hwnas.core.count import macs, params
from hwnas.core.errors import InputError
from hwnas.core.net import NetSpec
from hwnas.core.protocols import SearchSpace
from hwnas.pipeline.names import option_values
from hwnas.spaces.net_config import Config, find_arch

RESOLUTION = 224
"""Of images, in pixels, where nothing tells."""
RUN_CONFIG = "run.config"
"""Once-for-all publishes it beside the network; it tells the size of the images."""


@dataclass(frozen=True, eq=False)
class ImportedArch:
    """A published network, found in a space."""

    file: Path
    family: str
    space: SearchSpace
    arch: Arch
    resolution: int
    classes: int

    @property
    def net(self) -> NetSpec:
        """The network, lowered."""
        return self.space.lower(self.arch)

    def to_json(self) -> dict[str, Any]:
        """The document of `hwnas import arch --json`."""
        net = self.net
        return {
            "schema": 1,
            "file": self.file.name,
            "network": self.family,
            "arch": self.arch.to_json(),
            "space": self.arch.space_id,
            "resolution": self.resolution,
            "classes": self.classes,
            "macs": macs(net),
            "params": params(net),
            "choices": option_values(self.space, self.arch),
        }


def import_arch(file: Path, *, resolution: int | None = None, space: SearchSpace | None = None) -> ImportedArch:
    """Find the network of a published ``net.config`` in `space`, or else in the released spaces of its name.

    The size of the images is `resolution`; else what a ``run.config`` beside the file tells; else 224.

    Raises:
        InputError: the file is no such configuration, or no space contains the network.
    """
    document = _json(file)
    size = _image_size(file.with_name(RUN_CONFIG)) if resolution is None else resolution
    try:
        config = Config.of(document)
        found, arch = find_arch(config, config.spaces(size) if space is None else [space], size)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    return ImportedArch(file, config.family, found, arch, size, config.ends["classifier"][1])


def _image_size(path: Path) -> int:
    if not path.exists():
        return RESOLUTION
    document = _json(path)
    size = document.get("image_size") if isinstance(document, dict) else None
    if type(size) is not int or size < 1:
        raise InputError(f"{path} does not tell one image_size: give --resolution")
    return size


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; name a net.config file") from error
    except ValueError as error:
        raise InputError(f"{path} is no JSON: name a net.config file") from error
