"""The settings of a workspace: ``hwnas.toml``, read and checked."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hwnas import registry
from hwnas.core.errors import InputError

Share = Annotated[float, Field(gt=0, lt=1)]
"""A fraction strictly between 0 and 1."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SearchSettings(_Table):
    """How the search looks for candidates, and for how many rounds."""

    # Population, generations, parents and mutation are once-for-all's evolution, with its 500 generations cut to 60:
    # over a table and a small predictor the best score of a small space stops moving long before that, and that of the
    # published spaces rises by another 0.1 to 0.25 points with five times as many.
    population: Annotated[int, Field(ge=4)] = 100
    generations: Annotated[int, Field(ge=1)] = 60
    parents: Share = 0.25
    mutation_probability: Share = 0.1
    finalists: Annotated[int, Field(ge=1)] = 4
    max_rounds: Annotated[int, Field(ge=1)] = 8
    headroom: Share = 0.15
    seed: Annotated[int, Field(ge=0)] = 0


class MeasureSettings(_Table):
    """What is measured beside the block table."""

    subnets: Annotated[int, Field(ge=8)] = 40


class ExportSettings(_Table):
    """What a package holds; the names are the registry's exporters."""

    formats: Annotated[list[str], Field(min_length=1)] = ["onnx"]


class Settings(_Table):
    """The whole of ``hwnas.toml``; every key has a default."""

    device: Annotated[str, Field(min_length=1)] = "local"
    supernet: Annotated[str, Field(min_length=1)] = "fashion-mnist"
    search: SearchSettings = SearchSettings()
    measure: MeasureSettings = MeasureSettings()
    export: ExportSettings = ExportSettings()


def load(path: Path) -> Settings:
    """Read settings from a TOML file.

    Raises:
        InputError: the file cannot be read, is no TOML, or holds an unknown key or a bad value.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no TOML: {error}") from error
    try:
        settings = Settings.model_validate(document)
    except ValidationError as error:
        raise InputError(f"{path}: {_explain(Settings, error)}") from error
    for name in settings.export.formats:
        if name not in registry.names("exporters"):
            choices = ", ".join(registry.names("exporters"))
            raise InputError(f"{path}: export.formats has no format {name!r}: choose from {choices}")
    return settings


def _explain(model: type[BaseModel], error: ValidationError) -> str:
    """The first problem, in one line, with the nearest valid key where a key is unknown."""
    problem: Any = error.errors(include_url=False)[0]
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    if problem["type"] != "extra_forbidden":
        return f"{key} = {problem['input']!r} is wrong: {problem['msg'].lower()}"
    for part in location[:-1]:
        annotation = model.model_fields[part].annotation
        model = next(c for c in (annotation, *get_args(annotation)) if isinstance(c, type) and issubclass(c, BaseModel))
    nearest = difflib.get_close_matches(location[-1], model.model_fields, n=1, cutoff=0.5)
    if nearest:
        return f"unknown key {key!r}: did you mean {'.'.join([*location[:-1], *nearest])!r}?"
    return f"unknown key {key!r}: the keys here are {', '.join(model.model_fields)}"
