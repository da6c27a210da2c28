"""Checkpoints: whole, read back, and refused when damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from hwnas.core.errors import InputError
from hwnas.ofa_supernet import checkpoint
from hwnas.ofa_supernet.checkpoint import Progressed
from hwnas.ofa_supernet.network import OfaSupernet


@pytest.fixture
def momentum(supernet: OfaSupernet) -> dict[str, Tensor]:
    return {name: torch.full_like(value, 0.5) for name, value in supernet.named_parameters()}


@pytest.fixture
def path(tmp_path: Path, supernet: OfaSupernet, momentum: dict[str, Tensor]) -> Path:
    curve = [{"stage": "full", "loss": 1.5}]
    state = Progressed(1, 2, 7, 0.1 + 0.2, 3.5, 9, {"scale": 2.0}, curve, 'space = "µ"\n')
    parts = {"weights": supernet.state_dict(), "momentum": momentum}
    checkpoint.save(tmp_path / "checkpoint.safetensors", parts, state)
    return tmp_path / "checkpoint.safetensors"


def test_reads_back(path: Path, supernet: OfaSupernet, momentum: dict[str, Tensor]) -> None:
    parts, state = checkpoint.load(path)
    for part, stored in (("weights", supernet.state_dict()), ("momentum", momentum)):
        assert parts[part].keys() == stored.keys()
        assert all(torch.equal(parts[part][name], stored[name]) for name in stored)
    curve = [{"stage": "full", "loss": 1.5}]
    assert state == Progressed(1, 2, 7, 0.1 + 0.2, 3.5, 9, {"scale": 2.0}, curve, 'space = "µ"\n')


def test_channels_last_reads_back(tmp_path: Path, supernet: OfaSupernet) -> None:
    """Training keeps weights channels-last; what is stored is the same numbers."""
    stored = {name: value.clone() for name, value in supernet.state_dict().items()}
    laid_out = supernet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    checkpoint.save(tmp_path / "c", {"weights": laid_out.state_dict()}, Progressed())
    checkpoint.save_weights(tmp_path / "w", laid_out.state_dict(), {"space": supernet.space.id})
    for weights in (checkpoint.load(tmp_path / "c")[0]["weights"], checkpoint.load_weights(tmp_path / "w")):
        assert all(torch.equal(weights[name], stored[name]) for name in stored)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncation_is_one_line(path: Path, share: float) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[: int(share * len(raw))])
    for read in (checkpoint.load, checkpoint.load_weights):
        with pytest.raises(InputError, match="is damaged") as caught:
            read(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("metadata", [None, {}, {"state": "{"}, {"state": '{"unknown": 1}'}, {"state": "[]"}])
def test_a_header_without_the_state_is_one_line(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(safetensors.torch.save({"weights.a": torch.zeros(1)}, metadata))
    with pytest.raises(InputError, match="is damaged: remove it to train from the start"):
        checkpoint.load(path)


def test_a_folder_has_no_weights(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*: Is a directory; make it a readable file"):
        checkpoint.load_weights(tmp_path)


def test_missing_weights_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is missing: the supernet folder is not whole"):
        checkpoint.load_weights(tmp_path / "weights.safetensors")
