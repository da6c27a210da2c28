"""The roofline simulator (Williams, Waterman, Patterson, CACM 2009): the longer of computing and moving, and a launch.

Time of an operator = launch + max(compute, cache, memory):

- A convolution is a matrix product of pixels x filters, over input channels x kernel area (Chetlur et al., "cuDNN",
  arXiv:1410.0759, section 3). The library cuts the product into output tiles, a unit does one tile at a time, and all
  units wait for the last: tile and wave quantisation (NVIDIA, "Matrix Multiplication Background User's Guide",
  sections 3.1 and 3.2). A step along the sum takes as long as its multiply-accumulates at the peak rate, or as its
  operands need from the cache: small tiles starve fast tensor cores. The tile that is fastest in this model counts, as
  libraries choose by time.
- A depthwise convolution shares nothing between filters, so no value is used twice from a register: each
  multiply-accumulate waits for two operands from L1 (a roofline for each level of memory: Ilic et al., "Cache-aware
  Roofline model", IEEE CAL 2014).
- Everything read and written moves through the cache, and from memory where it does not fit in there.
- Normalisations fold, activations and additions fuse into the convolution before them (TensorRT developer guide, "Layer
  fusion"; ONNX Runtime, "Graph optimizations").

Energy: the thermal design power all the time, and each byte that moves from or to memory: an upper bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares

from hwnas.core.errors import InputError
from hwnas.core.metrics import Floats
from hwnas.core.net import NetSpec, Op
from hwnas.core.protocols import Cost
from hwnas.latency.hardware import Hardware, parse_hardware

FIT_SCALE = 0.1
"""Relative error beyond which the loss of `Roofline.fit` grows as the error, no longer as its square: medians count."""
FIT_RANGE = 1000.0
"""How far off, as a factor, a described rate may be before it is called wrong."""


@dataclass(frozen=True, eq=False)
class Convolutions:
    """N convolutions; each field has N values, sizes are those of one image. `added` is 1 where an addition fuses."""

    batch: Floats
    in_channels: Floats
    in_height: Floats
    in_width: Floats
    out_channels: Floats
    out_height: Floats
    out_width: Floats
    kernel: Floats
    groups: Floats
    added: Floats

    @classmethod
    def square(
        cls,
        *,
        batch: ArrayLike,
        in_channels: ArrayLike,
        size: ArrayLike,
        out_channels: ArrayLike,
        kernel: ArrayLike,
        stride: ArrayLike = 1,
        groups: ArrayLike = 1,
        added: ArrayLike = 0,
    ) -> Convolutions:
        """Of square images, padded by kernel // 2. Each argument has N values, or one for all."""
        out = np.ceil(np.divide(size, stride))
        given = (batch, in_channels, size, size, out_channels, out, out, kernel, groups, added)
        return cls(*np.broadcast_arrays(*(np.atleast_1d(np.asarray(field, dtype=np.float64)) for field in given)))

    def __len__(self) -> int:
        return len(self.batch)

    def take(self, rows: NDArray[np.intp]) -> Convolutions:
        """Those at these indices."""
        return Convolutions(*(field[rows] for field in vars(self).values()))

    @property
    def weights(self) -> Floats:
        return self.out_channels * self.in_channels / self.groups * self.kernel**2

    @property
    def pixels(self) -> Floats:
        """Of all outputs of a batch, one channel."""
        return self.batch * self.out_height * self.out_width

    @property
    def macs(self) -> Floats:
        """Multiply-accumulates of a batch."""
        return self.pixels * self.weights

    @property
    def values(self) -> Floats:
        """Read and written; of the input, rows that no window touches stay where they are."""
        rows = np.minimum(self.in_height, self.out_height * self.kernel)
        out = self.pixels * self.out_channels
        return self.batch * self.in_channels * rows * self.in_width + out * (1 + self.added)


@dataclass(frozen=True, eq=False)
class Work:
    """N operators without their launches: seconds on the chip, seconds at the memory, bytes from and to memory."""

    on_chip_s: Floats
    memory_s: Floats
    memory_bytes: Floats

    @property
    def seconds(self) -> Floats:
        return np.maximum(self.on_chip_s, self.memory_s)


