"""How many architectures a second do the latency models score in bulk, and how many one by one?

Each model is asked about a batch of random architectures as a search asks it (`estimate`: medians, p90s and bounds),
and beside it about a few of them in the naive way: each is lowered to its network, and that is looked up, simulated, or
made a graph and predicted by itself. Speeds do not depend on what a model was fitted to, so tables have random rows and
graph networks are hardly trained.

- TableSum, CorrectedTable: a table of every block of the space;
- simulators: `SimulatedLatency`, after the slots are compiled (how long that takes is told);
- graph networks of NAS-Bench-201's cells alone: on graphs that are there already ("graphs"), and from networks
  ("networks"); naive is `Ensemble.forward` for one graph, or `GCN.predict` for one network;
- graph networks of a once-for-all space: `GcnLatency`, composed from its slots.

4 x 600, not directed, is BRP-NAS's network, one of them here as there; the others are ensembles, as the product's are.

Every repetition runs all sides in turn; figures are medians over repetitions, on one thread unless `--threads` says
otherwise. Answers of both ways are checked to be equal.
"""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from _common import finish, log, markdown, parser
from simulator_fpga import ZCU102
from threadpoolctl import threadpool_limits

from hwnas import spaces
from hwnas.core.additive import distinct_blocks
from hwnas.core.arch import ArchBatch
from hwnas.core.genetics import sample
from hwnas.core.metrics import Floats, Timing
from hwnas.core.net import NetSpec
from hwnas.core.protocols import Estimator, SearchSpace, Simulator
from hwnas.latency.fpga_tiles import FpgaTiles
from hwnas.latency.gcn import GCN
from hwnas.latency.gcn_network import Ensemble, Shape, Training
from hwnas.latency.gcn_predict import predict
from hwnas.latency.gcn_space import GcnLatency
from hwnas.latency.graphs import batch, graph
from hwnas.latency.hardware import KNOWN
from hwnas.latency.lut import CorrectedTable, TableSum
from hwnas.latency.op_features import Sums
from hwnas.latency.roofline import Roofline
from hwnas.latency.simulated import SimulatedLatency
from hwnas.latency.systolic import EYERISS, Systolic
from hwnas.luts import LatencyTable, Provenance, Row
from hwnas.spaces.nasbench201 import NasBench201

NAME = "estimator_speed"
SPACES = ("ofa_mbv3/small/v1", "ofa_mbv3/w1.0/v1")
SHAPES: dict[str, tuple[Shape, int]] = {
    "4 x 600, one": (Shape(4, 600, directed=False), 1),
    "4 x 64, five (default)": (Shape(), 5),
    "3 x 32, five (Shape.fast)": (Shape.fast(), 5),
}
"""Graph networks by name: their shape, and how many."""
NODES = 8
"""Of the graphs of cells; BRP-NAS has as many."""
MEASURED = 40
"""Networks that a model is fitted on here."""


@dataclass(frozen=True)
class Side:
    """One model: bulk scores `many`, naive the first `few` of them, one by one; what they say of these is the same."""

    name: str
    bulk: Callable[[], Floats]
    many: int
    naive: Callable[[], Floats]
    few: int

    def check(self) -> None:
        np.testing.assert_allclose(self.bulk()[: self.few], self.naive(), rtol=1e-4, atol=1e-5, err_msg=self.name)


@dataclass(frozen=True)
class Sizes:
    """How many architectures are scored by: tables and simulators, graph networks of 600, others; and one by one."""

    tables: int
    large: int
    small: int
    few: int


def first_network_alone(gcn: GCN) -> GCN:
    """A fitted predictor whose first network alone is asked: BRP-NAS has one."""
    whole = gcn.fitted
    net, features = whole.ensemble, whole.ensemble.weights[0].shape[1]
    one = Ensemble(1, features, net.shape, net.typical_nodes, 0)
    one.load_state_dict({name: value[:1] for name, value in net.state_dict().items()})
    gcn._state = replace(whole, ensemble=one.eval(), centre=whole.centre[:1], scale=whole.scale[:1])
    return gcn


