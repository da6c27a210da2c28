"""`PublishedFolder`: a supernet that others published, imported into a workspace. Its parts come one by one.

| file | what |
|---|---|
| source.toml | space, classes, normalisation, and which file each part came from |
| weights.safetensors | the shared weights, by our names; after `hwnas import supernet` |
| predictor.safetensors | the published accuracy predictor; after `hwnas import predictor` |
| README.md | the card |
| hashes.json | sha256 of each of these |
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hwnas.core.errors import InputError
from hwnas.core.files import sha256, write_atomic, write_json
from hwnas.core.folders import replacing
from hwnas.ofa_supernet.folder import CARD, HASHES, PREDICTOR, WEIGHTS
from hwnas.ofa_supernet.source import CROP, Source, read_source
from hwnas.spaces import load
from hwnas.spaces.elastic import ElasticSpace

if TYPE_CHECKING:
    from hwnas.ofa_supernet.network import OfaSupernet

SOURCE = "source.toml"
PUBLISHED = {
    "ofa-mbv3-w1.0": "ofa_mbv3/w1.0",
    "ofa-mbv3-w1.2": "ofa_mbv3/w1.2",
    "ofa-proxyless-w1.3": "ofa_proxyless/w1.3",
    "ofa-resnet50": "ofa_resnet50",
}
"""The released once-for-all supernets: the name of a folder, and what its space's id begins with."""
RESOLUTION = 224
"""Images are so large unless another size is asked for: what published accuracies are mostly told for."""


def space_id(published: str, resolution: int = RESOLUTION) -> str:
    """The space of a released supernet for images of one size; searches stay at that size."""
    return f"{PUBLISHED[published]}-r{resolution}/v1"


@dataclass(frozen=True)
class PublishedFolder:
    """An imported supernet; parts are read when asked for, and torch is loaded only with the weights."""

    path: Path

    @cached_property
    def source(self) -> Source:
        """What it is and where it came from."""
        return read_source(self.path / SOURCE)

    @cached_property
    def space(self) -> ElasticSpace:
        """Its search space."""
        return load(self.source.space, classes=self.source.classes, in_channels=len(self.source.mean))

    @property
    def resolution(self) -> int:
        """Of its images, in pixels."""
        [size] = next(choice.options for choice in self.space.choices if choice.name == "resolution")
        return size

    @property
    def dataset(self) -> str:
        """What it was trained on."""
        return self.source.dataset

    @property
    def labels(self) -> list[str]:
        """The numbers of its classes, in the order of its outputs: names are not published with the weights."""
        return [str(index) for index in range(self.source.classes)]

    @property
    def mean(self) -> list[float]:
        """Of each channel."""
        return self.source.mean

    @property
    def std(self) -> list[float]:
        """Of each channel."""
        return self.source.std

    @property
    def crop(self) -> float | None:
        """As the published tests cut images."""
        return CROP

    @property
    def predictor_path(self) -> Path:
        return self.path / PREDICTOR

    @property
    def weights_path(self) -> Path:
        return self.path / WEIGHTS

    @property
    def required(self) -> frozenset[str]:
        """What its source says was imported."""
        imported = ((WEIGHTS, self.source.weights), (PREDICTOR, self.source.predictor))
        return frozenset({SOURCE, CARD, *(name for name, origin in imported if origin is not None)})

    @property
    def remedy(self) -> str:
        """What to do where a file is damaged."""
        return "remove the folder and import its parts again"

    @property
    def told(self) -> str:
        """Which parts there are."""
        missing = [
            part
            for part, origin in (("weights", self.source.weights), ("accuracy predictor", self.source.predictor))
            if origin is None
        ]
        return f", {self.space.id}" + "".join(f", no {part} yet" for part in missing)

    def load(self) -> OfaSupernet:
        """The supernet with its weights.

        Raises:
            InputError: they were not imported, are damaged or of another space.
        """
        from hwnas.ofa_supernet.checkpoint import load_weights
        from hwnas.ofa_supernet.network import OfaSupernet

        if self.source.weights is None:
            raise InputError(
                f"{self.path} has no weights yet: 'hwnas import supernet FILE --name {self.path.name}' adds them"
            )
        supernet = OfaSupernet(self.space)
        try:
            supernet.load_state_dict(load_weights(self.weights_path))
        except RuntimeError as error:
            raise InputError(f"{self.weights_path} does not fit {self.space.id}: import the supernet again") from error
        return supernet.eval()


def write_part(path: Path, source: Source, write: Callable[[PublishedFolder], None]) -> PublishedFolder:
    """Make or complete the folder of a published supernet; it is changed whole or not at all.

    `write` gets a copy of what is there and adds its part; `source` says what the folder then is.

    Raises:
        InputError: the folder cannot be written.
    """
    made = PublishedFolder(path)
    try:
        with replacing(path) as fresh:
            if path.exists():
                shutil.copytree(path, fresh, dirs_exist_ok=True)
            inside = PublishedFolder(fresh)
            write_atomic(fresh / SOURCE, source.to_toml())
            write(inside)
            write_atomic(fresh / CARD, _card(path.name, inside))
            write_json(fresh / HASHES, {name: sha256(fresh / name) for name in sorted(inside.required)})
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; make its folder writable") from error
    return made


def _card(name: str, folder: PublishedFolder) -> str:
    """Markdown: what it is, where it came from, what it is good for."""
    source = folder.source
    parts = [("weights", source.weights), ("accuracy predictor", source.predictor)]
    imported = [
        f"| {part} | {'not imported' if origin is None else f'{origin.name}, {origin.date[:10]}'} |"
        for part, origin in parts
    ]
    lines = [
        f"# {name}",
        "",
        f"A published once-for-all supernet (Cai et al., ICLR 2020) of the space `{folder.space.id}`, trained by its",
        f"authors on {source.dataset}; {source.classes} classes.",
        "",
        "| | from |",
        "|---|---|",
        *imported,
        "",
        "`source.toml` has the sha256 of each file. `docs/published-supernets.md` says where they are published and",
        "what the figures mean.",
        "",
    ]
    return "\n".join(lines)
