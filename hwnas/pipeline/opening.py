"""Opens whatever a device file describes: a device that measures, or a simulator of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hwnas import registry
from hwnas.core.errors import InputError
from hwnas.core.net import NetSpec
from hwnas.core.protocols import Form, Simulator
from hwnas.devices import device as devices
from hwnas.devices.device import OpenDevice
from hwnas.devices.profile import DeviceProfile, MeasuringRules, SimulatorSettings
from hwnas.devices.simulated import SimulatedDevice
from hwnas.pipeline.names import device_onnx

AnyDevice = OpenDevice | SimulatedDevice


@contextmanager
def open_device(
    profile: DeviceProfile, rules: MeasuringRules | None = None, strict: bool = False
) -> Iterator[AnyDevice]:
    """The device of a profile, or its simulator, to which rules and strictness mean nothing.

    Raises:
        InputError: there is no such simulator, or it refuses its settings.
        DeviceError: the device cannot be reached (`hwnas.devices.device.open_device`).
    """
    if profile.simulator is not None:
        yield SimulatedDevice(profile, profile.simulator, build_simulator(profile.name, profile.simulator))
        return
    with devices.open_device(profile, rules, strict=strict) as device:
        yield device


def build_simulator(device: str, settings: SimulatorSettings) -> Simulator:
    """What a device file's [simulator] table describes.

    Raises:
        InputError: there is no such simulator, or it refuses its settings.
    """
    try:
        simulator: Simulator = registry.load("simulators", settings.model).of(settings.settings)
    except InputError as error:
        raise InputError(f"the device file of {device}, [simulator]: {error}") from error
    return simulator


def form_for(device: AnyDevice) -> Callable[[NetSpec], Form]:
    """What turns a network into what the device takes: an ONNX file with random weights, or for simulators nothing."""
    return _itself if isinstance(device, SimulatedDevice) else device_onnx


def _itself(net: NetSpec) -> NetSpec:
    return net
