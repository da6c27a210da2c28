"""From a network and a board to the tasks of `fpga_schedule`: who computes what, and which values stay on the chip.

Sources: FNAS (Jiang et al., DAC 2019, arXiv 1901.11211) for the pipeline, its part FNAS-Design; Zhang et al., FPGA
2015, section 3, for the array of multipliers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hwnas.core.errors import InputError
from hwnas.core.net import INPUT, NetSpec
from hwnas.latency.fpga_board import Board
from hwnas.latency.fpga_schedule import Layer
from hwnas.latency.fpga_work import Element, Part, Plan, Work, cut

ARRAY, LANES = 0, 1
"""The two engines of a shared accelerator."""


@dataclass(frozen=True)
class Node:
    """An operator that takes time.

    `sources` and `addends` are positions among such operators, `depth` its own on the longest path to it. `fetched` and
    `fetched_addends` count the values of either kind that come from external memory; `stored`: its own goes there.
    `room`: bytes that are left on the chip for tiles.
    """

    work: Work
    sources: tuple[int, ...]
    addends: tuple[int, ...]
    depth: int
    fetched: int
    fetched_addends: int
    stored: bool
    room: int


def nodes_of(net: NetSpec, board: Board) -> list[Node]:
    """The operators that take time, in order."""
    reads, addends, result = _joined(net)
    everything = {index: [*reads[index], *addends[index]] for index in reads}
    resident, room = _residents(net, board, everything, result)
    position = {index: place for place, index in enumerate(reads)}

    def places(values: Sequence[int | None]) -> tuple[int, ...]:
        return tuple(position[i] for i in values if i is not None and i != INPUT)

    def away(values: Sequence[int | None]) -> int:
        return sum(i is not None and i not in resident for i in values)

    nodes: list[Node] = []
    for index in reads:
        beside = [i for i in addends[index] if i is not None]
        work = Work.of(net.ops[index], net.shape(net.ops[index].inputs[0]), len(beside))
        sources = places(reads[index])
        depth = 1 + max((nodes[place].depth for place in (*sources, *places(beside))), default=0)
        fetched = away(reads[index][: work.inputs])
        stored = index not in resident
        nodes.append(Node(work, sources, places(beside), depth, fetched, away(beside), stored, room[index]))
    return nodes


_Reads = dict[int, list[int | None]]
"""Operators that take time, in order, and the operators whose values they read; None for zeros."""


def _joined(net: NetSpec) -> tuple[_Reads, _Reads, int | None]:
    """What each operator that takes time reads and what is added to its value, and the one that makes the result.

    An activation is a comparison or a short table in a value's way and takes no time of its own; zeros are known before
    anything runs. An addition joins the operator that makes the later of its two values, where nobody else reads that:
    the other value is added on the way out.
    """
    made: dict[int, int | None] = {INPUT: INPUT}
    readers = Counter(i for op in net.ops for i in set(op.inputs))
    alone = {index: readers[index] == 1 for index in range(len(net.ops))}
    reads: _Reads = {}
    addends: _Reads = {}
    for index, op in enumerate(net.ops):
        values = [made[i] for i in op.inputs]
        late = max(op.inputs, key=lambda i: _order(made[i]))
        target = made[late]
        others = [value for value in values if value != target]
        if op.kind == "act":
            made[index] = values[0]
            alone[index] = alone[index] and alone.get(op.inputs[0], False)
        elif op.kind == "zero":
            made[index] = None
        elif op.kind == "add" and target in reads and alone[late] and len(others) == 1:
            made[index] = target
            addends[target] += others
        else:
            made[index] = index
            reads[index], addends[index] = values, []
    return reads, addends, made[len(net.ops) - 1]


def _order(value: int | None) -> int:
    """When a value is made: zeros first, then the network's input."""
    return INPUT - 1 if value is None else value


