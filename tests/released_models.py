"""Accuracy models in the published form: small ones with random weights, and the real one where HWNAS_DATA names it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hwnas.evaluators.released import MOBILENET_V3, Released

DATA = os.environ.get("HWNAS_DATA")
needs_data = pytest.mark.skipif(
    not DATA, reason="set HWNAS_DATA to the folder that holds ofa_specialized/ and ofa_measured_subnets/"
)
HIDDEN = 6


def random_model(released: Released = MOBILENET_V3, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Weights of the released shape, but for the width of the hidden layers."""
    rng = np.random.default_rng(seed)
    made: dict[str, NDArray[np.float32]] = {}
    width = released.columns
    for index, (weight, bias) in enumerate(released.layers):
        height = 1 if index == len(released.layers) - 1 else HIDDEN
        made[weight] = rng.normal(0, width**-0.5, (height, width)).astype(np.float32)
        if bias is not None:
            made[bias] = rng.normal(0, 0.1, height).astype(np.float32)
        width = height
    if released.constant is not None:
        made[released.constant] = np.array([0.8], dtype=np.float32)
    return made


def real(name: str) -> Path:
    """A file of the published models."""
    return Path(DATA or "") / "ofa_specialized" / name
