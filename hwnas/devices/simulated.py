"""`SimulatedDevice`: a device that is none; what it answers was simulated, and its facts say so."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from hwnas import __version__
from hwnas.core.errors import DeviceError, HwnasError
from hwnas.core.metrics import Measurement
from hwnas.core.protocols import Cost, DeviceModel, Simulator
from hwnas.devices.device import ModelsFailedError
from hwnas.devices.facts import SIMULATOR
from hwnas.devices.profile import DeviceProfile, MeasuringRules, SimulatorSettings


class SimulatedDevice:
    """A core `Device` over a simulator of networks. Nothing runs and nothing disturbs it: rules change nothing."""

    def __init__(self, profile: DeviceProfile, settings: SimulatorSettings, simulator: Simulator) -> None:
        self._profile = profile
        self._settings = settings
        self._simulator = simulator
        self._busy_s = 0.0

    @property
    def name(self) -> str:
        return self._profile.name

    @property
    def group(self) -> int:
        """One: there is nothing that models beside each other could share."""
        return 1

    @property
    def strict(self) -> bool:
        """Nothing is ever disturbed, so nothing is refused."""
        return False

    @property
    def device_seconds(self) -> float:
        """Seconds that simulating took on this machine; no device was busy."""
        return self._busy_s

    def with_rules(self, rules: MeasuringRules) -> SimulatedDevice:
        """The same: a simulator needs no rules of measuring."""
        return self

    def facts(self) -> dict[str, Any]:
        """The simulator and all that it was told; precision and batch are as it has them.

        The version counts as a runtime's does: another one may simulate otherwise.
        """
        return {
            "device": self.name,
            "kind": self._profile.kind,
            SIMULATOR: {"model": self._settings.model, **self._settings.settings},
            "runtime": "hwnas",
            "runtime_version": __version__,
            "precision": "the simulator's",
        }

    def measure(self, models: Sequence[DeviceModel]) -> Iterator[tuple[str, Measurement]]:
        """Simulate models one by one. Each has one sample, for to ask again is to hear the same.

        Raises:
            ModelsFailedError: after all others, where some cannot be simulated.
            DeviceError: a model comes without its network.
        """
        failed: dict[str, str] = {}
        for model in models:
            try:
                cost = self.cost(model)
            except _NotSimulatedError as error:
                failed[model.name] = str(error)
                continue
            yield model.name, Measurement(np.array([cost.latency_ms]))
        if failed:
            raise ModelsFailedError(self.name, failed)

    def cost(self, model: DeviceModel) -> Cost:
        """What one run of a model takes, simulated.

        Raises:
            DeviceError: the model comes without its network, or cannot be simulated.
        """
        if model.net is None:
            raise DeviceError(f"{self.name} simulates networks and takes no files: give {model.name} with its network")
        started = time.perf_counter()
        try:
            cost = self._simulator.simulate(model.net)
        except HwnasError as error:
            raise _NotSimulatedError(str(error)) from error
        finally:
            self._busy_s += time.perf_counter() - started
        if not (math.isfinite(cost.latency_ms) and cost.latency_ms > 0):
            raise _NotSimulatedError(f"{self._settings.model} says that it takes {cost.latency_ms:g} ms")
        return cost

    def renew(self) -> None:
        """Nothing is remembered from one model to the next."""


class _NotSimulatedError(DeviceError):
    """The fault of one model."""
