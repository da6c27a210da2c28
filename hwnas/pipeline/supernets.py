"""Opens whatever supernet a workspace has by a name, and its accuracy predictor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hwnas.core.errors import InputError
from hwnas.core.progress import Progress, silent
from hwnas.core.protocols import Predictor
from hwnas.evaluators.released import is_ranked
from hwnas.ofa_supernet.folder import SupernetFolder
from hwnas.ofa_supernet.published import PUBLISHED, SOURCE, PublishedFolder
from hwnas.ofa_supernet.stored import StoredSupernet, SupernetWithImages

if TYPE_CHECKING:
    from hwnas.workspace import Workspace


def open_supernet(workspace: Workspace, name: str | None = None) -> StoredSupernet:
    """The supernet of a name, by default the settings'.

    Raises:
        InputError: there is none.
    """
    name = workspace.settings.supernet if name is None else name
    if name in PUBLISHED and name not in workspace.supernet_names():
        first, then = f"predictor FILE --supernet {name}", ""
        if not is_ranked(PUBLISHED[name]):
            first, then = "supernet FILE", "; no accuracy predictor was published for it, so it can be profiled alone"
        raise InputError(
            f"{name} was not imported yet: 'hwnas import {first}' makes it "
            f"(docs/published-supernets.md says where FILE is published){then}"
        )
    return stored(workspace.supernet_folder(name))


def stored(folder: Path) -> StoredSupernet:
    """A folder as what it holds: a supernet that was trained here, or one that was imported."""
    return PublishedFolder(folder) if (folder / SOURCE).exists() else SupernetFolder(folder)


def with_images(supernet: StoredSupernet, data: Path | None = None, progress: Progress = silent) -> SupernetWithImages:
    """A supernet whose subnets can be recalibrated, compared and tested; `data` is a folder of images for it.

    Raises:
        InputError: it has no images or no weights for that, or images of its own beside `data`.
    """
    name = supernet.path.name
    if not isinstance(supernet, PublishedFolder):
        assert isinstance(supernet, SupernetFolder)
        if data is not None and supernet.packed:
            raise InputError(f"{supernet.path} has images of its own: leave --data out")
        return SupernetFolder(supernet.path, data)
    if supernet.source.weights is None:
        raise InputError(
            f"{supernet.path} has no weights yet: 'hwnas import supernet FILE --name {name}' adds them; "
            "or give --arch-only for an architecture alone"
        )
    if data is None:
        raise InputError(
            f"{supernet.path} holds no images to recalibrate and test a subnet on: name a folder of them with "
            "--data FOLDER, or give --arch-only for an architecture alone"
        )
    from hwnas.ofa_supernet.image_folder import read_image_folder
    from hwnas.ofa_supernet.with_images import PublishedWithImages

    return PublishedWithImages(supernet, read_image_folder(data, supernet.source.classes, progress))


def load_predictor(supernet: StoredSupernet) -> Predictor:
    """The accuracy predictor of a supernet: one that was published, or fitted here.

    Raises:
        InputError: there is none, or it is damaged or made for another space.
    """
    from hwnas.evaluators.predictor import AccuracyPredictor
    from hwnas.evaluators.published import PublishedPredictor

    if isinstance(supernet, SupernetFolder):
        return AccuracyPredictor.load(supernet.space, supernet.predictor_path)
    if not supernet.predictor_path.exists() and not is_ranked(supernet.space.id):
        raise InputError(
            f"{supernet.path} has no accuracy predictor, and none was published for it: its subnets cannot be ranked; "
            "name a supernet that has one, or measure this one with 'hwnas profile'"
        )
    if not supernet.predictor_path.exists():
        name = supernet.path.name
        raise InputError(
            f"{supernet.path} has no accuracy predictor: 'hwnas import predictor FILE --supernet {name}' adds it"
        )
    return PublishedPredictor.load(supernet.space, supernet.predictor_path)
