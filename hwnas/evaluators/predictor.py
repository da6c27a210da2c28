"""`AccuracyPredictor`: accuracy of any architecture from a few hundred measured ones; numpy alone at search time.

Two kinds of regression are averaged: a Gaussian process and small neural networks. Each is fitted on K folds, so every
sample has a prediction by models that did not see it; these choose the weight of the two kinds and give the reported
held-out figures. The answer is the mean of the K fold models, the spread their standard deviation.

Measured on once-for-all subnets, 400 for fitting and up to 1,500 held out, three splits, Kendall's tau: on 2,162 with
published ImageNet accuracy the process 0.956, the networks 0.958, both 0.959, ridge 0.945; on the released accuracy
model with 0.15 points of noise 0.853, 0.848, 0.853 and 0.853. The published shape of 3 x 400 units, on one split of
each: 0.933 and 0.750.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hwnas.core.arch import ArchBatch
from hwnas.core.errors import InputError
from hwnas.core.files import write_atomic
from hwnas.core.metrics import Floats
from hwnas.core.protocols import SearchSpace
from hwnas.evaluators.features import Encoder, Features
from hwnas.evaluators.ranking import Ranking

FORMAT = "hwnas accuracy predictor 1"
FOLDS = 5
HIDDEN = 64
"""Units of the networks' one hidden layer: 100 x 100 cost three times as long to fit and ranked no better."""
WEIGHT_DECAY = 1.0
"""On standardised accuracies; 0.1 ranked the same (tau within 0.001) and followed noise more closely."""
ITERATIONS = 300
"""Of L-BFGS, which fits networks of this size within half a second."""
CHUNK = 20_000
"""Architectures a step of `evaluate`: bounds the kernel to some tens of megabytes."""
LEAST_SAMPLES = 20
"""Fewer leave folds too small to say anything held out."""

Tensor = NDArray[np.float32]


@dataclass(frozen=True)
class FitReport:
    """What is known of a predictor, on samples that the predicting models had not seen (K-fold)."""

    samples: int
    kendall_tau: float
    rmse: float
    """Root mean square error, as a fraction of images."""
    kernel_share: float
    """Weight of the Gaussian process; the networks have the rest."""
    seed: int
    kendall_tau_better_half: float | None = None
    """Among the better half of the samples."""
    top_tenth: float | None = None
    """Share of the best tenth that is predicted to be there."""
    bottom_tenth: float | None = None
    """Share of the worst tenth that is predicted to be there."""


@dataclass(frozen=True, eq=False)
class AccuracyPredictor:
    """Made by `fit` or `load`."""

    encoder: Encoder
    tensors: Mapping[str, Tensor]
    report: FitReport

    @classmethod
    def fit(cls, space: SearchSpace, batch: ArchBatch, accuracies: Floats, seed: int = 0) -> AccuracyPredictor:
        """Fit to measured accuracies (fractions), N values for N architectures; the same seed gives the same model.

        Raises:
            InputError: there are fewer than 20 samples, or one is no number.
        """
        if len(batch) != len(accuracies) or len(batch) < LEAST_SAMPLES or not np.isfinite(accuracies).all():
            raise InputError(
                f"want at least {LEAST_SAMPLES} architectures with an accuracy each, got {len(accuracies)}"
            )
        encoder = Encoder.of(space)
        features = encoder(batch)
        mean, std = float(np.mean(accuracies)), float(np.std(accuracies)) or 1.0
        targets = (accuracies - mean) / std
        fold = np.random.default_rng(seed).permutation(len(batch)) % FOLDS
        with _one_thread():
            kernel = _fit_kernel(features, targets, fold)
            networks = _fit_networks(features, targets, fold, seed)
            rows = np.arange(len(batch))
            unseen = _kernel_answers(kernel, features)[rows, fold], _network_answers(networks, features)[rows, fold]
            share = _share(unseen[0], unseen[1], targets)
        blend = share * unseen[0] + (1 - share) * unseen[1]
        scalars = {"scale": np.array([mean, std, share], dtype=np.float32)}
        report = FitReport(
            samples=len(batch),
            rmse=float(np.sqrt(np.mean((blend - targets) ** 2)) * std),
            kernel_share=share,
            seed=seed,
            **asdict(Ranking.of(blend.astype(np.float64), targets)),
        )
        return cls(encoder, kernel | networks | scalars, report)

    @property
    def name(self) -> str:
        """How documents call it."""
        return "accuracy predictor"

    @property
    def rmse(self) -> float:
        """Of the report."""
        return self.report.rmse

    @property
    def note(self) -> str:
        """Nothing: its answers are accuracies on held-out images, within the error."""
        return ""

    def evaluate(self, batch: ArchBatch) -> Floats:
        """Predicted accuracies, fractions, N values."""
        mean: Floats = self._members(batch).mean(axis=1)
        return mean

    def spread(self, batch: ArchBatch) -> Floats:
        """How far the fold models differ: their standard deviation, N values, as a fraction."""
        std: Floats = self._members(batch).std(axis=1)
        return std

    def save(self, path: Path) -> None:
        """Write as safetensors, the report in its header; whole or not at all."""
        header = {"format": FORMAT, "space": self.encoder.space.id, "report": json.dumps(asdict(self.report))}
        write_atomic(path, save(dict(self.tensors), metadata=header))

    @classmethod
    def load(cls, space: SearchSpace, path: Path) -> AccuracyPredictor:
        """Read what `save` wrote.

        Raises:
            InputError: the file is missing, broken or made for another space.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            if header.get("format") != FORMAT:
                raise InputError(f"{path} is no accuracy predictor: fit it again")
            if header.get("space") != space.id:
                raise InputError(f"{path} is for {header.get('space')}, not {space.id}: fit one for this space")
            report = FitReport(**json.loads(header["report"]))
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror or error}; fit the predictor first") from error
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is broken: fit the predictor again") from error
        encoder = Encoder.of(space)
        if not _fits(tensors, encoder.width):
            raise InputError(f"{path} does not fit {space.id} as it is now: fit the predictor again")
        return cls(encoder, tensors, report)

    def _members(self, batch: ArchBatch) -> Floats:
        """Accuracy by each fold model, N x K."""
        mean, std, share = (float(value) for value in self.tensors["scale"])
        parts = [np.zeros((0, FOLDS))]
        for start in range(0, len(batch), CHUNK):
            features = self.encoder(batch.take(np.arange(start, min(start + CHUNK, len(batch)))))
            kernel, networks = _kernel_answers(self.tensors, features), _network_answers(self.tensors, features)
            parts.append(mean + std * (share * kernel + (1 - share) * networks).astype(np.float64))
        return np.concatenate(parts)


def _one_thread() -> AbstractContextManager[object]:
    """Small matrix products wait for one another on many threads: beside a busy core, a minute instead of a second."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(limits=1)
    return limits


