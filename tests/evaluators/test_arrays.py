"""Published files of every kind are read, and nothing in them is run."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from released_models import random_model

from hwnas.core.errors import InputError
from hwnas.evaluators.arrays import read_arrays

MODEL = random_model()


def write(path: Path) -> Path:
    """MODEL as a file of the kind that its name tells."""
    tensors = {name: torch.from_numpy(value) for name, value in MODEL.items()}
    if path.suffix == ".npz":
        np.savez(path, **MODEL)
    elif path.suffix == ".safetensors":
        path.write_bytes(safetensors.numpy.save(MODEL))
    else:
        torch.save({"state_dict": tensors} if "wrapped" in path.name else tensors, path)
    return path


@pytest.mark.parametrize("name", ["a.npz", "a.safetensors", "a.pth", "a.pt", "wrapped.pth", "wrapped.pth.tar"])
def test_every_kind(name: str, tmp_path: Path) -> None:
    found = read_arrays(write(tmp_path / name))
    assert found.keys() == MODEL.keys()
    for key, value in MODEL.items():
        assert found[key].dtype == np.float32
        np.testing.assert_array_equal(found[key], value)


class _Code:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("ran"),)


@pytest.mark.parametrize("name", ["a.npz", "a.safetensors", "a.pth"])
@pytest.mark.parametrize("damage", ["missing", "empty", "text", "half", "folder", "code"])
def test_what_cannot_be_read_is_one_line(
    name: str, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    if damage == "folder":
        path.mkdir()
    elif damage == "half":
        path.write_bytes(write(path).read_bytes()[:800])
    elif damage == "code" and name == "a.npz":
        np.savez(path, weight=np.array([_Code()], dtype=object))
    elif damage == "code":
        path.write_bytes(pickle.dumps({"weight": _Code()}))
    elif damage != "missing":
        path.write_bytes(b"" if damage == "empty" else b"nothing of the kind\n")
    with pytest.raises(InputError) as caught:
        read_arrays(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_an_archive_of_something_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("readme.txt", "no array")
    with pytest.raises(InputError):
        read_arrays(tmp_path / "a.npz")


def test_other_kinds_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends with \.npz, \.safetensors, \.pth"):
        read_arrays(tmp_path / "a.onnx")


@pytest.mark.parametrize("content", [[], {}, {"a": "text"}, {"state_dict": 3}, torch.zeros(3)])
def test_a_checkpoint_without_arrays(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(InputError, match="name the published file"):
        read_arrays(tmp_path / "a.pth")
