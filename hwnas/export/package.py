"""Deployable packages: a folder with the model, a program that runs it, its numbers and where each came from.

A package is whole or absent: it is written beside its place and renamed into it. Only this module knows the format.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from hwnas.core.arch import Arch
from hwnas.core.errors import InputError
from hwnas.core.files import sha256
from hwnas.core.folders import replacing
from hwnas.core.images import Preprocessing
from hwnas.export.card import card

SCHEMA = 1
MODEL = "model.onnx"
MANIFEST = "manifest.json"
REQUIREMENTS = "numpy>=1.24\nonnxruntime>=1.17\nPillow>=10  # only to read image files\n"


@dataclass(frozen=True)
class Number:
    """One figure of the model with its source: nothing is stated without saying how it is known.

    `values` are by statistic (``{"median": 1.2, "p90": 1.4}``), in `unit`, accuracies as fractions; `source` says on
    what (device, runtime, precision, threads, samples; or images and split).
    """

    metric: str
    kind: Literal["measured", "predicted", "simulated"]
    values: Mapping[str, float]
    unit: str
    source: Mapping[str, Any]


@dataclass(frozen=True)
class PackageInfo:
    """What a package says about its model."""

    name: str
    arch: Arch
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    provenance: Mapping[str, Any]
    numbers: tuple[Number, ...] = ()

    def metadata(self) -> dict[str, str]:
        """What goes into the ONNX file itself, each value JSON; `run.py` needs labels and preprocessing there."""
        return {
            "arch": json.dumps(self.arch.to_json()),
            "labels": json.dumps(list(self.labels)),
            "preprocessing": json.dumps(self.preprocessing.to_json()),
            "provenance": json.dumps(dict(self.provenance)),
        }


def write_package(folder: Path, info: PackageInfo, model: Path) -> Path:
    """Make `folder`/`info.name` from an exported model; an older package of that name is replaced in one step.

    Raises:
        InputError: the name is no folder name, the model is missing, or the folder cannot be written.
    """
    if not info.name or Path(info.name).name != info.name or info.name.startswith("."):
        raise InputError(f"{info.name!r} cannot name a package: give a plain folder name")
    target = folder / info.name
    try:
        with replacing(target) as fresh:
            _fill(fresh, info, model.read_bytes())
    except OSError as error:
        raise InputError(f"cannot write package {target}: {error.strerror}; make its folder writable") from error
    return target


def read_manifest(folder: Path) -> dict[str, Any]:
    """A package's manifest.

    Raises:
        InputError: there is none, or it is no manifest of this schema.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; name the folder of a package") from error
    except ValueError as error:
        raise InputError(f"{path} is no JSON: export the package again") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise InputError(f"{path} is no manifest of schema {SCHEMA}: export the package again")
    files = manifest.get("files")
    if not isinstance(files, dict) or MODEL not in files or any(Path(name).name != name for name in files):
        raise InputError(f"{path} does not list the package's files: export the package again")
    if not all(isinstance(entry, dict) and isinstance(entry.get("sha256"), str) for entry in files.values()):
        raise InputError(f"{path} lists a file without its sha256: export the package again")
    Arch.from_json(manifest.get("arch"))
    Preprocessing.from_json(manifest.get("preprocessing"))
    return manifest


def check_hashes(folder: Path) -> None:
    """Every file that the manifest lists is there and unchanged.

    Raises:
        InputError: a file is missing, cannot be read or differs; the message names it.
    """
    for name, entry in read_manifest(folder)["files"].items():
        path = folder / name
        if not path.is_file():
            raise InputError(f"{path} is missing: export the package again")
        if sha256(path) != entry["sha256"]:
            raise InputError(f"{path} is not what the manifest says (sha256 differs): export the package again")


def _fill(fresh: Path, info: PackageInfo, model: bytes) -> None:
    contents = {
        MODEL: model,
        "run.py": Path(__file__).with_name("run.py").read_bytes(),
        "requirements.txt": REQUIREMENTS.encode(),
    }
    manifest = {
        "schema": SCHEMA,
        "name": info.name,
        "model": MODEL,
        "arch": info.arch.to_json(),
        "labels": list(info.labels),
        "preprocessing": info.preprocessing.to_json(),
        "provenance": dict(info.provenance),
        "numbers": [asdict(number) for number in info.numbers],
    }
    contents["README.md"] = card(manifest, len(model)).encode()
    manifest["files"] = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)} for name, data in contents.items()
    }
    contents[MANIFEST] = (json.dumps(manifest, indent=2) + "\n").encode()
    for name, data in contents.items():
        with (fresh / name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
