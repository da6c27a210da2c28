"""The systolic array: worked by hand, against SCALE-Sim, against the Eyeriss chip, and what must hold of any layer."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scalesim_runs import FILES, Run, runs
from scipy.stats import spearmanr

from hwnas import registry
from hwnas.core.count import macs
from hwnas.core.errors import InputError
from hwnas.core.net import INPUT, NetSpec, Op
from hwnas.latency.simulated import SimulatedLatency
from hwnas.latency.systolic import EYERISS, Hardware, OperatorCost, Systolic
from hwnas.spaces import load
from hwnas.spaces.builder import Builder
from hwnas.spaces.nasbench201 import AVG_POOL, CONV_1X1, CONV_3X3, NONE, NasBench201

DATAFLOWS = ("ws", "os", "is", "rs")
TINY: dict[str, Any] = {
    "rows": 2,
    "columns": 2,
    "clock_mhz": 1000,
    "dataflow": "ws",
    "bytes_per_value": 1,
    "input_sram_kib": 1,
    "weight_sram_kib": 1,
    "output_sram_kib": 1,
    "mac_pj": 1,
    "sram_pj": 2,
    "dram_pj": 3,
}


def conv(
    channels: int, filters: int, height: int, width: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> NetSpec:
    net = Builder((channels, height, width))
    net.conv("conv", filters, kernel=kernel, stride=stride, groups=groups)
    return net.build()


def cost(net: NetSpec, **settings: Any) -> OperatorCost:
    (only,) = Systolic.of({**TINY, **settings}).operators(net)
    return only


# By hand: 3 pixels (one column of them), a window of 3 channels, 2 filters, on 2 x 2 elements: 18 multiply-accumulates.
PRODUCT = conv(3, 2, 3, 1)


def test_weight_stationary_by_hand() -> None:
    # The window's 3 rows take 2 folds of 2 rows. Each: 2 cycles load the weights; the 3 pixels enter on 3 cycles, the
    # second row one cycle after the first, and the second column's sums leave one cycle after the first's: 2 + 3 + 2.
    found = cost(PRODUCT, dataflow="ws")
    assert found.compute_cycles == 2 * 7
    # Buffers: 6 weights read; 9 inputs of 3 pixels read; each of 6 outputs written twice and read once between.
    assert found.sram_accesses == 6 + 9 + 3 * 6
    # DRAM: 6 weights, 9 inputs and 6 outputs once each.
    assert found.dram_accesses == 21
    assert found.energy_mj == pytest.approx(1e-9 * (18 * 1 + 33 * 2 + 21 * 3))


def test_output_stationary_by_hand() -> None:
    # The 3 pixels take 2 folds of 2 rows. Each: 3 cycles of the window, one of skew by the row, one by the column.
    found = cost(PRODUCT, dataflow="os")
    assert found.compute_cycles == 2 * 5
    # Inputs are read once for their one tile of filters, weights once for each of 2 tiles of pixels, outputs once.
    assert found.sram_accesses == 9 + 2 * 6 + 6


def test_input_stationary_by_hand() -> None:
    # 2 tiles of the window times 2 of the pixels. Each: 2 cycles load the inputs, 2 filters pass, skew of 1 and 1.
    found = cost(PRODUCT, dataflow="is")
    assert found.compute_cycles == 4 * 6
    assert found.sram_accesses == 9 + 2 * 6 + 3 * 6


def test_row_stationary_by_hand() -> None:
    # 3 output rows on 2 columns: 2 strips of 2. A set is 1 (kernel) x 2 elements, so 2 sets fit: 6 pairs of filter and
    # channel take 3 steps; a step is a row of 1 pixel by 1 weight, 1 cycle.
    assert cost(PRODUCT, dataflow="rs").compute_cycles == 2 * 3 * 1
    # A 3 x 3 filter is higher than 2 rows: its rows come in 2 parts of 2, one set fits, rows take 4 x 3 cycles.
    assert cost(conv(1, 1, 2, 4, kernel=3), dataflow="rs").compute_cycles == 2 * 12


def test_stalls_by_hand() -> None:
    # Output stationary, half a value a cycle. In the one pass 9 + 6 + 6 values move over 2 folds: 21 cycles a fold,
    # of which 5 are computed meanwhile.
    assert cost(PRODUCT, dataflow="os", dram_gb_per_s=0.5).stall_cycles == 2 * (21 - 5)
    # Weight stationary waits for its first tile as well, 2 x 2 weights in 8 cycles.
    assert cost(PRODUCT, dataflow="ws", dram_gb_per_s=0.5).stall_cycles == 8 + 2 * (21 - 7)
    # 5 filters are 3 passes over weights of 3 each; the 9 inputs come in the first alone. Weights and outputs of a
    # pass are 15 / 3 + 15 / 3 = 10: the first pass moves 19 values, the others 10, each over 2 folds.
    # A fold computes for 7 cycles, so only the first pass stalls, after 4 cycles for its tile.
    assert cost(conv(3, 5, 3, 1), dataflow="ws", dram_gb_per_s=1).stall_cycles == 4 + 2 * (9.5 - 7)
    assert cost(PRODUCT, dataflow="ws").stall_cycles == 0


def test_operators_beside_the_array() -> None:
    net = Builder((4, 6, 6))
    net.conv("conv", 4)
    net.pool("pool", "avg_pool", 3)
    net.act("relu", "relu")
    net.act("nothing", "none")
    net.add("add", 0)
    net.squeeze_excite("se", 2)
    net.zero("zero")
    found = {cost.name: cost for cost in Systolic.of({**TINY, "dram_gb_per_s": 1}).operators(net.build())}
    values = 4 * 6 * 6
    assert found["pool"].compute_cycles == 9 * values / 2  # two columns, so two lanes
    assert (found["pool"].stall_cycles, found["pool"].dram_accesses) == (0, 2 * values)
    assert found["se.pool"].compute_cycles == values / 2
    # What is done on the way takes no cycle, but the second operand of a sum is waited for, at a value a cycle.
    for name in ("relu", "nothing", "se.scale"):
        assert found[name].cycles == found[name].energy_mj == 0
    for name in ("add", "zero"):
        assert (found[name].compute_cycles, found[name].stall_cycles, found[name].dram_accesses) == (0, values, values)
    assert found["se.reduce"].macs == 4 * 2


def test_pooling_as_its_authors_may_have_counted_it() -> None:
    net = Builder((4, 6, 6))
    net.pool("pool", "avg_pool", 3)
    dense = conv(4, 4, 6, 6, kernel=3)
    for dataflow in DATAFLOWS:
        counted = cost(net.build(), dataflow=dataflow, pooling_as_convolution=True)
        assert replace(counted, name="conv", kind="conv") == cost(dense, dataflow=dataflow)


@pytest.mark.parametrize("run", runs(), ids=lambda run: f"{run.array[0]}x{run.array[1]}-{run.dataflow}-{run.net.key()}")
def test_compute_cycles_are_those_of_scalesim(run: Run) -> None:
    assert run.ours().compute_cycles == pytest.approx(run.compute_cycles, rel=0.05)


def test_what_is_frozen() -> None:
    documents = [json.loads(path.read_text()) for path in FILES]
    assert {document["scalesim"] for document in documents} == {"3.0.0"}
    assert [tuple(document["array"]) for document in documents] == [(12, 14), (32, 32)]
    for document in documents:
        keys = [tuple(map(str, (run["space"], run["network"], run["name"]))) for run in document["runs"]]
        assert len(keys) == 90
        assert len(set(keys)) == 30


# AlexNet's convolutions (227 x 227), what the chip took for each, 4 images, in ms ("processing latency"), and how many
# elements were active: Chen et al., JSSC 52(1), 2017, table V. It has 154 in the first row, a set of 11 x 14; the last
# of the 4 strips of 55 output rows has 13, which makes 151.25 on average.
ALEXNET = [
    ((3, 227), (96, 55), 11, 4, 1, 16.5, 151.25),
    ((96, 27), (256, 27), 5, 1, 2, 39.2, 135),
    ((256, 13), (384, 13), 3, 1, 1, 21.8, 156),
    ((384, 13), (384, 13), 3, 1, 2, 16.0, 156),
    ((384, 13), (256, 13), 3, 1, 2, 10.0, 156),
]


@pytest.mark.parametrize(("entry", "out", "kernel", "stride", "groups", "published_ms", "active"), ALEXNET)
def test_row_stationary_is_what_the_chip_took(
    entry: tuple[int, int],
    out: tuple[int, int],
    kernel: int,
    stride: int,
    groups: int,
    published_ms: float,
    active: float,
) -> None:
    shape = (out[0], out[1], out[1])
    op = Op("conv", "conv", (INPUT,), entry[0], shape, kernel, stride, groups)
    (found,) = Systolic(EYERISS).operators(NetSpec((entry[0], entry[1], entry[1]), (op,)))
    assert found.macs / found.compute_cycles == active
    # Nothing is fitted: what the chip loads and reconfigures between passes is the rest.
    assert 0.8 * published_ms < 4 * found.compute_cycles / 200e3 < published_ms


@pytest.mark.skipif("HWNAS_DATA" not in os.environ, reason="set HWNAS_DATA to the folder that holds help_latency/")
def test_it_ranks_cells_as_others_do() -> None:
    """HW-NAS-Bench's estimates of Eyeriss: the operator of every edge, a pooling as a convolution; nothing fitted."""
    data = Path(os.environ["HWNAS_DATA"])
    published = pd.read_parquet(data / "help_latency" / "nb201_latency_ms.parquet").sort_values("arch_idx")["eyeriss"]
    cells = pd.read_parquet(data / "nb201_core" / "nb201_accuracy_flops.parquet").sort_values("arch_idx")
    edges = cells[["op_01", "op_02", "op_12", "op_03", "op_13", "op_23"]].to_numpy()
    space, simulator = NasBench201(), Systolic(EYERISS.model_copy(update={"pooling_as_convolution": True}))
    predicted = np.zeros(len(edges))
    for operator in (CONV_1X1, CONV_3X3, AVG_POOL):
        alone = [space.cell((NONE, NONE, NONE, operator, NONE, NONE), stage) for stage in range(3)]
        latency = sum(simulator.simulate(cell).latency_ms for cell in alone)
        predicted += latency * (edges == operator).sum(axis=1)
    assert spearmanr(predicted.round(9), published).statistic >= 0.95