def random_table(space: SearchSpace) -> LatencyTable:
    rng = np.random.default_rng(0)
    medians = {key: float(rng.lognormal(-4, 1)) for key in distinct_blocks(space)}
    rows = {key: Row(median, 1.1 * median, 0.02, 100) for key, median in medians.items()}
    provenance = Provenance(
        space=space.id,
        device={"device": "random rows"},
        date="",
        rows=len(rows),
        samples=100,
        median_spread=0.02,
        seconds=1.0,
        device_seconds=1.0,
    )
    return LatencyTable(rows, provenance)


def table_sides(space: SearchSpace, sizes: Sizes) -> list[Side]:
    table, archs = random_table(space), sample(space, sizes.tables, np.random.default_rng(1))
    plain, head = TableSum(space, table), archs.take(np.arange(sizes.few))
    measured = archs.take(np.arange(MEASURED))
    times = 0.9 * plain.estimate(measured).median
    corrected = CorrectedTable.fit(space, table, measured, [Timing(time, 1.1 * time) for time in times.tolist()])
    weights = corrected.coefficients.correction.median_scale * corrected.coefficients.weights
    call = min(row.median_ms for row in table.rows.values())

    def block_sum(net: NetSpec) -> float:
        return sum(table.row(block).median_ms for block in net.blocks().values())

    def corrected_sum(net: NetSpec) -> float:
        blocks = net.blocks().values()
        excess = sum(table.row(block).median_ms - call for block in blocks)
        features = [excess, len(blocks), sum(len(block.ops) for block in blocks), 1.0]
        return float(weights @ np.array(features))

    return [
        _side(f"TableSum, {space.id}", space, plain, archs, block_sum, head),
        _side(f"CorrectedTable, {space.id}", space, corrected, archs, corrected_sum, head),
    ]


