"""Does a device work? Step by step: found, trusted, entered, runs models, steady enough to be measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, Literal

from hwnas.core.errors import DeviceError, InputError
from hwnas.core.metrics import Measurement
from hwnas.core.net import INPUT, NetSpec, Op
from hwnas.core.protocols import DeviceModel
from hwnas.devices.device import OpenDevice
from hwnas.devices.device import open_device as open_real
from hwnas.devices.profile import DeviceProfile, SimulatorSettings
from hwnas.devices.transport import LocalTransport, Transport
from hwnas.export.onnx import build
from hwnas.pipeline.opening import build_simulator, open_device

SPREAD = 0.1
"""Inter-quartile range over the median above which a device is called unsteady: quiet ones stay below 0.03."""

State = Literal["ok", "advice", "fails"]


@dataclass(frozen=True)
class Step:
    """One thing looked at; after one that fails the rest is not looked at."""

    name: str
    state: State
    detail: str

    def to_json(self) -> dict[str, Any]:
        """One entry of `steps` in the document of `hwnas devices check --json`."""
        return asdict(self)


def check_device(profile: DeviceProfile) -> Iterator[Step]:
    """Look at one thing after the other; the last step is the first that fails.

    Raises:
        InputError: there is no simulator such as a device file describes.
    """
    if profile.simulator is not None:
        build_simulator(profile.name, profile.simulator)
        yield from _simulating(profile, profile.simulator)
        return
    looking_at = "runner"
    with ExitStack() as stack:
        try:
            connect: Callable[[], Transport] = LocalTransport
            if profile.kind == "ssh":
                looking_at = "connection"
                connect, step = _connected(profile, stack)
                yield step
            looking_at = "runner"
            device = stack.enter_context(open_real(profile, profile.networks, connect))
            yield _runner(device.facts())
            looking_at = "models"
            measured = dict(device.measure([DeviceModel("small", build(SMALL)), DeviceModel("large", build(LARGE))]))
            yield from _measuring(profile, device, measured)
        except (DeviceError, InputError) as error:
            yield Step(looking_at, "fails", str(error))


def _simulating(profile: DeviceProfile, settings: SimulatorSettings) -> Iterator[Step]:
    told = [settings.model, *(f"{key} = {json.dumps(value)}" for key, value in settings.settings.items())]
    yield Step("simulator", "ok", f"{', '.join(told)}: what it says is simulated, nothing is measured")
    try:
        with open_device(profile) as device:
            simulated = dict(device.measure([DeviceModel("small", b"", SMALL), DeviceModel("large", b"", LARGE)]))
    except DeviceError as error:
        yield Step("models", "fails", str(error))
        return
    yield Step("models", "ok", f"they are simulated: {_shown(simulated)}")


def _shown(measured: dict[str, Measurement]) -> str:
    return ", ".join(f"{name} model {one.median:.3f} ms" for name, one in sorted(measured.items(), reverse=True))


def _connected(profile: DeviceProfile, stack: ExitStack) -> tuple[Callable[[], Transport], Step]:
    from hwnas.devices.ssh import SshConnection

    connection = SshConnection(profile)
    stack.callback(connection.close)
    name = connection.connect()
    return connection.runner, Step("connection", "ok", f"{name} answers, its host key is trusted, a key is accepted")


def _runner(facts: dict[str, Any]) -> Step:
    shown = f"Python {facts.get('python')}, onnxruntime {facts.get('runtime_version')}, {facts.get('cpu')}"
    return Step("runner", "ok", f"{shown}, {facts.get('machine')}")


def _measuring(profile: DeviceProfile, device: OpenDevice, measured: dict[str, Measurement]) -> Iterator[Step]:
    ratio = measured["large"].median / measured["small"].median
    shown = _shown(measured)
    if ratio > 1:
        yield Step("models", "ok", f"they run: {shown}")
    else:
        yield Step("models", "advice", f"a model of 16 times the work is no slower ({shown}): is the device busy?")
    spread = max(one.spread for one in measured.values())
    text = f"the middle half of the samples lies within {spread:.1%} of the median"
    yield (
        Step("steadiness", "ok", text)
        if spread < SPREAD
        else Step("steadiness", "advice", f"{text}: end what else runs there, and let it cool down")
    )
    yield _clock(device.facts().get("governor"))
    cores = profile.cores
    yield (
        Step("cores", "ok", f"pinned to {cores}")
        if cores
        else Step(
            "cores",
            "advice",
            "not pinned: name cores in the device file where they differ, as on phones and big.LITTLE boards",
        )
    )


def _clock(governor: str | None) -> Step:
    if governor == "performance":
        return Step("clock", "ok", "governor performance")
    if governor is None:
        return Step("clock", "advice", "the device does not show its governor: whether its clock is fixed is not known")
    return Step(
        "clock",
        "advice",
        f"governor {governor}, so the clock follows the load: fix it with "
        "'echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor' where you may",
    )


def _layers(count: int) -> NetSpec:
    """So many convolutions of 3 x 3 over 16 channels of 32 x 32."""
    ops = [
        Op("conv", f"conv{i}", (i - 1 if i else INPUT,), 16, (16, 32, 32), kernel=3, bias=True, act="relu")
        for i in range(count)
    ]
    return NetSpec((16, 32, 32), tuple(ops))


SMALL, LARGE = _layers(1), _layers(16)