sizes = st.integers(1, 40)
layers = st.builds(
    lambda channels, filters, side, kernel, groups: conv(
        channels * groups, filters * groups, side, side, kernel, 1, groups
    ),
    sizes,
    sizes,
    st.integers(1, 20),
    st.sampled_from([1, 3, 5, 7]),
    st.sampled_from([1, 1, 2, 5]),
)
arrays = st.fixed_dictionaries(
    {
        "rows": st.integers(1, 20),
        "columns": st.integers(1, 20),
        "dataflow": st.sampled_from(DATAFLOWS),
        "input_sram_kib": st.floats(0.05, 20),
        "weight_sram_kib": st.floats(0.05, 20),
        "output_sram_kib": st.floats(0.05, 20),
        "dram_gb_per_s": st.floats(0.1, 100),
    }
)


@given(layers, arrays)
def test_no_element_does_two_things_at_once(net: NetSpec, array: dict[str, Any]) -> None:
    found = cost(net, **array)
    assert macs(net) == found.macs <= found.compute_cycles * array["rows"] * array["columns"]


@given(layers, arrays)
def test_every_value_moves_at_least_once(net: NetSpec, array: dict[str, Any]) -> None:
    (op,) = net.ops
    weights = macs(net) // (op.out_shape[1] * op.out_shape[2])
    least = weights + sum(c * h * w for c, h, w in (net.input_shape, op.out_shape))
    found = cost(net, **array)
    assert found.dram_accesses >= least
    assert found.sram_accesses >= least - net.input_shape[0] * net.input_shape[1] * net.input_shape[2]


