"""`Hardware`: what data sheets and probes say of a processor, as far as `hwnas.latency.roofline` reckons with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt, ValidationError

from hwnas.core.errors import InputError, wrong_key

Tile = tuple[PositiveInt, PositiveInt]


class Hardware(BaseModel):
    """One processor at one precision; rates are those of the whole chip, 10^9 bytes are one GB."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = "as the device file describes it"
    units: PositiveInt
    """What works side by side: streaming multiprocessors of a GPU, threads on cores of a CPU."""
    peak_tflops: PositiveFloat
    """Of matrix products, a multiply-accumulate counted as two, at this precision."""
    memory_gb_s: PositiveFloat
    """What the memory gives where one reads and writes in order; of the theoretical rate, GPUs reach some 80%."""
    cache_gb_s: PositiveFloat
    """What the cache feeds to the units: L2 of a GPU, and of a CPU's cores."""
    cache_kib: NonNegativeFloat
    """An operator whose values and weights all fit in there does not wait for the memory."""
    load_gb_s: PositiveFloat
    """What load instructions bring from L1: the limit where no value is used twice from a register."""
    tiles: Annotated[tuple[Tile, ...], Field(min_length=1)]
    """Output tiles, pixels x filters, of which the library has kernels; a unit works on one tile at a time."""
    launch_us: NonNegativeFloat
    """From one operator to the next when there is no work in it."""
    watts: PositiveFloat
    """Thermal design power, the memory's share left out."""
    memory_pj_per_byte: NonNegativeFloat
    weight_bytes: PositiveFloat
    """Of one weight, and of each operand of a product."""
    value_bytes: PositiveFloat
    """Of one value of an activation, as operators hand it on."""
    channel_multiple: PositiveInt = 1
    """Input channels are filled up to a multiple of this."""
    batch: PositiveInt = 1
    """Images in one run."""


CUBLAS_TILES: tuple[Tile, ...] = (
    *((256, 128), (128, 256), (128, 128), (256, 64), (64, 256), (128, 64), (64, 128), (64, 64)),
)
"""The thread block tiles of cuBLAS (NVIDIA, "Matrix Multiplication Background User's Guide", section 2.3)."""


class _Precision(NamedTuple):
    peak_tflops: float
    value_bytes: int
    channel_multiple: int


_V100_PRECISIONS = {"fp32": _Precision(15.7, 4, 1), "fp16": _Precision(125.0, 2, 8), "int8": _Precision(62.8, 1, 4)}
"""Peaks: NVIDIA Tesla V100 whitepaper (WP-08608-001, table 1); INT8 is four times FP32, by DP4A, for Volta's tensor
cores know FP16 alone. Multiples: eight channels for tensor cores (NVIDIA, "Convolutional Layers User's Guide"), four
for DP4A."""


def _v100(precision: str) -> Hardware:
    """NVIDIA's V100 (SXM2): the whitepaper, and Jia et al., arXiv:1804.06826 ("Dissecting ... Volta"), for the rest."""
    known = _V100_PRECISIONS[precision]
    return Hardware(
        name=f"NVIDIA V100, {precision}",
        units=80,
        peak_tflops=known.peak_tflops,
        memory_gb_s=750,  # of 900: Jia et al., table 3.1
        cache_gb_s=2155,  # L2 load bandwidth: Jia et al., table 3.1
        cache_kib=6144,
        load_gb_s=80 * 128 * 1.53,  # 128 bytes a cycle and SM (Jia et al., table 3.2) at 1.53 GHz
        tiles=CUBLAS_TILES,
        launch_us=10,  # what Zhang et al. reckon with, "The PetscSF Scalable Communication Layer" (TPDS 2022)
        watts=300 - 0.9 * 31,  # less what the memory draws at 900 GB/s
        memory_pj_per_byte=31,  # HBM2, 3.9 pJ a bit: O'Connor et al., "Fine-Grained DRAM" (MICRO 2017)
        weight_bytes=known.value_bytes,
        value_bytes=known.value_bytes,
        channel_multiple=known.channel_multiple,
    )


KNOWN = {f"v100/{precision}": _v100(precision) for precision in _V100_PRECISIONS}
"""Descriptions by name, for one image."""


class _Simd(NamedTuple):
    extension: str
    lanes: int
    """FP32 values in a register."""
    pipes: int
    """Multiply-accumulates, and loads, of whole registers a cycle."""