@dataclass(frozen=True)
class Roofline:
    """Simulates networks, and convolutions in bulk, on the hardware it is given."""

    hardware: Hardware

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Roofline:
        """From settings: see `hwnas.latency.hardware.parse_hardware`.

        Raises:
            InputError: an unknown key or a wrong value.
        """
        return cls(parse_hardware(settings))

    def simulate(self, net: NetSpec) -> Cost:
        """One run of `hardware.batch` images."""
        convolutions, moved, loaded = _demand(net, self.hardware.batch)
        parts = (self.work(convolutions), self._streams(moved, loaded))
        launches = len(convolutions) + len(moved)
        seconds = 1e-6 * self.hardware.launch_us * launches + sum(float(part.seconds.sum()) for part in parts)
        moved_bytes = sum(float(part.memory_bytes.sum()) for part in parts)
        joules = self.hardware.watts * seconds + 1e-12 * self.hardware.memory_pj_per_byte * moved_bytes
        return Cost(latency_ms=1e3 * seconds, energy_mj=1e3 * joules)

    def latency_ms(self, convolutions: Convolutions) -> Floats:
        """N latencies, each of a convolution alone; batches as `convolutions` has them."""
        return 1e-3 * self.hardware.launch_us + 1e3 * self.work(convolutions).seconds

    def work(self, convolutions: Convolutions) -> Work:
        """N convolutions without their launches."""
        hardware = self.hardware
        moved = hardware.value_bytes * convolutions.values + hardware.weight_bytes * convolutions.weights
        depthwise = (convolutions.groups == convolutions.in_channels) & (
            convolutions.groups == convolutions.out_channels
        )
        operands = convolutions.macs * (hardware.value_bytes + hardware.weight_bytes)
        compute = np.where(depthwise, operands / (1e9 * hardware.load_gb_s), self._product_s(convolutions))
        return self._moving(compute, moved)

    def fit(self, convolutions: Convolutions, latency_ms: Floats) -> Roofline:
        """Three constants from N measured convolutions: effective speed of the chip and of the memory, and the launch.

        The chip's speed is one factor on all its rates, as a clock would be. Relative errors count, large ones little
        (soft L1). N values in ms.

        Raises:
            InputError: fewer than three rows, unequal numbers of them, or a latency that is not positive.
        """
        if len(convolutions) != len(latency_ms) or len(latency_ms) < 3 or not np.all(latency_ms > 0):
            raise InputError("a fit needs a positive latency for each of three convolutions or more: correct the rows")
        work = self.work(convolutions)

        def errors(logs: Floats) -> Floats:
            launch_ms, chip, memory = np.exp(logs)
            simulated = launch_ms + 1e3 * np.maximum(chip * work.on_chip_s, memory * work.memory_s)
            return np.asarray(np.log(simulated / latency_ms), dtype=np.float64)

        start = np.log([max(1e-3 * self.hardware.launch_us, 1e-3), 1.0, 1.0])
        reach = np.log(FIT_RANGE)
        found = least_squares(errors, start, bounds=(start - reach, start + reach), loss="soft_l1", f_scale=FIT_SCALE)
        launch_ms, chip, memory = (float(value) for value in np.exp(found.x))
        rates = {rate: getattr(self.hardware, rate) / chip for rate in ("peak_tflops", "cache_gb_s", "load_gb_s")}
        rates |= {"memory_gb_s": self.hardware.memory_gb_s / memory, "launch_us": 1e3 * launch_ms}
        return Roofline(self.hardware.model_copy(update={**rates, "name": f"{self.hardware.name}, fitted"}))

    def _product_s(self, convolutions: Convolutions) -> Floats:
        """As matrix products, one a group, by the fastest tile; N seconds."""
        hardware, groups = self.hardware, convolutions.groups
        macs_s = 5e11 * hardware.peak_tflops / hardware.units
        feed_s = 1e9 * hardware.cache_gb_s / hardware.units
        channels = np.ceil(convolutions.in_channels / groups / hardware.channel_multiple) * hardware.channel_multiple
        steps = channels * convolutions.kernel**2
        best: Floats = np.full(len(convolutions), np.inf)
        for pixels, filters in hardware.tiles:
            tiles = np.ceil(convolutions.pixels / pixels) * np.ceil(convolutions.out_channels / groups / filters)
            step_s = max(pixels * filters / macs_s, (pixels + filters) * hardware.weight_bytes / feed_s)
            best = np.minimum(best, np.ceil(groups * tiles / hardware.units) * steps * step_s)
        return best

    def _streams(self, moved: Floats, loaded: Floats) -> Work:
        """Operators that do next to no arithmetic, from the values that each moves and loads."""
        size = self.hardware.value_bytes
        return self._moving(size * loaded / (1e9 * self.hardware.load_gb_s), size * moved)

    def _moving(self, compute_s: Floats, moved_bytes: Floats) -> Work:
        hardware = self.hardware
        from_memory = np.where(moved_bytes <= 1024 * hardware.cache_kib, 0.0, moved_bytes)
        on_chip = np.maximum(compute_s, moved_bytes / (1e9 * hardware.cache_gb_s))
        return Work(on_chip, from_memory / (1e9 * hardware.memory_gb_s), from_memory)


def _demand(net: NetSpec, batch: int) -> tuple[Convolutions, Floats, Floats]:
    """The convolutions of a network, and of each other operator that is launched the values moved and loaded."""
    fused = _fused(net)
    rows: list[tuple[float, ...]] = []
    streams: list[tuple[int, int]] = []
    for index, op in enumerate(net.ops):
        if op.kind in ("conv", "linear"):
            (in_channels, *size), (out_channels, *out_size) = net.shape(op.inputs[0]), op.out_shape
            rows.append((batch, in_channels, *size, out_channels, *out_size, op.kernel, op.groups, index in fused))
        elif index not in fused.values() and (op.kind, op.act) != ("act", "none"):
            streams.append(_stream(net, op))
    table = np.array(rows, dtype=np.float64).reshape(len(rows), 10)
    moved, loaded = batch * np.array(streams, dtype=np.float64).reshape(len(streams), 2).T
    return Convolutions(*table.T), moved, loaded


def _fused(net: NetSpec) -> dict[int, int]:
    """Convolutions whose one reader is an addition, and that addition; an addition fuses into one of them."""
    readers: dict[int, list[int]] = {}
    for index, op in enumerate(net.ops):
        for source in op.inputs:
            readers.setdefault(source, []).append(index)
    found: dict[int, int] = {}
    for index, op in enumerate(net.ops):
        if op.kind == "conv" and len(readers.get(index, ())) == 1:
            reader = readers[index][0]
            if net.ops[reader].kind == "add" and reader not in found.values():
                found[index] = reader
    return found


def _stream(net: NetSpec, op: Op) -> tuple[int, int]:
    """Values that an operator moves (each input and the output once) and those that it loads, for one image."""
    sizes = [int(np.prod(net.shape(source))) for source in op.inputs]
    out = int(np.prod(op.out_shape))
    if op.kind == "zero":
        return out, 0
    if op.kind in ("avg_pool", "max_pool"):
        return sizes[0] + out, out * op.kernel**2
    if op.kind == "global_pool":
        return sizes[0] + out, sizes[0]
    return sum(sizes) + out, out * len(sizes)  # add, mul, act: each output value takes one of each input