@given(layers, arrays)
def test_a_better_memory_is_never_worse(net: NetSpec, array: dict[str, Any]) -> None:
    found = cost(net, **array)
    assert cost(net, **{**array, "dram_gb_per_s": 2 * array["dram_gb_per_s"]}).stall_cycles <= found.stall_cycles
    assert cost(net, **{**array, "dram_gb_per_s": None}).stall_cycles == 0
    for key in ("input_sram_kib", "weight_sram_kib", "output_sram_kib"):
        larger = cost(net, **{**array, key: 2 * array[key]})
        assert larger.dram_accesses <= found.dram_accesses
        assert larger.compute_cycles == found.compute_cycles


@given(sizes, sizes, st.integers(1, 20), st.sampled_from([1, 3, 5, 7]), arrays)
def test_more_work_is_never_cheaper(channels: int, filters: int, side: int, kernel: int, array: dict[str, Any]) -> None:
    found = cost(conv(channels, filters, side, side, kernel), **array)
    more = [
        conv(channels + 1, filters, side, side, kernel),
        conv(channels, filters + 1, side, side, kernel),
        conv(channels, filters, side, side + 1, kernel),
    ]
    for net in more:
        assert cost(net, **array).compute_cycles >= found.compute_cycles
        assert cost(net, **array).energy_mj > found.energy_mj > 0


