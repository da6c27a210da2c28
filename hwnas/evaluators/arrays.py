"""Arrays from a file of whatever kind it was published as: .npz, .pth or .safetensors; no pickled code is run."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwnas.core.errors import InputError

Arrays = Mapping[str, NDArray[np.float32]]

NUMPY, SAFETENSORS, TORCH = (".npz",), (".safetensors",), (".pth", ".pt", ".tar")
"""What the names of each kind end with."""


def read_arrays(path: Path) -> Arrays:
    """Every array of a file by name, as float32; of a checkpoint what it holds under ``state_dict``.

    Raises:
        InputError: the file cannot be read, is of no known kind, holds code, or holds anything but arrays.
    """
    readers = dict.fromkeys(NUMPY, _numpy) | dict.fromkeys(SAFETENSORS, _safetensors) | dict.fromkeys(TORCH, _torch)
    if path.suffix not in readers:
        raise InputError(f"{path} is of no kind that is read here: name a file that ends with {', '.join(readers)}")
    try:
        found = readers[path.suffix](path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; name a file that can be read") from error
    if not isinstance(found, Mapping) or not found:
        raise InputError(f"{path} holds no arrays by name: name the published file")
    try:
        return {str(name): np.asarray(value, dtype=np.float32) for name, value in found.items()}
    except (TypeError, ValueError) as error:
        raise InputError(f"{path} holds something that is no array of numbers: name the published file") from error


def _numpy(path: Path) -> Any:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged, or holds Python objects: fetch it again") from error


def _safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(path.read_bytes())
    except SafetensorError as error:
        raise InputError(f"{path} is damaged: fetch it again") from error


def _torch(path: Path) -> Any:
    import torch  # only for the files that need it

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks on an odd file, which an error or the weights follow
            found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:
        raise InputError(f"{path} is damaged, or holds more than weights: fetch it again") from error
    return found["state_dict"] if isinstance(found, Mapping) and "state_dict" in found else found
