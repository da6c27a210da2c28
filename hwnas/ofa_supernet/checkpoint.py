"""Checkpoints: one safetensors file holds weights, momentum and, in its header, the rest of the training state.

One file, renamed into place, so that a checkpoint is whole or absent; no pickles.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hwnas.core.errors import InputError
from hwnas.core.files import write_atomic


@dataclass
class Progressed:
    """Where training stands: whole epochs done, and what each one showed."""

    stage: int = 0
    epoch: int = 0
    rng: dict[str, Any] = field(default_factory=dict)
    curve: list[dict[str, Any]] = field(default_factory=list)
    recipe: str = ""


def save(path: Path, weights: dict[str, Tensor], momentum: dict[str, Tensor], state: Progressed) -> None:
    """Write a checkpoint atomically."""
    tensors = {f"weights.{name}": value.detach().contiguous() for name, value in weights.items()}
    tensors |= {f"momentum.{name}": value.contiguous() for name, value in momentum.items()}
    write_atomic(path, safetensors.torch.save(tensors, {"state": json.dumps(asdict(state))}))


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], Progressed]:
    """Weights, momentum and state of a checkpoint.

    Raises:
        InputError: the file is damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            state = Progressed(**json.loads(file.metadata()["state"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise InputError(f"{path} is damaged: remove it to train from the start, or restore it") from error

    def part(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

    return part("weights."), part("momentum."), state


def save_weights(path: Path, weights: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a trained supernet's weights atomically."""
    write_atomic(path, safetensors.torch.save({k: v.detach().contiguous() for k, v in weights.items()}, metadata))


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
