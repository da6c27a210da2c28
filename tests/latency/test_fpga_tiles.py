"""Schedules worked out by hand, and the walk against one that goes task by task."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas import registry, spaces
from hwnas.core.arch import ArchBatch
from hwnas.core.errors import InputError
from hwnas.core.net import NetSpec
from hwnas.latency.fpga_board import Board
from hwnas.latency.fpga_layers import elements_of, layers_of, nodes_of
from hwnas.latency.fpga_schedule import walk
from hwnas.latency.fpga_tiles import FpgaTiles
from hwnas.latency.simulated import SimulatedLatency
from hwnas.spaces.builder import Builder

TINY: dict[str, Any] = {
    "clock_mhz": 1,  # a cycle is a microsecond
    "dsps": 2,
    "bandwidth_gb_s": 1e6,  # nothing waits for memory
    "on_chip_bytes": 1 << 30,
    "bits_per_value": 8,
    "lanes": {"channels": 1},
}


def cycles(net: NetSpec, **changes: Any) -> float:
    return 1e3 * FpgaTiles.of({**TINY, **changes}).simulate(net).latency_ms


def without_stalls(net: NetSpec, **changes: Any) -> float:
    layers, _ = layers_of(net, Board.of({**TINY, **changes}))
    return max(float(done.max()) for done in walk(layers, stalls=False))


def chain() -> NetSpec:
    """Two 1 x 1 convolutions of 2 channels over 4 rows of one pixel."""
    net = Builder((2, 4, 1))
    net.conv("a", 2, norm=False)
    net.conv("b", 2, norm=False)
    return net.build()


def test_two_layers_in_a_pipeline() -> None:
    """Equal work, so one multiplier each: Tm = Tn = 1. Tiles of 2 rows: a task takes 2 cycles, a tile of rows has four.

    Layer a finishes its output tiles one by one, at (rows 0-1) 4, 8 and (rows 2-3) 12, 16. Layer b uses each as it
    comes, for both of its own output tiles, two tasks an input tile:
      rows 0-1: channel 0 from 4: 4-6, 6-8; channel 1 from 8: 8-10, 10-12
      rows 2-3: channel 0 from 12: 12-14, 14-16; channel 1 from 16: 16-18, 18-20.
    """
    assert cycles(chain(), tile=2) == pytest.approx(20)
    assert without_stalls(chain(), tile=2) == pytest.approx(16)


def test_the_orders_of_reuse() -> None:
    """Where b finishes output tiles too, its first task of each needs channel 0 and its second channel 1:
      rows 0-1: 4-6, then from 8: 8-10, and the second output tile 10-12, 12-14
      rows 2-3: 14-16, from 16: 16-18, 18-20, 20-22.
    Where both use up input tiles, a ends both output tiles last, channels at 6 and 8, then at 14 and 16:
      rows 0-1: from 6: 6-8, 8-10; 10-12, 12-14
      rows 2-3: from 14: 14-16, 16-18; 18-20, 20-22.
    FNAS alternates them for this reason.
    """
    assert cycles(chain(), tile=2, reuse="output") == pytest.approx(22)
    assert cycles(chain(), tile=2, reuse="input") == pytest.approx(22)
    assert cycles(chain(), tile=2, reuse="alternate") == pytest.approx(20)


def branches() -> NetSpec:
    """A convolution, then a 3 x 3 convolution and a 3 x 3 mean of it side by side, and their sum; one channel."""
    net = Builder((1, 4, 1))
    entry = net.conv("a", 1, norm=False)
    inner = net.conv("b", 1, kernel=3, norm=False)
    net.pool("p", "avg_pool", 3, source=entry)
    net.add("sum", inner)
    return net.build()


def test_branches_that_meet() -> None:
    """Two multipliers: one each for a (4 multiplications) and b (36). Tiles of 2 rows.

    a takes 2 cycles a tile: done at 2, 4. b takes 2 x 9 = 18. Its rows 0-1 read rows 0-2, that is both tiles of a:
    4-22, then 22-40. p, whose lane takes a window a cycle, reads the same of a, and adds b's tile to its own, as it is
    made after b and nobody else reads it: rows 0-1 from 22: 22-24, rows 2-3 from 40: 40-42.
    A value of a window a cycle makes p take 18: 22-40, 40-58.
    """
    assert cycles(branches(), tile=2) == pytest.approx(42)
    assert cycles(branches(), tile=2, lanes={"channels": 1, "line_buffers": False}) == pytest.approx(58)
    assert without_stalls(branches(), tile=2) == pytest.approx(36)  # b alone: 2 x 18


def excited() -> NetSpec:
    """A convolution of 2 channels whose output is scaled by what a convolution makes of its means; 2 x 2 pixels."""
    net = Builder((2, 2, 2))
    net.conv("a", 2, norm=False)
    net.squeeze_excite("se", 2)
    return net.build()


def test_squeeze_and_excite_on_two_engines() -> None:
    """One multiplier, one lane, tiles of one pixel, output tiles finished one by one; a task takes a cycle.

    a, on the array: four tasks a pixel; channels 0 and 1 of pixel s are done at 4s + 2 and 4s + 4, in all 16.
    mean, on the lanes, follows pixel by pixel: channel 0 of the last one comes at 14: 14-15, channel 1 at 16: 16-17.
    reduce, on the array, four tasks of the one pixel: the array is free at 16, so 16-17, from 17 17-18; 18-19, 19-20.
    expand: channel 0 of reduce is done at 18, but the array is free at 20: 20-24, channels at 22 and 24.
    scale, on the lanes: pixel 0 from 22: 22-23, from 24: 24-25; three more pixels of two channels: 31.
    One after the other: 16 + 8 + 4 + 4 + 8.
    """
    shared = {"sharing": "engines", "reuse": "output", "tile": 1, "unroll": {"inputs": 1, "outputs": 1}}
    assert cycles(excited(), **shared) == pytest.approx(31)
    assert cycles(excited(), **{**shared, "sharing": "turns"}) == pytest.approx(40)


def test_what_memory_costs() -> None:
    """A byte a cycle: 4 bytes in, 4 out and one weight are 9 cycles, more than the 4 of the computation."""
    net = Builder((1, 4, 1))
    net.conv("a", 1, norm=False)
    slow = {"sharing": "turns", "bandwidth_gb_s": 1e-3}
    assert cycles(net.build(), **slow) == pytest.approx(9)
    assert cycles(net.build(), **slow, bits_per_value=32) == pytest.approx(36)
    assert cycles(net.build(), **slow, batch=6) == pytest.approx(6 * 8 + 1)  # the weight serves all six images
    net.conv("b", 1, norm=False)
    assert cycles(net.build(), **slow) == pytest.approx(2 * 5)  # a's value stays: 4 bytes in or out, and a weight
    assert cycles(net.build(), **slow, keep_on_chip=False) == pytest.approx(2 * 9)
    assert cycles(net.build(), **slow, on_chip_bytes=6) == pytest.approx(2 * 9)  # half of it is less than a's value


def test_a_pipeline_shares_the_memory() -> None:
    """Half a byte a cycle, 8 bytes in and 8 out: a and b have half of it each, so a tile of rows (4 bytes) takes 16
    cycles and its tasks 4. Twice those of `test_two_layers_in_a_pipeline`, and so are all times.

    Of 14 bytes on the chip 7 are for weights: those of a, 4 bytes, stay there; b fetches its own for each of the 4 rows
    that the other 7, shared by two, hold one at a time.
    """
    assert cycles(chain(), tile=2, bandwidth_gb_s=5e-4) == pytest.approx(40)
    _, parts = layers_of(chain(), Board.of({**TINY, "on_chip_bytes": 14}))
    assert [part.off_chip_bytes for _, part in parts] == [8, 8 + 4 * 4]


def test_energy() -> None:
    """4 multiply-accumulates of 8 bits; 4 + 4 + 1 bytes to and from the array, and to and from the memory."""
    net = Builder((1, 4, 1))
    net.conv("a", 1, norm=False)
    cost = FpgaTiles.of({**TINY, "sharing": "turns"}).simulate(net.build())
    assert 1e9 * cost.energy_mj == pytest.approx(4 * 0.3 + 9 * 1.25 + 9 * 243.75)
    wide = FpgaTiles.of({**TINY, "sharing": "turns", "bits_per_value": 16}).simulate(net.build())
    assert 1e9 * wide.energy_mj == pytest.approx(4 * 0.9 + 18 * 1.25 + 18 * 243.75)


def test_a_fixed_array_and_idle_multipliers() -> None:
    """5 rows, 3 input and 5 output channels on 2 x 2 x 4: ceil(5/2) x ceil(3/2) x ceil(5/4) = 12 cycles a column."""
    net = Builder((3, 5, 7))
    net.conv("a", 5, kernel=3, norm=False)
    array = {"unroll": {"rows": 2, "inputs": 2, "outputs": 4}, "dsps": 16}
    assert cycles(net.build(), sharing="turns", **array) == pytest.approx(12 * 7 * 9)


def test_an_array_chosen_for_the_network() -> None:
    """12 multipliers for 6 to 4 channels: 3 x 4 takes 2 x 1 tiles, and nothing takes fewer."""
    net = Builder((6, 2, 2))
    net.conv("a", 4, norm=False)
    assert cycles(net.build(), sharing="turns", dsps=12) == pytest.approx(2 * 4)
    assert cycles(net.build(), sharing="turns", dsps=3, macs_per_dsp=4) == pytest.approx(2 * 4)
    assert cycles(net.build(), sharing="turns", dsps=12, array_clock_mhz=4) == pytest.approx(2)


def test_depthwise_and_grouped_convolutions() -> None:
    depthwise, grouped = Builder((4, 2, 2)), Builder((4, 2, 2))
    depthwise.conv("d", 4, kernel=3, groups=4, norm=False)
    grouped.conv("g", 4, kernel=3, groups=2, norm=False)
    array = {"dsps": 16, "unroll": {"inputs": 4, "outputs": 4}, "sharing": "engines"}
    assert cycles(depthwise.build(), **array, lanes={"channels": 2}) == pytest.approx(2 * 4 * 9)  # on the lanes
    assert cycles(grouped.build(), **array) == pytest.approx(2 * 4 * 9)  # each group alone: half the array idle
    assert cycles(depthwise.build(), dsps=4) == pytest.approx(4 * 9)  # its own element: all four channels at once


KINDS = ("conv", "depthwise", "grouped", "strided", "pool", "skip", "excite", "relu", "zeros")


@st.composite
def nets(draw: st.DrawFn) -> NetSpec:
    """Networks of every operator, with branches that meet and values that nobody reads."""
    net = Builder((draw(st.integers(1, 4)), draw(st.integers(1, 9)), draw(st.integers(1, 9))))
    net.conv("stem", 2 * draw(st.integers(1, 4)), kernel=3)
    for number, kind in enumerate(draw(st.lists(st.sampled_from(KINDS), max_size=8))):
        channels = net.shape[0]
        name, kernel = f"op{number}", draw(st.sampled_from([1, 3, 5]))
        if kind == "conv":
            net.conv(name, 2 * draw(st.integers(1, 5)), kernel=kernel)
        elif kind == "depthwise":
            net.conv(name, channels, kernel=kernel, groups=channels)
        elif kind == "grouped":
            net.conv(name, 4, kernel=kernel, groups=2)
        elif kind == "strided":
            net.conv(name, channels, kernel=kernel, stride=2)
        elif kind == "pool":
            net.pool(name, draw(st.sampled_from(["avg_pool", "max_pool"])), 3, draw(st.integers(1, 2)))
        elif kind == "excite":
            net.squeeze_excite(name, 2)
        elif kind == "relu":
            net.act(name, "relu")
        elif kind == "zeros":
            net.zero(name)
        else:
            same = [i for i in range(net.last + 1) if net.shape_of(i) == net.shape]
            net.add(name, draw(st.sampled_from(same)))
    if draw(st.booleans()):
        net.global_pool("mean")
        net.linear("classifier", 5)
    return net.build()


@st.composite
def boards(draw: st.DrawFn) -> Board:
    sharing = draw(st.sampled_from(["pipeline", "engines", "turns"]))
    unroll = {"rows": draw(st.integers(1, 3)), "inputs": draw(st.integers(1, 3)), "outputs": draw(st.integers(1, 3))}
    return Board.of(
        {
            "clock_mhz": 1,
            "dsps": 40,
            "bandwidth_gb_s": draw(st.sampled_from([1e-3, 1e-2, 1e3])),
            "on_chip_bytes": draw(st.sampled_from([50, 500, 1 << 20])),
            "bits_per_value": draw(st.sampled_from([8, 16])),
            "sharing": sharing,
            "reuse": draw(st.sampled_from(["alternate", "output", "input"])),
            "unroll": unroll if sharing != "pipeline" and draw(st.booleans()) else None,
            "lanes": {"rows": draw(st.integers(1, 2)), "channels": draw(st.integers(1, 3))},
            "keep_on_chip": draw(st.booleans()),
            "tile": draw(st.sampled_from([None, 1, 2, 3])),
            "batch": draw(st.integers(1, 2)),
        }
    )


def span(size: int, tile: int, index: int) -> range:
    return range(index * tile, min((index + 1) * tile, size))


def task_by_task(net: NetSpec, board: Board) -> float:
    """List scheduling as it is told: every task in order, waiting for the pixels and channels that it reads."""
    nodes = nodes_of(net, board)
    layers, _ = layers_of(net, board)
    elements = elements_of([node.work for node in nodes], board)
    done: list[np.ndarray] = []  # of each value, when each channel of each pixel is complete
    free: dict[int, float] = {}
    for node, element, layer in zip(nodes, elements, layers, strict=True):
        work, cut = node.work, layer.tiling.tasks_cut
        groups = work.groups if work.sums_channels else 1
        n, m = work.group if work.sums_channels else (1, work.out_shape[0])
        tn = min(element.inputs, n)
        tm = min(element.outputs, m)
        by_output = board.reuse == "output" or (board.reuse == "alternate" and node.depth % 2 == 1)
        outs, ins = range(-(-m // tm)), range(-(-n // tn))
        pairs = (
            [(out, in_) for out in outs for in_ in ins] if by_output else [(out, in_) for in_ in ins for out in outs]
        )
        order = [(group, *pair) for group in range(groups) for pair in pairs]
        value = np.zeros(work.out_shape)
        _, height, width = cut.shape
        for row, column in np.ndindex(*layer.task_us.shape):
            rows, columns = span(height, cut.rows, row), span(width, cut.columns, column)
            for number, (group, out, in_) in enumerate(order):
                made = [group * m + channel for channel in span(m, tm, out)]
                read = [group * n + channel for channel in span(n, tn, in_)] if work.sums_channels else made
                start = free.get(layer.engine, 0.0)
                for source in node.sources:
                    pixels = done[source]
                    window = layer.tiling.window
                    top, left = rows[0] * window.stride - window.pad, columns[0] * window.stride - window.pad
                    bottom, right = (
                        last * window.stride - window.pad + window.kernel for last in (rows[-1], columns[-1])
                    )
                    if pixels.shape[1:] == (1, 1):
                        seen = pixels[read]
                    else:
                        seen = pixels[read, max(top, 0) : bottom, max(left, 0) : right]
                    start = max(start, seen.max(initial=0.0))
                for source in node.addends if number == 0 else ():
                    start = max(start, done[source][:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].max())
                end = free[layer.engine] = start + layer.task_us[row, column]
                if layer.tiling.gathers:
                    value[made] = end
                else:
                    value[np.ix_(made, rows, columns)] = end  # the last task of an output tile stays
        done.append(value)
    return max((float(value.max()) for value in done), default=0.0)


@settings(max_examples=150, deadline=None)
@given(nets(), boards())
def test_the_walk_is_the_schedule_task_by_task(net: NetSpec, board: Board) -> None:
    cost = FpgaTiles(board).simulate(net)
    assert 1e3 * cost.latency_ms == pytest.approx(task_by_task(net, board))
    assert cost.energy_mj > 0


@settings(max_examples=60, deadline=None)
@given(nets(), boards())
def test_stalls_only_delay_and_bandwidth_only_helps(net: NetSpec, board: Board) -> None:
    layers, _ = layers_of(net, board)
    for waiting, free in zip(walk(layers), walk(layers, stalls=False), strict=True):
        assert (waiting >= free * (1 - 1e-9)).all()
    faster = board.model_copy(update={"bandwidth_gb_s": 2 * board.bandwidth_gb_s})
    times = [FpgaTiles(b).simulate(net).latency_ms for b in (board, faster)]
    assert times[1] <= times[0] * (1 + 1e-9)


def test_an_empty_network_takes_no_time() -> None:
    net = Builder((2, 2, 2))
    net.act("same", "none")
    assert FpgaTiles.of(TINY).simulate(net.build()).latency_ms == 0


def test_settings_that_are_wrong_are_told_in_one_line() -> None:
    for change, message in [
        ({"clock": 3}, "unknown key 'clock'; remove it"),
        ({"lanes": {"width": 3}}, "unknown key 'lanes.width'"),
        ({"dsps": 0}, "dsps: Input should be greater than 0; correct it"),
        ({"bits_per_value": 7}, "bits_per_value"),
        ({"sharing": "turns", "unroll": {"inputs": 2, "outputs": 2}}, "an unroll of 4 is more than 2"),
        ({"unroll": {"inputs": 1, "outputs": 2}}, "set sharing = 'turns'"),
        ({"macs_per_dsp": 0.2}, "less than one"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            FpgaTiles.of({**TINY, **change})
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="clock_mhz: Field required"):
        FpgaTiles.of({})


def test_a_pipeline_needs_a_multiplier_a_layer() -> None:
    with pytest.raises(InputError, match="a pipeline of 2 layers needs more than 1 multipliers: set sharing"):
        FpgaTiles.of({**TINY, "dsps": 1}).simulate(chain())


def test_blocks_of_a_space_compile_into_tables() -> None:
    space = spaces.load("ofa_mbv3/small/v1")
    simulator = registry.load("simulators", "fpga_tiles").of({**TINY, "dsps": 900, "clock_mhz": 200})
    latency = SimulatedLatency(space, simulator)
    smallest, largest = latency.estimate(ArchBatch.of([space.smallest, space.largest])).median
    assert largest > smallest > 0
    blocks = [simulator.simulate(block).latency_ms for block in space.lower(space.largest).blocks().values()]
    assert largest == pytest.approx(sum(blocks))


@pytest.mark.parametrize("sharing", ["pipeline", "engines", "turns"])
def test_a_large_network_takes_well_under_a_second(sharing: str) -> None:
    space = spaces.load("ofa_mbv3/w1.0/v1")
    net = space.lower(space.largest)
    board = Board.of({**TINY, "dsps": 2048, "on_chip_bytes": 1 << 20, "sharing": sharing, "tile": 13})
    began = time.process_time()
    FpgaTiles(board).simulate(net)
    assert time.process_time() - began < 0.5  # some 20 ms on a quiet core
