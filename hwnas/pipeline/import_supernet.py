"""`import predictor` and `import supernet`: what others published becomes a supernet of the workspace, part by part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwnas.core.errors import InputError
from hwnas.core.net import NetSpec
from hwnas.evaluators.arrays import read_arrays
from hwnas.evaluators.published import PublishedPredictor
from hwnas.evaluators.released import is_ranked, recognised
from hwnas.ofa_supernet.published import PUBLISHED, RESOLUTION, PublishedFolder, space_id, write_part
from hwnas.ofa_supernet.source import MEAN, Origin, Source
from hwnas.pipeline.supernets import load_predictor, stored
from hwnas.spaces import load

if TYPE_CHECKING:
    from hwnas.ofa_supernet.network import OfaSupernet
    from hwnas.workspace import Workspace


@dataclass(frozen=True, eq=False)
class ImportedSupernet:
    """A published supernet as it is after an import."""

    folder: PublishedFolder

    def to_json(self) -> dict[str, Any]:
        """The document of `hwnas import predictor --json` and of `hwnas import supernet --json`."""
        source = self.folder.source
        predictor = None if source.predictor is None else load_predictor(self.folder)
        return {
            "schema": 1,
            "supernet": self.folder.path.name,
            "folder": str(self.folder.path),
            "space": source.space,
            "resolution": self.folder.resolution,
            "classes": source.classes,
            "weights": None if source.weights is None else source.weights.model_dump(),
            "predictor": None if source.predictor is None else source.predictor.model_dump(),
            "accuracy_model": None if predictor is None else predictor.name,
            "accuracy_note": None if predictor is None else predictor.note,
            "accuracy_model_published": is_ranked(source.space),
        }


def import_predictor(
    workspace: Workspace, file: Path, *, supernet: str | None = None, resolution: int | None = None
) -> ImportedSupernet:
    """Add a published accuracy predictor to a published supernet, which is made where it is not there yet.

    `supernet` defaults to the first released one that the predictor is for. A supernet that is there keeps its
    resolution; `resolution` of a new one defaults to 224.

    Raises:
        InputError: the file is no published predictor, it is for other networks, or the folder is another's.
    """
    arrays = read_arrays(file)
    try:
        released = recognised(arrays)
    except InputError as error:
        raise InputError(f"{file} is {error}") from error
    if supernet is None:
        supernet = next(name for name in PUBLISHED if PUBLISHED[name].startswith(released.spaces))
    path, kept = _place(workspace, supernet)
    source = _agreed(path, kept, resolution)
    if source is None:
        if supernet not in PUBLISHED:
            raise InputError(f"no released supernet is called {supernet!r}: choose one of {', '.join(PUBLISHED)}")
        source = Source(space=space_id(supernet, resolution or RESOLUTION))
    released.refuse_other(source.space)
    space = load(source.space, source.classes, len(source.mean))
    predictor = PublishedPredictor.of(space, arrays)
    after = source.model_copy(update={"predictor": Origin.of(file)})
    return ImportedSupernet(write_part(path, after, lambda inside: predictor.save(inside.predictor_path)))


def import_supernet(
    workspace: Workspace, file: Path, *, name: str | None = None, resolution: int | None = None
) -> ImportedSupernet:
    """Add the weights of a released checkpoint to a published supernet, which is made where it is not there yet.

    `name` defaults to that of the released supernet whose weights these are. A supernet that is there keeps its
    resolution; `resolution` of a new one defaults to 224.

    Raises:
        InputError: the file is no released checkpoint, or the folder is another's.
    """
    from hwnas.ofa_supernet import official
    from hwnas.ofa_supernet.checkpoint import save_weights

    network = official.supernet(official.read(file))
    released, classes = _released(file, network), network.space.classes
    path, kept = _place(workspace, released if name is None else name)
    source = _agreed(path, kept, resolution)
    if source is None:
        source = Source(space=space_id(released, resolution or RESOLUTION))
    elif not source.space.startswith(PUBLISHED[released]):
        raise InputError(f"{path} is of {source.space}, and {file} holds {released}: name another folder with --name")
    after = source.model_copy(update={"classes": classes, "weights": Origin.of(file)})
    told = {"space": after.space}
    return ImportedSupernet(
        write_part(path, after, lambda inside: save_weights(inside.weights_path, network.state_dict(), told))
    )


def _released(file: Path, network: OfaSupernet) -> str:
    """The released supernet that has just these layers.

    Raises:
        InputError: none has.
    """
    mine = network.space
    if mine.in_channels != len(MEAN):
        raise InputError(f"{file} is for images of {mine.in_channels} channels: only those of {len(MEAN)} are imported")
    for name in PUBLISHED:
        space = load(space_id(name), mine.classes, mine.in_channels)
        if _layers(space.lower(space.largest)) == _layers(network.full.net):
            return name
    raise InputError(f"{file} has other widths than {', '.join(PUBLISHED)}, which are those that are imported")


def _layers(net: NetSpec) -> dict[str, tuple[int, ...] | None]:
    return {op.name: op.weight_shape for op in net.ops}


def _place(workspace: Workspace, name: str) -> tuple[Path, PublishedFolder | None]:
    """The folder of a supernet, and what was imported into it before.

    Raises:
        InputError: the name is none, or the folder holds something else.
    """
    path = workspace.supernets_folder / name
    if not name or Path(name).name != name or name.startswith("."):
        raise InputError(f"{name!r} cannot name a supernet: give a plain folder name")
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return path, None
    found = stored(path) if path.is_dir() else None
    if not isinstance(found, PublishedFolder):
        raise InputError(f"{path} holds something else than a published supernet: name another one")
    return path, found


def _agreed(path: Path, kept: PublishedFolder | None, resolution: int | None) -> Source | None:
    """What a folder is already, at the resolution that is asked for.

    Raises:
        InputError: it is at another resolution.
    """
    if kept is None:
        return None
    if resolution not in (None, size := kept.resolution):
        raise InputError(f"{path} is for images of {size} x {size}: leave --resolution out, or name another supernet")
    return kept.source
