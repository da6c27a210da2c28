"""Files as others published them, with made-up weights: accuracy models and checkpoints of the released supernets."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from oracles import weights
from released_models import random_model

from hwnas.evaluators.released import MOBILENET_V3, Released

SHAPES: dict[str, dict[str, dict[str, list[int]]]] = json.loads(
    gzip.decompress((Path(__file__).parent / "ofa_supernet/once_for_all/shapes.json.gz").read_bytes())
)
"""Of every tensor: SHAPES["released" or "narrow"][network][key]."""
WIDTH_1 = "ofa_mbv3_d234_e346_k357_w1.0"


def checkpoint(path: Path, shapes: dict[str, list[int]] | None = None, classes: int | None = None) -> Path:
    """A checkpoint file, as released: the state dict beside other things; by default of MobileNetV3 at width 1.0."""
    shapes = dict(SHAPES["released"][WIDTH_1] if shapes is None else shapes)
    if classes is not None:
        last = {key: [classes, *shape[1:]] for key, shape in shapes.items() if key.startswith("classifier.")}
        shapes |= last
    tensors: dict[str, Any] = {key: torch.from_numpy(np.array(v)) for key, v in weights.state_dict(shapes, 1).items()}
    torch.save({"state_dict": tensors, "epoch": 1}, path)
    return path


def predictor_file(path: Path, seed: int = 0, released: Released = MOBILENET_V3) -> Path:
    """An accuracy model in the published form, by default MobileNetV3's, as .npz or .safetensors."""
    model = random_model(released, seed)
    if path.suffix == ".npz":
        np.savez(path, **model)  # type: ignore[arg-type]
    else:
        path.write_bytes(safetensors.numpy.save(model))
    return path