@given(layers, arrays)
def test_more_elements_never_take_row_stationary_longer(net: NetSpec, array: dict[str, Any]) -> None:
    """Of the other flows this does not hold: a larger array takes longer to fill, whatever part of it is used."""
    found = cost(net, **{**array, "dataflow": "rs"})
    for key in ("rows", "columns"):
        assert cost(net, **{**array, "dataflow": "rs", key: array[key] + 1}).compute_cycles <= found.compute_cycles


def test_a_larger_array_can_be_slower() -> None:
    assert cost(conv(1, 1, 1, 1), rows=4).compute_cycles > cost(conv(1, 1, 1, 1), rows=2).compute_cycles


def test_groups_run_one_after_the_other() -> None:
    for dataflow in ("ws", "os", "is"):
        one, eight = conv(1, 1, 6, 6, kernel=3), conv(8, 8, 6, 6, kernel=3, groups=8)
        assert cost(eight, dataflow=dataflow).compute_cycles == 8 * cost(one, dataflow=dataflow).compute_cycles


@settings(max_examples=20)
@given(st.sampled_from(DATAFLOWS), st.integers(0, 5**6 - 1))
def test_a_network_is_the_sum_of_its_operators(dataflow: str, number: int) -> None:
    edges = tuple(number // 5**edge % 5 for edge in range(6))
    simulator = Systolic(EYERISS.model_copy(update={"dataflow": dataflow, "dram_gb_per_s": 0.72}))
    net = NasBench201().network(edges)
    whole, parts = simulator.simulate(net), simulator.operators(net)
    assert whole.latency_ms == pytest.approx(sum(part.compute_cycles + part.stall_cycles for part in parts) / 200e3)
    assert whole.energy_mj == pytest.approx(sum(part.energy_mj for part in parts))
    blocks = [simulator.simulate(block) for block in net.blocks().values()]
    assert whole.latency_ms == pytest.approx(sum(block.latency_ms for block in blocks))


def test_it_serves_a_space() -> None:
    space = load("ofa_mbv3/small/v1")
    model = SimulatedLatency(space, Systolic(EYERISS))
    low, high = model.reachable()
    assert 0 < low < high
    assert low == pytest.approx(Systolic(EYERISS).simulate(space.lower(model.least())).latency_ms)


def test_settings_are_read_from_plain_keys() -> None:
    assert registry.load("simulators", "systolic").of(EYERISS.model_dump()).hardware == EYERISS
    assert Hardware.model_validate(TINY).dram_gb_per_s is None
    assert asdict(cost(PRODUCT))["kind"] == "conv"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"row": 3}, "unknown key 'row': the keys are rows, columns"),
        ({"rows": 0}, "rows = 0 is wrong"),
        ({"rows": True}, "rows = True is wrong"),
        ({"clock_mhz": float("inf")}, "clock_mhz = inf is wrong"),
        ({"dataflow": "ns"}, "dataflow = 'ns' is wrong: .*'ws', 'os', 'is' or 'rs'"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Systolic.of({**TINY, **change})
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(InputError, match="key 'mac_pj' is missing"):
        Systolic.of({key: value for key, value in TINY.items() if key != "mac_pj"})