def _residents(net: NetSpec, board: Board, reads: _Reads, result: int | None) -> tuple[set[int], dict[int, int]]:
    """The values that never leave the chip, and the bytes that are left for tiles while each is made.

    In a pipeline these are all but the result. Elsewhere a value stays if, when it is made, there is room beside those
    that still have readers; it stays until its last one.
    """
    half = board.on_chip_bytes // 2
    if board.sharing == "pipeline":
        return set(reads) - {result}, dict.fromkeys(reads, half // max(len(reads), 1))
    last = {source: index for index, sources in reads.items() for source in sources}
    size = {index: math.prod(net.shape(index)) * board.bytes_per_value for index in reads}
    resident: set[int] = set()
    live: dict[int, int] = {}
    room = {}
    for index in reads:
        used = sum(live.values())
        if board.keep_on_chip and index != result and index in last and used + size[index] <= half:
            resident.add(index)
            live[index] = size[index]
            used += size[index]
        room[index] = half - used
        live = {value: size for value, size in live.items() if last[value] > index}
    return resident, room


def elements_of(works: Sequence[Work], board: Board) -> list[Element]:
    """The processing element of each operator.

    Raises:
        InputError: a pipeline of more layers than multipliers.
    """
    clock = board.array_clock_mhz or board.clock_mhz
    lanes = Element(board.lanes.rows, 1, board.lanes.channels, board.clock_mhz, board.lanes.line_buffers)
    if board.sharing != "pipeline":
        array = Element(*_array([work for work in works if work.sums_channels], board), clock)
        return [array if work.sums_channels else lanes for work in works]
    shares = _shares([work.macs for work in works], board.macs)
    return [
        Element(1, *_channels(work.depthwise, *work.group, work.out_shape[0], share), clock) if share else lanes
        for work, share in zip(works, shares, strict=True)
    ]


def _array(works: Sequence[Work], board: Board) -> tuple[int, int, int]:
    """Rows, input and output channels of a shared array: those of an overlay, or Tn x Tm with the fewest cycles for all
    layers together (Zhang et al., section 3.5).
    """
    if board.unroll is not None:
        return board.unroll.rows, board.unroll.inputs, board.unroll.outputs
    outputs = np.arange(1, board.macs + 1)
    inputs = board.macs // outputs
    cycles = np.zeros(len(outputs))
    for work in works:
        n, m = work.group
        cycles += work.macs / (n * m) * -(-n // inputs) * -(-m // outputs)
    best = int(np.argmin(cycles))
    return 1, int(inputs[best]), int(outputs[best])


@lru_cache(maxsize=1 << 14)
def _channels(depthwise: bool, n: int, m: int, out: int, macs: int) -> tuple[int, int]:
    """Tn x Tm of at most `macs` multipliers that takes the fewest cycles, and of those the smallest.

    A depthwise convolution reads one input channel for each output channel: as many side by side as there are
    multipliers.
    """
    if depthwise:
        return 1, min(macs, out)
    outputs = range(1, min(m, macs) + 1)
    pairs = [(min(macs // tm, n), tm) for tm in outputs]
    return min(pairs, key=lambda pair: (-(-n // pair[0]) * -(-m // pair[1]), pair[0] * pair[1]))


def _shares(macs: Sequence[int], multipliers: int) -> list[int]:
    """Multipliers for each layer in proportion to its work, one at least where there is any; largest remainders."""
    busy = sum(1 for part in macs if part)
    if busy > multipliers:
        raise InputError(
            f"fpga_tiles: a pipeline of {busy} layers needs more than {multipliers} multipliers: set sharing = 'turns'"
        )
    exact = [(multipliers - busy) * part / max(sum(macs), 1) for part in macs]
    shares = [int(part) + (work > 0) for part, work in zip(exact, macs, strict=True)]
    by_remainder = sorted((i for i in range(len(macs)) if macs[i]), key=lambda i: int(exact[i]) - exact[i])
    for index in by_remainder[: multipliers - sum(shares)]:
        shares[index] += 1
    return shares


def layers_of(net: NetSpec, board: Board) -> tuple[list[Layer], list[tuple[Work, Part]]]:
    """The tasks of a network on a board, layer by layer, and the operators that they come from.

    A task takes the longer of its computation and its share of what its tile moves (Zhang et al., section 4.3: double
    buffers). The elements of a pipeline run side by side: each has bandwidth in proportion to its bytes.

    Raises:
        InputError: a pipeline of more layers than multipliers.
    """
    pipelined = board.sharing == "pipeline"
    nodes = nodes_of(net, board)
    elements = elements_of([node.work for node in nodes], board)
    held = _held([node.work for node in nodes], board) if pipelined else set()
    parts = [
        cut(node.work, element, _plan(node, board, place in held))
        for place, (node, element) in enumerate(zip(nodes, elements, strict=True))
    ]
    moved = [float(part.transfer.sum()) for part in parts]
    layers = []
    for place, (node, part) in enumerate(zip(nodes, parts, strict=True)):
        share = moved[place] / sum(moved) if pipelined and moved[place] else 1.0
        transfer_us = part.transfer / (share * board.bandwidth_gb_s * 1e3)  # 1 GB/s is 1,000 bytes a µs
        task_us = np.maximum(part.compute_us, transfer_us / part.tiling.steps.total)
        engine = place if pipelined else ARRAY if board.sharing == "turns" or node.work.sums_channels else LANES
        layers.append(Layer(engine, node.sources, node.addends, part.tiling, task_us))
    return layers, [(node.work, part) for node, part in zip(nodes, parts, strict=True)]


def _held(works: Sequence[Work], board: Board) -> set[int]:
    """The layers of a pipeline whose weights stay on the chip from before the first image: as many as fit.

    The smallest come first: they belong to the layers of the most tiles, each of which would fetch them again.
    """
    held, used = set(), 0
    for place in sorted(range(len(works)), key=lambda i: works[i].weights):
        used += works[place].weights * board.bytes_per_value
        if used > board.on_chip_bytes // 2:
            break
        held.add(place)
    return held


def _plan(node: Node, board: Board, held: bool) -> Plan:
    pipelined = board.sharing == "pipeline"
    fits = not pipelined and node.work.weights * board.bytes_per_value <= board.on_chip_bytes // 2
    return Plan(
        by_output=board.reuse == "output" or (board.reuse == "alternate" and node.depth % 2 == 1),
        fetched=node.fetched,
        fetched_addends=node.fetched_addends,
        stored=node.stored,
        weight_loads="never" if held else "once" if fits else "each",
        pipelined=pipelined,
        room=node.room,
        tile=board.tile,
        bytes_per_value=board.bytes_per_value,
        batch=board.batch,
    )
