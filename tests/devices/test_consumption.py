"""Memory and energy of a model on a device."""

from __future__ import annotations

import pytest
from tiny_models import matmul

from hwnas.core.count import peak_activation_bytes, weight_bytes
from hwnas.core.errors import DeviceError, InputError
from hwnas.core.protocols import DeviceModel
from hwnas.devices.consumption import energy, memory, try_memory
from hwnas.devices.device import open_device
from hwnas.devices.profile import DeviceProfile
from hwnas.devices.transport import Replay
from hwnas.export.onnx import build
from hwnas.spaces import load

LOCAL = DeviceProfile(name="here")
SPACE = load("ofa_mbv3/small/v1", classes=10, in_channels=1)


def test_a_larger_model_takes_more_memory():
    """What both take for the runtime's sake drops out of the difference; the allocator's blocks do not, quite."""
    nets = [SPACE.lower(arch) for arch in (SPACE.smallest, SPACE.largest)]
    with open_device(LOCAL) as device:
        small, large = (memory(device, DeviceModel("m", build(net))) for net in nets)
    computed = [weight_bytes(net) + peak_activation_bytes(net) for net in nets]
    assert small.peak_bytes > computed[0]
    assert computed[1] - computed[0] < large.peak_bytes - small.peak_bytes < 4 * (computed[1] - computed[0])
    assert 10e6 < small.idle_bytes < 1e9


def test_weight_bytes_are_the_file_s():
    net = SPACE.lower(SPACE.largest)
    assert weight_bytes(net) == pytest.approx(len(build(net)), rel=0.01)


def test_a_model_that_does_not_run_has_no_memory():
    with open_device(LOCAL) as device:
        with pytest.raises(DeviceError, match=r"ModelProto|INVALID"):
            memory(device, DeviceModel("m", b"no model"))
        assert try_memory(device, DeviceModel("m", b"no model")) is None
        assert memory(device, DeviceModel("m", matmul())).peak_bytes > 0  # the runner lives on


class Meter(Replay):
    """A device with one counter."""

    def request(self, header, body=b"", timeout_s=60.0):
        if header["do"] == "energy":
            answer = {
                "joules": 0.004,
                "joules_above_idle": 0.003,
                "idle_watts": 2.0,
                "runs": 500,
                "counters": ["VDD_IN"],
            }
            return {"ok": True, **answer}, b""
        return super().request(header, body, timeout_s)


def test_energy():
    with open_device(LOCAL, connect=lambda: Meter({"energy_counters": ["VDD_IN"]}, lambda name: [1.0])) as device:
        found = energy(device, DeviceModel("m", b""))
    assert found.to_json() == {
        "energy_mj": {"total": 4.0, "above_idle": 3.0},
        "idle_watts": 2.0,
        "runs": 500,
        "counters": ["VDD_IN"],
    }


def test_no_meter():
    with (
        open_device(LOCAL, connect=lambda: Replay({"energy_counters": []}, {})) as device,
        pytest.raises(InputError, match="here shows no energy counter"),
    ):
        energy(device, DeviceModel("m", b""))
