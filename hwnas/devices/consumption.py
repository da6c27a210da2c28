"""What else a model takes on a device: memory, and energy where the device has a meter."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from hwnas.core.errors import DeviceError, InputError
from hwnas.core.protocols import DeviceModel
from hwnas.devices.device import OpenDevice
from hwnas.devices.runner.memory import TIMEOUT_SECONDS
from hwnas.devices.simulated import SimulatedDevice

logger = logging.getLogger(__name__)

ENERGY_SECONDS = 2.0
"""Of running, and as much of resting: counters move in steps of up to a tenth of a second."""
ANSWER_SECONDS = 60.0
"""Beyond what the runner itself may take, for requests and answers to travel."""


@dataclass(frozen=True)
class Memory:
    """Bytes: the peak of a process that loads and runs the model, above the idle runtime; and that idle runtime."""

    peak_bytes: int
    idle_bytes: int


@dataclass(frozen=True)
class Energy:
    """Millijoules of one run: in all, and above what the device draws at rest; by which counters.

    A simulator knows the first alone, of one run and by no counter.
    """

    mj: float
    mj_above_idle: float | None = None
    idle_watts: float | None = None
    runs: int = 1
    counters: tuple[str, ...] = ()

    @property
    def values_mj(self) -> dict[str, float]:
        """What is known, by name."""
        values = {"total": self.mj, "above_idle": self.mj_above_idle}
        return {name: value for name, value in values.items() if value is not None}

    def to_json(self) -> dict[str, Any]:
        """As documents have it."""
        told = {"energy_mj": self.values_mj, "runs": self.runs, "counters": list(self.counters)}
        return told if self.idle_watts is None else {**told, "idle_watts": self.idle_watts}


def memory(device: OpenDevice, model: DeviceModel) -> Memory:
    """Measure a model's memory, in a process of its own on the device.

    Raises:
        DeviceError: the model does not run there, or the connection broke.
    """
    limit = TIMEOUT_SECONDS + ANSWER_SECONDS
    answer, _ = device.ask({"do": "memory", "threads": device.threads}, model.onnx, limit)
    return Memory(int(answer["peak_bytes"]), int(answer["idle_bytes"]))


def energy(device: OpenDevice | SimulatedDevice, model: DeviceModel, seconds: float = ENERGY_SECONDS) -> Energy:
    """Measure what a run of a model takes from the device's own meters; a simulator says what it would take.

    Raises:
        InputError: the device has none.
        DeviceError: the model does not run there, or the connection broke.
    """
    if isinstance(device, SimulatedDevice):
        return Energy(device.cost(model).energy_mj)
    refuse_no_meter(device)
    device.ask({"do": "load", "name": model.name, "threads": device.threads, "seed": 0}, model.onnx)
    limit = 2 * 2 * seconds + ANSWER_SECONDS  # twice what a spell of rest and one of running take
    answer, _ = device.ask({"do": "energy", "name": model.name, "seconds": seconds}, timeout_s=limit)
    device.ask({"do": "unload", "names": [model.name]})
    return Energy(
        1e3 * float(answer["joules"]),
        1e3 * float(answer["joules_above_idle"]),
        float(answer["idle_watts"]),
        int(answer["runs"]),
        tuple(answer["counters"]),
    )


def refuse_no_meter(device: OpenDevice | SimulatedDevice) -> None:
    """Raise InputError where a device cannot tell its energy; simulators can."""
    if not isinstance(device, SimulatedDevice) and not device.facts().get("energy_counters"):
        raise InputError(
            f"{device.name} shows no energy counter (RAPL, hwmon or INA3221 under /sys), or only to root: leave out "
            "--energy, or let the runner read one"
        )


def try_memory(device: OpenDevice | SimulatedDevice, model: DeviceModel) -> Memory | None:
    """`memory`, or None where it could not be measured, as by a simulator: it decides nothing, so it stops nothing."""
    if isinstance(device, SimulatedDevice):
        return None
    try:
        return memory(device, model)
    except DeviceError as error:
        logger.warning("the memory of the model was not measured: %s", error)
        return None
