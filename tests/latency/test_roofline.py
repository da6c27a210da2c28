"""The roofline simulator: operators worked by hand, what grows with what, fits, and the published convolutions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from hwnas import registry, spaces
from hwnas.core.arch import ArchBatch
from hwnas.core.errors import InputError
from hwnas.core.net import NetSpec, Op
from hwnas.latency.hardware import KNOWN, Hardware, cpu
from hwnas.latency.roofline import Convolutions, Roofline
from hwnas.latency.simulated import SimulatedLatency
from hwnas.spaces.builder import Builder
from hwnas.testing import EstimatorContract

TOY = Hardware(
    name="toy",
    units=4,
    peak_tflops=0.008,  # 10^9 multiply-accumulates a second and unit
    memory_gb_s=1000,
    cache_gb_s=1e6,
    cache_kib=0,
    load_gb_s=8,
    tiles=((4, 4),),
    launch_us=5,
    watts=2,
    memory_pj_per_byte=100,
    weight_bytes=4,
    value_bytes=4,
)
CONV = {"batch": 1, "in_channels": 100, "size": 4, "out_channels": 8, "kernel": 1}
"""16 pixels x 8 filters are 8 tiles, two for each unit, of 100 steps of 16 ns: 3.2 us. 2528 values and weights."""
FACTS: dict[str, Any] = {
    "cpu": "Some Xeon",
    "threads": 2,
    "isa": ["fma", "avx2"],
    "max_clock_mhz": 3000.0,
    "cache_bytes": {"L1": 32 << 10, "L2": 1 << 20},
}


def toy(**changes: Any) -> Roofline:
    return Roofline(TOY.model_copy(update=changes))


def latency_us(roofline: Roofline, **fields: Any) -> float:
    return float(1e3 * roofline.latency_ms(Convolutions.square(**{**CONV, **fields}))[0])


@pytest.mark.parametrize(
    ("changes", "fields", "us"),
    [
        ({}, {}, 5 + 3.2),
        ({"memory_gb_s": 1}, {}, 5 + 2528 * 4 / 1e3),
        ({"memory_gb_s": 1, "cache_kib": 10}, {}, 5 + 3.2),
        ({"memory_gb_s": 1}, {"added": 1}, 5 + 2656 * 4 / 1e3),
        ({"launch_us": 1000}, {}, 1003.2),
        ({}, {"out_channels": 9}, 5 + 3 * 1.6),  # 12 tiles
        ({}, {"out_channels": 9, "batch": 2}, 5 + 6 * 1.6),
        ({"channel_multiple": 64}, {}, 5 + 2 * 128 * 0.016),
        ({"cache_gb_s": 1}, {}, 5 + 2 * 100 * 8 * 4 / 0.25e3),  # a unit is fed 32 bytes a step
        ({"tiles": ((4, 4), (16, 2))}, {}, 5 + 3.2),
        ({"tiles": ((4, 4), (8, 4))}, {}, 5 + 3.2),  # 4 tiles of twice the work
        ({}, {"kernel": 3, "stride": 2}, 5 + 900 * 0.016),  # 4 pixels: 2 tiles, and half of the units idle
        ({}, {"groups": 4}, 5 + 4 * 25 * 0.016),  # 4 groups x 4 tiles, each for 2 of 4 filters
        ({}, {"in_channels": 8, "groups": 8, "kernel": 3}, 5 + 16 * 72 * 8 / 8e3),  # 8 bytes a multiply-accumulate
    ],
    ids=[
        *("compute", "memory", "cached", "addition", "launch", "tail", "batch", "multiple", "feed", "wide", "large"),
        *("stride", "groups", "depthwise"),
    ],
)
def test_by_hand(changes: dict[str, Any], fields: dict[str, Any], us: float) -> None:
    assert latency_us(toy(**changes), **fields) == pytest.approx(us)


def test_strided_kernels_skip_rows_that_no_window_touches() -> None:
    one, half = (Convolutions.square(**{**CONV, "size": 8, "stride": stride}).values[0] for stride in (1, 2))
    assert (one, half) == (64 * 108, 8 * 4 * 100 + 16 * 8)


CHANNELS, BATCHES = st.integers(1, 600), st.integers(1, 64)


@given(
    name=st.sampled_from(sorted(KNOWN)),
    size=st.integers(1, 64),
    kernel=st.sampled_from([1, 3, 5, 7]),
    batch=st.tuples(BATCHES, BATCHES),
    inputs=st.tuples(CHANNELS, CHANNELS),
    outputs=st.tuples(CHANNELS, CHANNELS),
    depthwise=st.booleans(),
)
def test_more_never_takes_less(
    name: str,
    size: int,
    kernel: int,
    batch: tuple[int, int],
    inputs: tuple[int, int],
    outputs: tuple[int, int],
    depthwise: bool,
) -> None:
    def field(pair: tuple[int, int]) -> list[int]:
        return sorted(pair)

    channels = field(inputs)
    work = Convolutions.square(
        batch=field(batch),
        in_channels=channels,
        size=size,
        out_channels=channels if depthwise else field(outputs),
        kernel=kernel,
        groups=channels if depthwise and channels[0] > 1 else 1,
    )
    less, more = Roofline(KNOWN[name]).latency_ms(work)
    assert KNOWN[name].launch_us / 1e3 < less <= more


def every_kind() -> NetSpec:
    net = Builder((4, 8, 8))
    first = net.conv("stem", 8, kernel=3, act="relu")
    net.squeeze_excite("se", 4)
    entry = net.last
    net.conv("branch", 8, kernel=3)
    net.add("sum", entry)
    net.act("relu", "relu")
    net.pool("max", "max_pool", 2, 2)
    net.act("same", "none")
    net.pool("avg", "avg_pool", 3)
    net.zero("nothing")
    net.global_pool("mean")
    net.linear("classifier", 10)
    assert first == 0
    return net.build()


def test_a_network_is_the_sum_of_its_launched_operators() -> None:
    """Times are the memory's here, so that what each operator moves can be counted by hand."""
    slow = toy(memory_gb_s=1e-3, load_gb_s=1e6, peak_tflops=1e3)
    moved = {
        "stem": 256 + 512 + 8 * 36,
        "se.pool": 512 + 8,
        "se.reduce": 8 + 4 + 32,
        "se.expand": 4 + 8 + 32,
        "se.scale": 512 + 8 + 512,
        "branch and sum": 512 + 2 * 512 + 8 * 72,
        "relu": 512 + 512,
        "max": 512 + 128,
        "avg": 128 + 128,
        "nothing": 128,
        "mean": 128 + 8,
        "classifier": 8 + 10 + 80,
    }
    cost = slow.simulate(every_kind())
    total_bytes = 4 * sum(moved.values())
    assert cost.latency_ms == pytest.approx((5 * len(moved) + total_bytes) / 1e3)
    assert cost.energy_mj == pytest.approx(2 * cost.latency_ms + total_bytes * 100e-9)
    batch = toy(memory_gb_s=1e-3, load_gb_s=1e6, peak_tflops=1e3, batch=2).simulate(every_kind())
    assert cost.latency_ms < batch.latency_ms < 2 * cost.latency_ms  # weights move once


