"""Several processes train as one does: the same subnets, the same images, the same statistics."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import safetensors.torch
import torch
from tiny_space import TINY
from tiny_training import RECIPE_TEXT, SANDWICH_TEXT, stripes

from hwnas.core.errors import InputError
from hwnas.ofa_supernet.datasets import READERS
from hwnas.ofa_supernet.folder import CURVE, WEIGHTS
from hwnas.ofa_supernet.ranks import OneProcess, open_ranks
from hwnas.ofa_supernet.train import train
from hwnas.spaces.ofa_mbv3 import LAYOUTS

SCRIPT = Path(__file__).with_name("train_in_ranks.py")


def run(text: str, folder: Path, processes: int) -> str:
    """Train in so many processes; what they printed."""
    folder.mkdir()
    recipe = folder / "asked.toml"
    recipe.write_text(text)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    words = [*launcher, str(SCRIPT), str(recipe), str(folder / "out")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def losses(folder: Path) -> list[float]:
    with (folder / "out" / CURVE).open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("text", [RECIPE_TEXT, SANDWICH_TEXT], ids=["shrinking", "sandwich"])
def test_two_gloo_processes_give_the_loss_of_one(text: str, tmp_path: Path) -> None:
    """Batches of 32, so 16 images each: statistics and gradients are those of all 32."""
    one, two = (run(text, tmp_path / str(count), count) for count in (1, 2))
    assert "rank 0 of 1" in one
    digests = {line.split(": ")[1] for line in two.splitlines() if line.startswith("rank")}
    assert len(digests) == 1
    assert losses(tmp_path / "2") == pytest.approx(losses(tmp_path / "1"), rel=2e-4)
    weights = [safetensors.torch.load_file(tmp_path / count / "out" / WEIGHTS) for count in ("1", "2")]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=5e-3, atol=5e-3)


def test_half_precision_in_two_processes(tmp_path: Path) -> None:
    """Products are rounded; sums over processes are not."""
    text = SANDWICH_TEXT.replace("seed = 5", 'seed = 5\nprecision = "bfloat16"')
    for count in (1, 2):
        run(text, tmp_path / str(count), count)
    assert losses(tmp_path / "2") == pytest.approx(losses(tmp_path / "1"), rel=0.02)


def test_processes_that_see_different_folders_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAYOUTS, "ofa_mbv3/tiny/v1", TINY)
    monkeypatch.setitem(READERS, "stripes", stripes)

    class Two(OneProcess):
        world = 2

        def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
            for tensor in tensors:
                tensor += 1.0  # the other process has a checkpoint

    with pytest.raises(InputError, match="find different things at --out: name a folder that all of them share"):
        train(RECIPE_TEXT, stripes(tmp_path).splits(), tmp_path / "out", ranks=Two())


def test_no_cuda_is_one_line() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is CUDA here")
    with pytest.raises(InputError, match="torch sees no CUDA device here: leave --accelerator out"):
        open_ranks("cuda")
