"""`source.toml`: what a published supernet is, and which files it was made from."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hwnas.core.errors import InputError, wrong_key
from hwnas.core.files import sha256
from hwnas.spaces import ONE_SIZE

MEAN = [0.485, 0.456, 0.406]
STD = [0.229, 0.224, 0.225]
"""Of ImageNet's channels, as the published training normalises images (once-for-all's ImagenetDataProvider)."""
CROP = 0.875
"""Share of a resized image's shorter side that tests keep, in its middle (the same)."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Origin(_Table):
    """A file that a part was imported from."""

    name: str
    sha256: str
    date: str
    """When it was imported, UTC."""

    @classmethod
    def of(cls, path: Path) -> Origin:
        """A file, as it is now.

        Raises:
            InputError: it cannot be read.
        """
        name = path.name.encode(errors="replace").decode()
        return cls(name=name, sha256=sha256(path), date=datetime.now(UTC).isoformat(timespec="seconds"))


class Source(_Table):
    """The whole of ``source.toml``."""

    space: str
    dataset: str = "imagenet"
    classes: int = Field(default=1000, ge=1)
    mean: list[float] = MEAN
    std: list[float] = STD
    weights: Origin | None = None
    """None where only the accuracy predictor was imported."""
    predictor: Origin | None = None

    def to_toml(self) -> str:
        """The text that `read_source` reads back."""
        document = self.model_dump(exclude_none=True)
        tables = {name: document.pop(name) for name in ("weights", "predictor") if name in document}
        lines = _lines(document)
        for name, table in tables.items():
            lines += ["", f"[{name}]", *_lines(table)]
        return "\n".join(lines) + "\n"


def read_source(path: Path) -> Source:
    """Read and check a ``source.toml``.

    Raises:
        InputError: the file is missing, is no TOML, or has a wrong key or value.
    """
    remedy = "import the supernet again"
    try:
        source = Source.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; {remedy}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no TOML: {error}; {remedy}") from error
    except ValidationError as error:
        raise InputError(f"{path}: {wrong_key(error.errors()[0], str(path))}; {remedy}") from error
    if not ONE_SIZE.fullmatch(source.space):
        raise InputError(f"{path}: space is one for images of one size, such as ofa_mbv3/w1.0-r224/v1; {remedy}")
    if len(source.mean) != len(source.std) or not source.mean:
        raise InputError(f"{path}: mean and std want one value a channel, not {len(source.mean)} and {len(source.std)}")
    return source


def _lines(table: dict[str, Any]) -> list[str]:
    """Keys and values: JSON's texts, numbers and lists of them are TOML's, but for the one control character."""
    shown = {key: json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") for key, value in table.items()}
    return [f"{key} = {value}" for key, value in shown.items()]
