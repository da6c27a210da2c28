"""Checkpoints: one safetensors file holds every tensor of a training and, in its header, the rest of its state.

One file, renamed into place, so that a checkpoint is whole or absent; no pickles. No generator's state is in it: what a
step draws follows from the recipe's seed and the step's number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hwnas.core.errors import InputError
from hwnas.core.files import write_atomic

Tensors = dict[str, Tensor]


@dataclass
class Progressed:
    """Where training stands, and what each epoch showed."""

    stage: int = 0
    epoch: int = 0
    """Whole ones, of the stage."""
    step: int = 0
    """Steps done, of the epoch."""
    loss: float = 0.0
    """Their sum."""
    seconds: float = 0.0
    """That they took."""
    averaged: int = 0
    """Steps over which weights were averaged."""
    scaler: dict[str, Any] = field(default_factory=dict)
    """Of losses, with half precision."""
    curve: list[dict[str, Any]] = field(default_factory=list)
    identity: str = ""
    """Of the training: what decides its weights."""


def save(path: Path, parts: Mapping[str, Tensors], state: Progressed) -> None:
    """Write a checkpoint atomically; each part, such as "weights", has its own names."""
    tensors = {
        f"{part}.{name}": value.detach().cpu().contiguous() for part in parts for name, value in parts[part].items()
    }
    write_atomic(path, safetensors.torch.save(tensors, {"state": json.dumps(asdict(state))}))


def load(path: Path) -> tuple[dict[str, Tensors], Progressed]:
    """The parts and the state of a checkpoint.

    Raises:
        InputError: the file is damaged.
    """
    parts: dict[str, Tensors] = {}
    try:
        with safe_open(path, "pt") as file:
            state = Progressed(**json.loads(file.metadata()["state"]))
            for key in file.keys():  # noqa: SIM118 (not a mapping)
                part, name = key.split(".", 1)
                parts.setdefault(part, {})[name] = file.get_tensor(key)
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise InputError(f"{path} is damaged: remove it to train from the start, or restore it") from error
    return parts, state


def save_weights(path: Path, weights: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a trained supernet's weights atomically."""
    write_atomic(path, safetensors.torch.save({k: v.detach().cpu().contiguous() for k, v in weights.items()}, metadata))


def load_weights(path: Path) -> dict[str, Tensor]:
    """Weights that `save_weights` wrote.

    Raises:
        InputError: the file is missing, cannot be read or is damaged.
    """
    try:
        return safetensors.torch.load(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing: the supernet folder is not whole, restore or train it again") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; make it a readable file") from error
    except SafetensorError as error:
        raise InputError(f"{path} is damaged: restore it, or train the supernet again") from error