_SIMD = (
    _Simd("avx512f", 16, 2),
    _Simd("fma", 8, 2),
    _Simd("avx", 8, 1),  # a multiplication and an addition a cycle, not fused
    _Simd("asimd", 4, 2),
    _Simd("neon", 4, 1),
)
"""The first that a CPU has counts (Intel, "Optimization Reference Manual", ports 0, 1 and 5; Arm, "Cortex-A76 Software
Optimization Guide", section 3). Clients and AMD's Zen 4 have half of the AVX-512 of servers; Linux does not tell."""
_SCALAR = _Simd("", 4, 1)
"""128 bits: what every 64-bit CPU has."""
_NARROW_ARM = ("Cortex-A35", "Cortex-A53", "Cortex-A55", "Cortex-A57", "Cortex-A72", "Cortex-A73", "Cortex-A510")
"""Two pipes of 64 bits: one register a cycle (their Software Optimization Guides)."""

ACCUMULATORS = 12
"""Registers of sums in a kernel, enough to hide the latency of two pipes: BLIS's 6 x 16 kernel for Haswell has as many
(Van Zee and van de Geijn, TOMS 2015; two registers of filters times six pixels)."""
L2_BYTES_PER_CYCLE = 32
"""From a core's L2 to its L1 (AMD, "Software Optimization Guide for AMD Family 17h Processors", L2 cache)."""
DISPATCH_US = 1.0
"""Of an operator of a runtime on a CPU: no data sheet has it, so this is the order of magnitude alone. Fit it."""
MEMORY_GB_S = 25.6
"""One channel of DDR4-3200 (JEDEC JESD79-4); Linux does not tell what a machine has."""
MEMORY_PJ_PER_BYTE = 162.0
"""1.3 nJ for 64 bits from DRAM (Horowitz, ISSCC 2014, figure 1.1.9)."""
WATTS_PER_CORE = 4.4
"""280 W for 64 cores (AMD EPYC 7763, data sheet); Linux does not tell."""


def cpu(facts: Mapping[str, Any], batch: int = 1) -> Hardware:
    """A CPU at FP32 from the facts that a device probed (`Device.facts()`): threads, clock, extensions, caches.

    What a probe cannot see (memory bandwidth, power, the runtime's dispatch) is a stated guess: correct it with
    `model_copy(update=...)`, or by `Roofline.fit`.

    Raises:
        InputError: the machine hides its clock.
    """
    clock_mhz = facts.get("max_clock_mhz") or facts.get("clock_mhz")
    if not clock_mhz:
        raise InputError("the machine hides its clock: put clock_mhz = MHz into its facts")
    threads = int(facts.get("threads", 1))
    extensions, model = facts.get("isa") or (), facts.get("cpu") or ""
    simd = next((simd for simd in _SIMD if simd.extension in extensions), _SCALAR)
    pipes = 1 if any(core in model for core in _NARROW_ARM) else simd.pipes
    cycles = threads * float(clock_mhz) / 1e3  # 10^9 a second, of all threads
    return Hardware(
        name=f"{model or 'CPU'}, {threads} threads",
        units=threads,
        peak_tflops=2e-3 * simd.lanes * pipes * cycles,
        memory_gb_s=MEMORY_GB_S,
        cache_gb_s=L2_BYTES_PER_CYCLE * cycles,
        cache_kib=(facts.get("cache_bytes") or {}).get("L2", 0) / 1024,
        load_gb_s=4 * simd.lanes * pipes * cycles,
        tiles=((ACCUMULATORS // 2, 2 * simd.lanes), (1, ACCUMULATORS * simd.lanes)),
        launch_us=DISPATCH_US,
        watts=threads * WATTS_PER_CORE,
        memory_pj_per_byte=MEMORY_PJ_PER_BYTE,
        weight_bytes=4,
        value_bytes=4,
        channel_multiple=1,
        batch=batch,
    )


def parse_hardware(settings: Mapping[str, Any]) -> Hardware:
    """A description from a person's settings: the keys of `Hardware`, those left out taken from the one named ``like``.

    Instead of ``like``, ``facts`` may hold what a device's probe says, for a CPU.

    Raises:
        InputError: an unknown or missing key, a wrong value, no such description.
    """
    own = dict(settings)
    like, facts = own.pop("like", None), own.pop("facts", None)
    if like is not None and facts is not None:
        raise InputError("the roofline takes like = NAME or facts, not both: remove one")
    base: dict[str, Any] = {}
    if facts is not None:
        if not isinstance(facts, Mapping):
            raise InputError(f"roofline: facts = {facts!r} is no table: give what a device's probe says")
        base = cpu(facts).model_dump()
    elif like is not None:
        if not isinstance(like, str) or like not in KNOWN:
            raise InputError(f"no hardware is called {like!r}: choose one of {', '.join(KNOWN)}, or describe your own")
        base = KNOWN[like].model_dump()
    try:
        return Hardware.model_validate({**base, **own})
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "missing":
            where = ".".join(str(part) for part in first["loc"])
            raise InputError(f"roofline: {where!r} is missing; give it, or like = one of {', '.join(KNOWN)}") from error
        raise InputError(f"roofline: {wrong_key(first, 'the hardware')}") from error