def _fit_kernel(features: Features, targets: Floats, fold: NDArray[np.intp]) -> dict[str, Tensor]:
    """One Gaussian process a fold: length and noise by marginal likelihood on all samples, weights without the fold."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    prior = ConstantKernel(1.0, (1e-2, 1e4)) * RBF(5.0, (0.5, 100.0)) + WhiteKernel(0.1, (1e-4, 2.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a bound reached, as by pure noise, is an answer
        fitted = GaussianProcessRegressor(prior).fit(features, targets).kernel_
    length = np.array([fitted.k1.k2.length_scale], dtype=np.float32)
    signal, noise = float(fitted.k1.k1.constant_value), float(fitted.k2.noise_level)
    gram = signal * _similarity(features, features, length).astype(np.float64)
    weights = np.zeros((len(features), FOLDS))
    for index in range(FOLDS):
        kept = np.flatnonzero(fold != index)
        block = gram[np.ix_(kept, kept)] + noise * np.eye(len(kept))
        weights[kept, index] = signal * np.linalg.solve(block, targets[kept])
    return {"kernel.centres": features, "kernel.length": length, "kernel.weights": weights.astype(np.float32)}


def _fit_networks(features: Features, targets: Floats, fold: NDArray[np.intp], seed: int) -> dict[str, Tensor]:
    """One network of one hidden layer a fold; their layers stand side by side, so that one product serves all."""
    from sklearn.neural_network import MLPRegressor

    hidden, hidden_bias, out, out_bias = [], [], np.zeros((FOLDS * HIDDEN, FOLDS)), np.zeros(FOLDS)
    for index in range(FOLDS):
        network = MLPRegressor(
            hidden_layer_sizes=(HIDDEN,),
            solver="lbfgs",
            alpha=WEIGHT_DECAY,
            max_iter=ITERATIONS,
            random_state=(seed * FOLDS + index) % 2**32,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # stopping before full convergence is meant
            network.fit(features[fold != index].astype(np.float64), targets[fold != index])
        hidden.append(network.coefs_[0])
        hidden_bias.append(network.intercepts_[0])
        out[index * HIDDEN : (index + 1) * HIDDEN, index] = network.coefs_[1][:, 0]
        out_bias[index] = network.intercepts_[1][0]
    arrays = {"hidden": np.concatenate(hidden, axis=1), "hidden_bias": np.concatenate(hidden_bias)}
    arrays |= {"out": out, "out_bias": out_bias}
    return {f"networks.{name}": array.astype(np.float32) for name, array in arrays.items()}


def _similarity(first: Features, second: Features, length: Tensor) -> Tensor:
    """Gaussian kernel, N x M."""
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1) - 2 * first @ second.T
    result: Tensor = np.exp(np.maximum(squares, 0) * (-0.5 / length[0] ** 2))
    return result


def _kernel_answers(tensors: Mapping[str, Tensor], features: Features) -> Tensor:
    """Standardised accuracy by each fold's Gaussian process, N x K."""
    near = _similarity(features, tensors["kernel.centres"], tensors["kernel.length"])
    result: Tensor = near @ tensors["kernel.weights"]
    return result


def _network_answers(tensors: Mapping[str, Tensor], features: Features) -> Tensor:
    """Standardised accuracy by each fold's network, N x K."""
    hidden = np.maximum(features @ tensors["networks.hidden"] + tensors["networks.hidden_bias"], 0)
    result: Tensor = hidden @ tensors["networks.out"] + tensors["networks.out_bias"]
    return result


def _share(first: Tensor, second: Tensor, targets: Floats) -> float:
    """The weight in 0..1 of `first` against `second` that errs least in squares."""
    difference = (first - second).astype(np.float64)
    size = float(difference @ difference)
    return float(np.clip(difference @ (targets - second) / size, 0, 1)) if size > 0 else 0.5


def _fits(tensors: Mapping[str, Tensor], width: int) -> bool:
    samples = tensors["kernel.centres"].shape[0] if "kernel.centres" in tensors else 0
    units = FOLDS * HIDDEN
    wanted = {
        "kernel.centres": (samples, width),
        "kernel.length": (1,),
        "kernel.weights": (samples, FOLDS),
        "networks.hidden": (width, units),
        "networks.hidden_bias": (units,),
        "networks.out": (units, FOLDS),
        "networks.out_bias": (FOLDS,),
        "scale": (3,),
    }
    return {name: tensor.shape for name, tensor in tensors.items()} == wanted