def test_loads_bound_what_reads_values_again() -> None:
    pool = NetSpec((8, 16, 16), (Op("avg_pool", "pool", (-1,), 8, (8, 16, 16), kernel=3),))
    assert 1e3 * toy().simulate(pool).latency_ms == pytest.approx(5 + 9 * 2048 * 4 / 8e3)


def test_an_addition_of_two_convolutions_fuses_into_one() -> None:
    net = Builder((4, 8, 8))
    left = net.conv("left", 8)
    net.conv("right", 8, source=-1)
    net.add("sum", left)
    moved = 2 * (4 * 64 + 512 + 32) + 512
    slow = toy(memory_gb_s=1e-3, peak_tflops=1e3).simulate(net.build())
    assert slow.latency_ms == pytest.approx((2 * 5 + 4 * moved) / 1e3)


def random_convolutions(count: int) -> Convolutions:
    rng = np.random.default_rng(0)
    channels, size = 2 ** rng.uniform(3, 11, (2, count)), 2 ** rng.uniform(2, 8, count)
    kernel = rng.choice([1, 3], count)
    inputs, outputs = np.round(channels)
    return Convolutions.square(batch=32, in_channels=inputs, size=size // 1, out_channels=outputs, kernel=kernel)


def test_a_fit_finds_three_constants_again() -> None:
    described, rows = KNOWN["v100/fp32"], random_convolutions(300)
    rates = {rate: getattr(described, rate) * 0.6 for rate in ("peak_tflops", "cache_gb_s", "load_gb_s")}
    truth = Roofline(described.model_copy(update={**rates, "memory_gb_s": 300.0, "launch_us": 25.0}))
    measured = truth.latency_ms(rows)
    measured[::10] *= 3  # some rows are far off
    fitted = Roofline(described).fit(rows, measured).hardware
    for rate, value in {**rates, "memory_gb_s": 300.0, "launch_us": 25.0}.items():
        assert getattr(fitted, rate) == pytest.approx(value, rel=0.03)
    assert fitted.name == "NVIDIA V100, fp32, fitted"


@pytest.mark.parametrize("latencies", [[1.0, 1.0], [1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
def test_a_fit_wants_a_positive_latency_a_row(latencies: list[float]) -> None:
    rows = random_convolutions(min(len(latencies), 3))
    with pytest.raises(InputError, match="a positive latency for each of three"):
        toy().fit(rows, np.array(latencies))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"like": "v100"}, "no hardware is called 'v100': choose one of v100/fp32"),
        ({"like": ["v100/fp32"]}, "no hardware is called"),
        ({"facts": "cpu"}, "is no table"),
        ({"like": "v100/fp16", "bach": 2}, "unknown key 'bach'"),
        ({"like": "v100/fp16", "batch": 0}, "batch: Input should be greater than 0"),
        ({"like": "v100/fp16", "tiles": [[0, 4]]}, "tiles.0.0: Input"),
        ({"like": "v100/fp16", "facts": FACTS}, "not both"),
        ({"facts": {"cpu": "?"}}, "hides its clock"),
        ({"name": "mine"}, "'units' is missing"),
    ],
)
def test_settings_that_are_wrong(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        registry.load("simulators", "roofline").of(settings)
    assert "\n" not in str(caught.value)


def test_settings() -> None:
    assert Roofline.of({"like": "v100/int8", "batch": 8}).hardware == KNOWN["v100/int8"].model_copy(update={"batch": 8})
    assert Roofline.of(TOY.model_dump()).hardware == TOY
    assert Roofline.of({"facts": FACTS, "memory_gb_s": 80}).hardware.memory_gb_s == 80


@pytest.mark.parametrize(
    ("changes", "gflops", "filters"),
    [
        ({}, 2 * 2 * 16 * 3, 16),
        ({"isa": ["fma", "avx2", "avx512f"]}, 2 * 2 * 32 * 3, 32),
        ({"isa": ["avx"]}, 2 * 2 * 8 * 3, 16),
        ({"isa": ["asimd"], "cpu": "4 x Cortex-A76"}, 2 * 2 * 8 * 3, 8),
        ({"isa": ["asimd"], "cpu": "4 x Cortex-A53"}, 2 * 2 * 4 * 3, 8),
        ({"isa": [], "max_clock_mhz": None, "clock_mhz": 1500.0, "threads": 1}, 2 * 4 * 1.5, 8),
    ],
    ids=["avx2", "avx512", "avx", "a76", "a53", "hidden"],
)
def test_a_cpu_from_its_facts(changes: dict[str, Any], gflops: float, filters: int) -> None:
    hardware = cpu({**FACTS, **changes})
    assert hardware.peak_tflops == pytest.approx(gflops / 1e3)
    assert hardware.tiles[0] == (6, filters)
    assert hardware.cache_kib == 1024
    assert cpu({**FACTS, "cache_bytes": {}}).cache_kib == 0


class TestSimulatedLatency(EstimatorContract):
    def space(self) -> Any:
        return spaces.load("ofa_mbv3/small/v1")

    def estimator(self) -> SimulatedLatency:
        return SimulatedLatency(self.space(), Roofline(cpu(FACTS)))

    def test_it_is_the_whole_network(self) -> None:
        """Blocks run one after the other, and nothing fuses from one into the next."""
        space, simulator = self.space(), Roofline(cpu(FACTS))
        for arch in (space.smallest, space.largest):
            whole = simulator.simulate(space.lower(arch)).latency_ms
            assert self.estimator().median(ArchBatch.of([arch]))[0] == pytest.approx(whole)


@pytest.mark.skipif(not os.environ.get("HWNAS_DATA"), reason="set HWNAS_DATA to the folder of v100_trt_conv_ops/")
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_order_of_published_convolutions(precision: str) -> None:
    path = Path(os.environ["HWNAS_DATA"]) / "v100_trt_conv_ops" / "v100_trt_conv_latency.parquet"
    frame = pd.read_parquet(path, filters=[("precision", "==", precision)])
    rows = Convolutions.square(
        batch=frame["batch"],
        in_channels=frame["in_c"],
        size=frame["in_h"],
        out_channels=frame["out_c"],
        kernel=frame["kernel"],
        stride=frame["stride"],
        groups=np.where(frame["conv_type"] == "Depthwise", frame["in_c"], 1),
        added=frame["elmt_fused"],
    )
    frame = frame.assign(simulated=Roofline.of({"like": f"v100/{precision}"}).latency_ms(rows), macs=rows.macs)
    for _, group in frame.groupby(["conv_type", "batch"], observed=True):
        ours = spearmanr(group["simulated"], group["latency_ms"]).statistic
        assert ours > 0.95
        assert ours > spearmanr(group["macs"], group["latency_ms"]).statistic
