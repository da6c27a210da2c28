"""The exported file's own accuracy: what is reported is what the file does, on images that chose nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hwnas.core.errors import InputError
from hwnas.core.images import ImageSource, Preprocessing
from hwnas.core.progress import Progress, silent

BATCH = 10
"""Images a call: larger ones fall out of the cache; at 80 pixels an image takes 1.2 ms with 10 and 1.8 ms with 50."""


@dataclass(frozen=True)
class Accuracy:
    """Share of `images` images whose class came first."""

    top1: float
    images: int


def accuracy(
    model: Path | bytes,
    images: ImageSource,
    labels: NDArray[np.integer[Any]],
    preprocessing: Preprocessing,
    *,
    batch: int = BATCH,
    threads: int = 0,
    progress: Progress = silent,
) -> Accuracy:
    """Top-1 of an ONNX file over N x H x W x C bytes, in batches; `threads` 0 leaves it to the runtime.

    Progress is told as "images".

    Raises:
        InputError: the file is no model, there are no images, or images and labels differ in number.
    """
    hits = right(model, images, labels, preprocessing, batch=batch, threads=threads, progress=progress)
    return Accuracy(float(np.mean(hits)), len(images))


def right(
    model: Path | bytes,
    images: ImageSource,
    labels: NDArray[np.integer[Any]],
    preprocessing: Preprocessing,
    *,
    batch: int = BATCH,
    threads: int = 0,
    progress: Progress = silent,
) -> NDArray[np.bool_]:
    """Which images an ONNX file classifies rightly; arguments and errors as of `accuracy`."""
    if len(images) != len(labels) or not len(images):
        raise InputError(f"{len(images)} images and {len(labels)} labels: give one label an image, and at least one")
    return np.asarray(predict(model, images, preprocessing, batch=batch, threads=threads, progress=progress) == labels)


def predict(
    model: Path | bytes,
    images: ImageSource,
    preprocessing: Preprocessing,
    *,
    batch: int = BATCH,
    threads: int = 0,
    progress: Progress = silent,
) -> NDArray[np.int64]:
    """The class of each image, N values."""
    session = open_session(model, threads)
    classes = []
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        classes.append(run_one(session, preprocessing(part)).argmax(axis=1))
        progress("images", start + len(part), len(images))
    return np.concatenate(classes) if classes else np.zeros(0, dtype=np.int64)


def open_session(model: Path | bytes, threads: int = 0) -> onnxruntime.InferenceSession:
    """An onnxruntime session on the CPU.

    Raises:
        InputError: the file is missing or no ONNX model.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors only: warnings on stderr would break into progress bars
    try:
        source = model if isinstance(model, bytes) else model.read_bytes()
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except OSError as error:
        raise InputError(f"cannot read {model!s}: {error.strerror}") from error
    except Exception as error:  # onnxruntime's own errors have no common base but this
        name = "these bytes" if isinstance(model, bytes) else str(model)
        raise InputError(f"{name}: no model that onnxruntime can load; export it again") from error


def run_batches(
    session: onnxruntime.InferenceSession, inputs: NDArray[np.float32], size: int
) -> Iterator[NDArray[np.float32]]:
    """Outputs of N x C x H x W inputs, `size` images at a time."""
    for start in range(0, len(inputs), size):
        yield run_one(session, inputs[start : start + size])


def run_one(session: onnxruntime.InferenceSession, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Outputs of one batch; a file of a fixed batch size is fed in portions, the last one filled up with zeros."""
    entry = session.get_inputs()[0]
    fixed = entry.shape[0]
    if not isinstance(fixed, int):
        return np.asarray(session.run(None, {entry.name: inputs})[0])
    missing = -len(inputs) % fixed
    padded = np.concatenate([inputs, np.zeros((missing, *inputs.shape[1:]), dtype=np.float32)])
    parts = [session.run(None, {entry.name: padded[i : i + fixed]})[0] for i in range(0, len(padded), fixed)]
    return np.concatenate(parts)[: len(inputs)]
