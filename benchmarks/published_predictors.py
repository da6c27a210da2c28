"""Does the published accuracy model, imported, rank subnets that others measured, and how fast is it?

Data: 2,373 subnets of the released once-for-all MobileNetV3 of width 1.0 at 224 pixels with their top-1 on ImageNet's
50,000 validation images, as the searches of Intel's DyNAS-T visited them. The released accuracy model (of the
once-for-all tutorial) is imported into a workspace as a user does, and asked about each; multiply-accumulates and
parameters stand beside it, as a ranking costs nothing by them. The model's answers are those on images held out of the
training set, for the network of width 1.2: by how much they are above the measured ones, and what is left when that is
taken out, is what its note and its error in the product say.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _common import finish, markdown, parser, random_subnets
from _data import folder
from scipy import stats
from threadpoolctl import threadpool_limits

from hwnas.core.arch import ArchBatch
from hwnas.core.count import macs, params
from hwnas.core.metrics import Floats
from hwnas.core.protocols import Predictor
from hwnas.pipeline.supernets import load_predictor
from hwnas.spaces import load_bottlenecks
from hwnas.workspace import SETTINGS, Workspace

NAME = "published_predictors"
SUPERNET = "ofa-mbv3-w1.0"
BATCHES = (100, 6000)
"""Architectures: a generation of a search, and all that a search asks about."""
REPEATS = 50


def measured(quick: bool) -> tuple[pd.DataFrame, Floats]:
    """The subnets, and their accuracies as fractions."""
    frame = pd.read_parquet(folder() / "ofa_measured_subnets" / "dynas_t_ofa_mbv3_w1.0_imagenet.parquet")
    frame = frame[:200] if quick else frame
    return frame, frame.imagenet_top1.to_numpy(dtype=np.float64) / 100


def ranks(name: str, score: Floats, truth: Floats) -> dict[str, Any]:
    spearman, kendall = stats.spearmanr(score, truth).statistic, stats.kendalltau(score, truth).statistic
    return {"by": name, "spearman": float(spearman), "kendall": float(kendall)}


def seconds(predictor: Predictor, batch: ArchBatch, repeats: int) -> float:
    """Median over repetitions, on one thread as in a search."""
    taken = []
    with threadpool_limits(1):
        for _ in range(repeats):
            started = time.perf_counter()
            predictor.evaluate(batch)
            taken.append(time.perf_counter() - started)
    return float(np.median(taken))


def main() -> None:
    args = parser(__doc__).parse_args()
    frame, truth = measured(args.quick)
    with tempfile.TemporaryDirectory(prefix="hwnas-predictors-") as scratch:
        shutil.copy(args.workspace / SETTINGS, scratch)
        file = folder() / "ofa_specialized" / "acc_predictor.npz"
        supernet = Workspace(Path(scratch)).import_predictor(file, supernet=SUPERNET).folder
        predictor, space = load_predictor(supernet), load_bottlenecks(supernet.space.id)
    rows = zip(frame.ks, frame.e, frame.d, frame.r, strict=True)
    batch = ArchBatch.of([space.arch(list(ks), list(e), list(d), int(r)) for ks, e, d, r in rows])
    nets = [space.lower(arch) for arch in batch]
    predicted = predictor.evaluate(batch)
    table = [
        ranks("published accuracy model", predicted, truth),
        ranks("MACs", np.array([float(macs(net)) for net in nets]), truth),
        ranks("parameters", np.array([float(params(net)) for net in nets]), truth),
    ]
    above = predicted - truth
    speed = {
        str(count): 1e3 * seconds(predictor, random_subnets(space, count, count), 3 if args.quick else REPEATS)
        for count in BATCHES
    }
    figures = {
        "subnets": len(batch),
        "ranking": table,
        "points_above": 100 * float(above.mean()),
        "points_left": 100 * float(above.std()),
        "milliseconds_for": speed,
    }
    cells = [[row["by"], f"{row['spearman']:.3f}", f"{row['kendall']:.3f}"] for row in table]
    times = [[f"{int(count):,}", f"{ms:.2f} ms"] for count, ms in speed.items()]
    finish(
        args,
        NAME,
        figures,
        [
            markdown(["ranked by", "Spearman", "Kendall"], cells),
            f"above the measured accuracy by {100 * above.mean():.2f} points; {100 * above.std():.2f} points are left",
            markdown(["architectures", "time, one thread"], times),
        ],
    )


if __name__ == "__main__":
    main()