def simulator_sides(space: SearchSpace, sizes: Sizes, compiled_s: dict[str, float]) -> list[Side]:
    simulators: dict[str, Simulator] = {
        "roofline": Roofline(KNOWN["v100/fp16"]),
        "fpga_tiles": FpgaTiles.of(ZCU102),
        "systolic": Systolic(EYERISS),
    }
    archs = sample(space, sizes.tables, np.random.default_rng(2))
    sides = []
    for name, simulator in simulators.items():
        started = time.perf_counter()
        compiled = SimulatedLatency(space, simulator)
        compiled_s[f"{name}, {space.id}"] = time.perf_counter() - started
        head = archs.take(np.arange(max(sizes.few // 4, 2)))
        sides.append(_side(f"{name}, {space.id}", space, compiled, archs, _simulated(simulator), head))
    return sides


def _simulated(simulator: Simulator) -> Callable[[NetSpec], float]:
    return lambda net: sum(simulator.simulate(block).latency_ms for block in net.blocks().values())


def _side(
    name: str,
    space: SearchSpace,
    model: Estimator,
    archs: ArchBatch,
    one: Callable[[NetSpec], float],
    head: ArchBatch,
) -> Side:
    def naive() -> Floats:
        return np.array([one(space.lower(arch)) for arch in head])

    return Side(name, lambda: model.estimate(archs).median, len(archs), naive, len(head))


def fitted(nets: list[NetSpec], shape: Shape, members: int) -> GCN:
    times = 1 + Sums.of(nets).values.sum(1)
    gcn = GCN(members=max(members, 2), shape=shape, training=Training(epochs=1)).fit(nets, times)
    return first_network_alone(gcn) if members == 1 else gcn


def cells() -> list[NetSpec]:
    """Every cell of NAS-Bench-201 whose graph has `NODES` nodes, in a random order."""
    space = NasBench201()
    every = np.array(list(np.ndindex(*(len(choice) for choice in space.choices))), dtype=np.int16)
    distinct = np.unique(space.canonical(every), axis=0)
    genes = np.random.default_rng(3).permutation(distinct).tolist()
    return [net for net in (space.cell(tuple(row)) for row in genes) if len(graph(net)) == NODES]


def cell_sides(nets: list[NetSpec], name: str, count: int, few: int) -> list[Side]:
    shape, members = SHAPES[name]
    gcn = fitted(nets, shape, members)
    net, classes = gcn.fitted.ensemble, gcn.fitted.domain.classes
    asked = [nets[row % len(nets)] for row in range(count)]
    graphs = batch([graph(one) for one in nets], classes).take(np.arange(count) % len(nets))

    @torch.inference_mode()
    def forward() -> Floats:
        said = []
        for row in range(few):
            alone = vars(graphs.take(np.array([row]))).values()
            value = net(*(torch.from_numpy(part).expand(members, *part.shape) for part in alone))
            said.append(float(value.mean()))
        return np.array(said)

    def predicted() -> Floats:
        return np.concatenate([gcn.predict([one]) for one in asked[:few]])

    return [
        Side(f"{name}: cells of {NODES} nodes, graphs", lambda: predict(net, graphs).mean(0), count, forward, few),
        Side(f"{name}: cells of {NODES} nodes, networks", lambda: gcn.predict(asked), count, predicted, few),
    ]


def space_side(space: SearchSpace, name: str, count: int, few: int) -> Side:
    shape, members = SHAPES[name]
    archs = sample(space, count, np.random.default_rng(4))
    gcn = fitted([space.lower(arch) for arch in sample(space, 4 * MEASURED, np.random.default_rng(5))], shape, members)
    model = GcnLatency(space, gcn, outside="infinite")
    inside = archs.take(np.isfinite(model(archs)))
    one = _predicted(gcn)
    return _side(f"{name}: {space.id}", space, model, inside, one, inside.take(np.arange(few)))


def _predicted(gcn: GCN) -> Callable[[NetSpec], float]:
    return lambda net: float(gcn.predict([net])[0])


def medians(sides: list[Side], repetitions: int) -> dict[str, dict[str, float]]:
    """Of each side, architectures a second in bulk and one by one, and how many times as fast bulk is."""
    rates: dict[str, list[tuple[float, float]]] = {side.name: [] for side in sides}
    for side in sides:
        side.check()
    for repetition in range(repetitions):
        log(f"repetition {repetition + 1} of {repetitions}")
        for side in sides:
            rates[side.name].append((_rate(side.bulk, side.many), _rate(side.naive, side.few)))
    figures = {}
    for name, found in rates.items():
        bulk, naive = np.median(found, axis=0).tolist()
        figures[name] = {"bulk": bulk, "one_by_one": naive, "ratio": bulk / naive}
    return figures


def _rate(work: Callable[[], object], count: int) -> float:
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


def compare(args: Namespace, sizes: Sizes, repetitions: int) -> None:
    """All sides."""
    compiled_s: dict[str, float] = {}
    sides = []
    for space in map(spaces.load, SPACES):
        sides += table_sides(space, sizes) + simulator_sides(space, sizes, compiled_s)
    nets = cells()
    for name, (shape, _) in SHAPES.items():
        log(name)
        count = sizes.large if shape.hidden == SHAPES["4 x 600, one"][0].hidden else sizes.small
        sides += cell_sides(nets, name, count, sizes.few)
        sides += [space_side(spaces.load(space), name, count, sizes.few) for space in SPACES]
    figures = medians(sides, repetitions)
    rows = [
        [name, f"{own['bulk']:,.0f}", f"{own['one_by_one']:,.0f}", f"{own['ratio']:,.0f}"]
        for name, own in figures.items()
    ]
    table = markdown(["architectures a second", "in bulk", "one by one", "times"], rows)
    note = "Compiling the slots, once: " + ", ".join(f"{name} {took:.1f} s" for name, took in compiled_s.items())
    more = {"compile_seconds": compiled_s, "repetitions": repetitions, "threads": args.threads}
    finish(args, NAME, {"per_second": figures, **more}, [f"{table}\n\n{note}."])


def main() -> None:
    options = parser(__doc__, seeds=5)
    options.add_argument("--threads", type=int, default=1, help="that a model may use (%(default)s)")
    args = options.parse_args()
    sizes = Sizes(100_000, 300, 2_000, 5) if args.quick else Sizes(1_000_000, 4_000, 40_000, 100)
    repetitions = 2 if args.quick else args.seeds
    torch.set_num_threads(args.threads)
    with threadpool_limits(args.threads):
        compare(args, sizes, repetitions)


if __name__ == "__main__":
    main()
