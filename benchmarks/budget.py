"""How much of a latency table tells how much of networks? Rows in the order of `hwnas profile --budget`, or at random.

From a whole measured table a share of the rows is kept, the others are estimated from them, and sums over random
subnets are compared with those of the whole table. Reported: mean and 95th percentile of the absolute relative error,
for the informative order, and for random orders (median over the seeds).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from _common import Setting, finish, markdown, parser

from hwnas.core.additive import BlockIndex, distinct_blocks
from hwnas.core.genetics import sample
from hwnas.core.metrics import Floats
from hwnas.luts.informative import estimated_rows, informative_order
from hwnas.luts.table import Row

NAME = "budget"
SHARES = (0.1, 0.2, 0.35, 0.5)
SUBNETS = 2000
SUBNET_SEED = 1
"""Other subnets than those that the order is made for."""


def main() -> None:
    args = parser(__doc__, seeds=10).parse_args()
    setting = Setting.of(args.workspace)
    table = setting.table()
    space = setting.supernet.space
    index, nets = BlockIndex(space), distinct_blocks(space)
    keys = [net.key() for net in index.nets]
    counts = index.counts(sample(space, SUBNETS, np.random.default_rng(SUBNET_SEED)))
    whole = counts @ [table.rows[key].median_ms for key in keys]

    def errors(measured: list[str]) -> Floats:
        rows: dict[str, Row] = {key: table.rows[key] for key in measured}
        rows |= estimated_rows(nets, rows)
        return np.asarray(np.abs(counts @ [rows[key].median_ms for key in keys] / whole - 1))

    order = informative_order(space)
    shuffled = [
        np.random.default_rng(seed).permutation(keys).tolist() for seed in range(2 if args.quick else args.seeds)
    ]
    figures: list[dict[str, Any]] = []
    for share in SHARES[:1] if args.quick else SHARES:
        rows = round(share * len(order))
        ours = errors(order[:rows])
        chance = [errors(other[:rows]) for other in shuffled]
        figures.append(
            {
                "share": share,
                "rows": rows,
                "informative": {"mean": float(ours.mean()), "p95": float(np.percentile(ours, 95))},
                "random": {
                    "mean": float(np.median([one.mean() for one in chance])),
                    "p95": float(np.median([np.percentile(one, 95) for one in chance])),
                },
            }
        )
    cells = [
        [
            f"{f['share']:.0%}",
            f["rows"],
            *(f"{f[kind][key]:.1%}" for kind in ("informative", "random") for key in ("mean", "p95")),
        ]
        for f in figures
    ]
    header = ["share", "rows", "informative: mean", "95th percentile", "random: mean", "95th percentile"]
    finish(args, NAME, {"orders": figures}, [markdown(header, cells)])


if __name__ == "__main__":
    main()
