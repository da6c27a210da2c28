"""How near does the graph predictor come to the latencies of once-for-all subnets, from 200 measured ones?

Data: HELP's measurements of 5,000 subnets of the once-for-all MobileNetV3 space on four GPUs, batch 64, in PyTorch (Lee
et al., NeurIPS 2021). For each seed 200 random subnets are measured, and all others are predicted. Share within 5%,
side by side, all fitted on errors relative to the measured latency:

- macs: one factor; macs and a constant;
- blocks, one-hot: ridge regression on which block stands where, and that times the number of pixels;
- blocks: ridge regression on each position's multiply-accumulates, values written and whether it is there;
- operators: ridge regression on sums over classes of operators (`hwnas.latency.linear`), the GCN's linear part;
- gcn: the product's.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pandas as pd
from _common import finish, log, markdown, parser
from _data import folder
from _shapes import SHAPES, shape_option
from numpy.typing import NDArray

from hwnas import spaces
from hwnas.core.arch import ArchBatch
from hwnas.core.count import macs
from hwnas.core.metrics import Floats
from hwnas.core.net import NetSpec
from hwnas.latency.gcn import GCN
from hwnas.latency.gcn_network import Training
from hwnas.latency.linear import STRENGTHS, Linear
from hwnas.latency.op_features import measures
from hwnas.latency.report_card import proportional

NAME = "gcn_subnets"
DEVICES = ("v100_64", "titan_rtx_64", "titan_xp_64", "2080ti_64")
SUBNETS = 200
SPACE = "ofa_mbv3/w1.0/v1"
"""Lists of kernels, expansions and depths fit either released width; HELP does not say which it measured."""


class Subnets:
    """The measured subnets: networks, features by baseline (N x F), latencies in ms by device."""

    def __init__(self, count: int | None) -> None:
        frame = pd.read_parquet(folder() / "help_latency" / "ofa_mbv3_latency_ms.parquet")[:count]
        space = spaces.load_bottlenecks(SPACE)
        self.archs = ArchBatch.of(
            [
                space.arch(list(kernels), list(expansions), list(depths), int(resolution))
                for kernels, expansions, depths, resolution in zip(frame.ks, frame.e, frame.d, frame.r, strict=True)
            ]
        )
        self.nets: list[NetSpec] = [space.lower(arch) for arch in self.archs]
        self.latency_ms = {device: frame[device].to_numpy(dtype=np.float64) for device in DEVICES}
        self.features = {"macs and a constant": self._macs(), "blocks, one-hot": self._one_hot()}
        self.features["blocks"] = self._blocks()

    def of(self, rows: NDArray[np.intp]) -> list[NetSpec]:
        return [self.nets[row] for row in rows]

    def _macs(self) -> Floats:
        return np.array([[float(macs(net))] for net in self.nets])

    def _one_hot(self) -> Floats:
        """Genes but for the resolution; two of one block count together."""
        space = spaces.load_bottlenecks(SPACE)
        active, genes = space.active(self.archs.genes), self.archs.genes
        units = len(space.layout.units)
        pairs = range(1 + units, genes.shape[1], 2)
        options = [(3 * genes[:, gene] + genes[:, gene + 1], active[:, gene]) for gene in pairs]
        hot = np.concatenate([(number[:, None] == np.arange(9)) & there[:, None] for number, there in options], axis=1)
        pixels = (np.array(space.layout.resolutions)[genes[:, 0]] / space.layout.resolutions[-1])[:, None] ** 2
        return np.concatenate([hot, hot * pixels, pixels], axis=1).astype(np.float64)

    def _blocks(self) -> Floats:
        rows = []
        for net in self.nets:
            row: dict[str, float] = defaultdict(float)
            for op in net.ops:
                found = measures(net, op)
                row[f"{op.block}: there"] = 1.0
                row[f"{op.block}: macs"] += found["macs"]
                row[f"{op.block}: written"] += found["written"]
            rows.append(row)
        return pd.DataFrame(rows).fillna(0.0).to_numpy(dtype=np.float64)


def ridge(features: Floats, known: NDArray[np.intp], others: NDArray[np.intp], times: Floats) -> Floats:
    """Predictions for `others`; 1% counts the same at every size, as in `hwnas.latency.linear`."""
    from sklearn.linear_model import RidgeCV

    centre, scale = features[known].mean(0), features[known].std(0) + 1e-9
    unit = float(times[known].mean())
    rows = np.clip((features - centre) / scale, -10, 10)
    model = RidgeCV(STRENGTHS).fit(rows[known], times[known] / unit, sample_weight=(unit / times[known]) ** 2)
    return np.asarray(unit * model.predict(rows[others]), dtype=np.float64)


def predictions(
    subnets: Subnets, times: Floats, known: NDArray[np.intp], others: NDArray[np.intp], gcn: GCN
) -> dict[str, Floats]:
    """Every model's latencies of `others`."""
    work = subnets.features["macs and a constant"][:, 0]
    found = {"macs": proportional(work[known], times[known]) * work[others]}
    found |= {name: ridge(features, known, others, times) for name, features in subnets.features.items()}
    found["operators"] = Linear.fit(subnets.of(known), times[known]).predict(subnets.of(others))
    model = gcn.fit(subnets.of(known), times[known])
    answer = model.estimate(subnets.of(others))
    inside = (answer.lower <= times[others]) & (times[others] <= answer.upper)
    log(f"seed {gcn.seed}: the 90% interval covers {inside.mean():.1%}")
    return {**found, "gcn": answer.median}


def main() -> None:
    options = parser(__doc__, seeds=5)
    shape_option(options)
    args = options.parse_args()
    subnets = Subnets(800 if args.quick else None)
    found: dict[str, dict[str, list[float]]] = {device: defaultdict(list) for device in DEVICES}
    for device in DEVICES:
        times = subnets.latency_ms[device]
        for seed in range(1 if args.quick else args.seeds):
            order = np.random.default_rng(seed).permutation(len(times))
            known, others = order[:SUBNETS], order[SUBNETS:]
            training = Training(epochs=10) if args.quick else Training()
            gcn = GCN(seed=seed, shape=SHAPES[args.shape], training=training)
            for name, guess in predictions(subnets, times, known, others, gcn).items():
                found[device][name].append(float(np.mean(np.abs(guess / times[others] - 1) <= 0.05)))
        log(f"{device}: " + ", ".join(f"{name} {np.mean(shares):.3f}" for name, shares in found[device].items()))
    figures = {device: {name: float(np.mean(shares)) for name, shares in own.items()} for device, own in found.items()}
    names = list(figures[DEVICES[0]])
    rows = [[name, *(f"{100 * figures[device][name]:.1f}%" for device in DEVICES)] for name in names]
    table = markdown(["within 5%", *DEVICES], rows)
    finish(
        args,
        NAME,
        {"shape": args.shape, "subnets": SUBNETS, "seeds": 1 if args.quick else args.seeds, **figures},
        [table],
    )


if __name__ == "__main__":
    main()
