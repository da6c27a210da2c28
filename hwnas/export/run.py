"""Classify images with the model beside this file, or time it; needs numpy and onnxruntime, for image files Pillow.

    python run.py image.png          the likeliest classes of an image (.npy: H x W, H x W x C or N x H x W x C bytes)
    python run.py --benchmark        median and 90th percentile of one image's latency on this machine

Everything else is read from the model's own metadata, so model.onnx and this file are enough.
"""

# ruff: noqa: T201 - a program: what it prints is its answer
from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

MODEL = Path(__file__).resolve().with_name("model.onnx")


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line asks; 0 if it was done, 2 where the input is bad."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", nargs="*", type=Path)
    parser.add_argument("--benchmark", action="store_true", help="time the model on this machine")
    parser.add_argument("--threads", type=int, default=1, help="threads of the runtime (default 1)")
    parser.add_argument("--samples", type=int, default=500, help="timed calls (default 500)")
    options = parser.parse_args(arguments)
    if not options.image and not options.benchmark:
        parser.error("name an image, or ask for --benchmark")
    if options.samples < 1:
        parser.error("--samples wants at least 1")
    if options.threads < 1:
        parser.error("--threads wants at least 1")
    if not MODEL.is_file():
        parser.error(f"{MODEL} is missing: keep run.py beside its model")
    session = open_session(options.threads)
    metadata = session.get_modelmeta().custom_metadata_map
    preprocessing = json.loads(metadata["preprocessing"])
    labels = json.loads(metadata["labels"])
    for path in options.image:
        try:
            images = read_images(path, preprocessing)
        except (EOFError, OSError, ValueError) as error:
            print(f"{path}: {error}", file=sys.stderr)
            return 2
        for logits in run(session, preprocess(images, preprocessing)):
            print(json.dumps({"image": path.name, "classes": likeliest(logits, labels)}))
    if options.benchmark:
        print(json.dumps(benchmark(session, preprocessing, options.samples, options.threads)))
    return 0


def open_session(threads: int) -> Any:
    """The model in the runtime, on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(MODEL), options, providers=["CPUExecutionProvider"])


def read_images(path: Path, preprocessing: dict[str, Any]) -> Any:
    """An image file as N x H x W x C bytes; where the model wants the middle of a picture, that is cut out."""
    channels, size = preprocessing["channels"], preprocessing["resolution"]
    shorter = preprocessing.get("shorter_side")
    if path.suffix == ".npy":
        try:
            images = np.lib.format.read_array(path.open("rb"), allow_pickle=False)
        except ValueError as error:
            raise ValueError("no .npy file of pixels") from error
    else:
        try:
            from PIL import Image
        except ImportError as error:
            raise ValueError("install Pillow to read this, or give a .npy file") from error
        with Image.open(path) as image:
            picture = image.convert("L" if channels == 1 else "RGB")
        images = np.asarray(picture if shorter is None else middle(picture, size, shorter))
    if images.ndim == 2:
        images = images[:, :, None]
    if images.ndim == 3:
        images = images[None]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != channels:
        raise ValueError(f"want uint8 pixels, H x W x {channels}; got {images.dtype} of shape {images.shape}")
    if shorter is not None and images.shape[1:3] != (size, size):
        raise ValueError(f"want pictures cut to {size} x {size}, as README.md tells; got shape {images.shape}")
    return images


def middle(picture: Any, size: int, shorter: int) -> Any:
    """The middle, size x size, of a Pillow image that is resized to a shorter side of `shorter` pixels."""
    from PIL import Image

    least = min(picture.size)
    width, height = (int(shorter * side / least) for side in picture.size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    resized = picture.resize((width, height), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + size, top + size))


def preprocess(images: Any, preprocessing: dict[str, Any]) -> Any:
    """N x H x W x C bytes to N x C x R x R: bilinear with half-pixel centres, scaled to 0..1, normalised."""
    size = preprocessing["resolution"]
    mean = np.array(preprocessing["mean"]).reshape(-1, 1, 1)
    std = np.array(preprocessing["std"]).reshape(-1, 1, 1)
    pixels = images.transpose(0, 3, 1, 2).astype(np.float32)
    pixels = interpolation(pixels.shape[2], size) @ pixels @ interpolation(pixels.shape[3], size).T
    return ((pixels / 255 - mean) / std).astype(np.float32)


def interpolation(size: int, resolution: int) -> Any:
    """Linear interpolation along one axis as a matrix, resolution x size."""
    centre = np.maximum((np.arange(resolution) + 0.5) * size / resolution - 0.5, 0.0)
    low = np.minimum(centre.astype(int), size - 1)
    high = np.minimum(low + 1, size - 1)
    matrix = np.zeros((resolution, size))
    np.add.at(matrix, (np.arange(resolution), low), 1 - (centre - low))
    np.add.at(matrix, (np.arange(resolution), high), centre - low)
    return matrix.astype(np.float32)


def run(session: Any, inputs: Any) -> Any:
    """Logits, N x classes; one image at a time, as any model takes."""
    entry = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {entry: inputs[i : i + 1]})[0] for i in range(len(inputs))])


def likeliest(logits: Any, labels: list[str], count: int = 3) -> list[dict[str, Any]]:
    """The likeliest classes with their probabilities, best first."""
    odds = np.exp(logits - logits.max())
    shares = odds / odds.sum()
    return [{"label": labels[i], "probability": round(float(shares[i]), 4)} for i in np.argsort(-shares)[:count]]


def benchmark(session: Any, preprocessing: dict[str, Any], samples: int, threads: int) -> dict[str, Any]:
    """Latency of one image in milliseconds, after a warm-up of a tenth as many calls."""
    entry = session.get_inputs()[0].name
    shape = (1, preprocessing["channels"], preprocessing["resolution"], preprocessing["resolution"])
    feed = {entry: np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
    times = []
    for _ in range(samples + max(10, samples // 10)):
        start = time.perf_counter()
        session.run(None, feed)
        times.append((time.perf_counter() - start) * 1e3)
    median, p90 = np.percentile(times[-samples:], [50, 90])
    return {
        "latency_ms": {"median": round(float(median), 4), "p90": round(float(p90), 4)},
        "samples": samples,
        "threads": threads,
        "runtime": f"onnxruntime {onnxruntime.__version__}",
    }


if __name__ == "__main__":
    sys.exit(main())
