"""`Fitted`: what fitting a `GCN` found, and the one file that it is kept in.

Shapes: E members, N networks, F sums over operators.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from safetensors import SafetensorError, safe_open

from hwnas.core.errors import InputError
from hwnas.core.files import write_atomic
from hwnas.core.metrics import Floats, Prediction
from hwnas.latency import fitting
from hwnas.latency.domain import Domain
from hwnas.latency.gcn_network import Ensemble, Shape
from hwnas.latency.gcn_predict import predict
from hwnas.latency.graphs import GraphBatch
from hwnas.latency.linear import Linear
from hwnas.latency.tail import Tail

SCHEMA = 1


@dataclass(frozen=True, eq=False)
class Fitted:
    """What `GCN.fit` found; logarithms of milliseconds inside."""

    domain: Domain
    whole: Linear
    """The linear part, fitted on all networks."""
    ensemble: Ensemble
    centre: Floats
    """E x 1, as `scale`."""
    scale: Floats
    floor: float
    part: float = 1.0
    errors: Floats = field(default_factory=lambda: np.zeros(0))
    tail: Tail = field(default_factory=Tail)

    def ratio(self, said: Floats, part: float) -> Floats:
        """Logarithms of the ratio to the linear part, from what the graph networks say; E x N in and out.

        The mean ratio is always taken, of the rest `part`.
        """
        return np.asarray(self.centre + part * self.scale * said, dtype=np.float64)

    def estimate(self, graphs: GraphBatch, sums: Floats, share: float = 0.9) -> Prediction:
        """N predictions, from their graphs and their N x F sums in the order of `whole.names`."""
        base = np.log(np.maximum(self.whole.predict_sums(sums), self.floor))
        median = np.exp(base + self.ratio(predict(self.ensemble, graphs), self.part).mean(0))
        spread = np.exp(fitting.bound(self.errors, share))
        return Prediction(median, self.tail(median), median / spread, median * spread)

    def save(self, path: Path, settings: dict[str, Any]) -> None:
        """Write it and the predictor's settings, whole or not at all."""
        rest = {
            "schema": SCHEMA,
            "settings": settings,
            "shape": asdict(self.ensemble.shape),
            "members": len(self.centre),
            "typical_nodes": self.ensemble.typical_nodes,
            "classes": self.domain.classes,
            "most_nodes": self.domain.most_nodes,
            "names": self.whole.names,
            "constant": self.whole.constant,
            "floor": self.floor,
            "part": self.part,
            "tail": asdict(self.tail),
        }
        arrays = {f"ensemble.{name}": value.numpy() for name, value in self.ensemble.state_dict().items()}
        arrays |= {f"domain.{name}": getattr(self.domain, name) for name in ("least", "greatest")}
        arrays |= {f"linear.{name}": getattr(self.whole, name) for name in ("centre", "scale", "weights")}
        arrays |= {name: getattr(self, name) for name in ("centre", "scale", "errors")}
        whole = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
        write_atomic(path, safetensors.numpy.save(whole, {"gcn": json.dumps(rest)}))

    @classmethod
    def load(cls, path: Path) -> tuple[Fitted, dict[str, Any]]:
        """What `save` wrote: all of it that predicting needs, and the settings.

        Raises:
            InputError: the file is missing, cannot be read, is damaged or of another version.
        """
        try:
            with safe_open(path, "np") as file:
                rest = json.loads(file.metadata()["gcn"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            if rest["schema"] == SCHEMA:
                return cls._of(rest, arrays), rest["settings"]
        except FileNotFoundError as error:
            raise InputError(f"no graph predictor {path}: fit one and `save` it there") from error
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror or error}; make it a readable file") from error
        except (SafetensorError, AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"{path} is damaged, or no graph predictor: fit one and `save` it again") from error
        raise InputError(f"{path} is of version {rest['schema']}, not {SCHEMA}: fit the predictor again and `save` it")

    @classmethod
    def _of(cls, rest: dict[str, Any], arrays: dict[str, Any]) -> Fitted:
        classes, none = tuple(rest["classes"]), np.zeros(0)
        domain = Domain(classes, rest["most_nodes"], arrays["domain.least"], arrays["domain.greatest"])
        centre, scale, slopes = (arrays[f"linear.{name}"] for name in ("centre", "scale", "weights"))
        weights = {name.removeprefix("ensemble."): torch.from_numpy(value) for name, value in arrays.items()}
        features = arrays["ensemble.weights.0"].shape[1]
        ensemble = Ensemble(rest["members"], features, Shape(**rest["shape"]), rest["typical_nodes"], seed=0)
        ensemble.load_state_dict({name: weights[name] for name in ensemble.state_dict()})
        return cls(
            domain,
            Linear(tuple(rest["names"]), centre, scale, slopes, rest["constant"], blind=none),
            ensemble.eval(),
            arrays["centre"],
            arrays["scale"],
            rest["floor"],
            rest["part"],
            arrays["errors"],
            Tail(**rest["tail"]),
        )
