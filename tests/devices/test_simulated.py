"""A simulated device keeps the contract, says what it is, and takes networks instead of files."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from hwnas.core.count import macs
from hwnas.core.errors import DeviceError, InputError
from hwnas.core.net import INPUT, NetSpec, Op
from hwnas.core.protocols import Cost, DeviceModel
from hwnas.core.quality import disturbance
from hwnas.devices.campaign import campaign
from hwnas.devices.consumption import energy, refuse_no_meter, try_memory
from hwnas.devices.device import ModelsFailedError
from hwnas.devices.facts import identity
from hwnas.devices.profile import VERIFY, DeviceProfile, SimulatorSettings, load_profile
from hwnas.devices.simulated import SimulatedDevice
from hwnas.testing import DeviceContract


class Abacus:
    """A microsecond for each multiply-accumulate, and a microjoule."""

    def simulate(self, net: NetSpec) -> Cost:
        if net.ops[0].kind == "max_pool":
            raise InputError("an abacus takes no maximum")
        return Cost(1e-3 * macs(net), 1e-3 * macs(net))


def layer(width: int) -> NetSpec:
    return NetSpec((width, 4, 4), (Op("conv", "c", (INPUT,), width, (width, 4, 4)),))


NOTHING = NetSpec((8, 4, 4), (Op("zero", "z", (INPUT,), 8, (8, 4, 4)),))
POOL = NetSpec((8, 4, 4), (Op("max_pool", "p", (INPUT,), 8, (8, 4, 4), kernel=3),))


def simulated(**settings: str) -> SimulatedDevice:
    told = SimulatorSettings.model_validate({"model": "abacus", **settings})
    return SimulatedDevice(DeviceProfile(name="wood", kind="simulator", simulator=told), told, Abacus())


class TestSimulatedDevice(DeviceContract):
    samples = 1

    def device(self) -> AbstractContextManager[SimulatedDevice]:
        return nullcontext(simulated())

    def models(self) -> list[DeviceModel]:
        return [DeviceModel(f"m{width}", b"", layer(width)) for width in (8, 16, 24)]


def test_one_sample_that_nothing_disturbs():
    (_, one), (_, two) = simulated().with_rules(VERIFY).measure([DeviceModel(name, b"", layer(8)) for name in "ab"])
    assert one.samples_ms.tolist() == two.samples_ms.tolist() == [pytest.approx(8 * 8 * 16 * 1e-3)]
    assert one.interval(90) == (one.p90, one.p90)
    assert (one.median, disturbance(one)) == (one.p90, "")


def test_facts_tell_the_simulator_and_its_settings():
    facts = simulated(beads="red").facts()
    assert (facts["device"], facts["kind"]) == ("wood", "simulator")
    assert facts["simulator"] == {"model": "abacus", "beads": "red"}
    assert identity(facts) != identity(simulated(beads="blue").facts())
    assert "simulator" not in identity({"kind": "local"})


def test_a_file_without_its_network_is_refused():
    with pytest.raises(DeviceError, match=r"wood simulates networks .* give m with its network"):
        list(simulated().measure([DeviceModel("m", b"a file")]))


def test_what_cannot_be_simulated_costs_the_others_nothing():
    device, found = simulated(), {}
    models = {"nothing": NOTHING, "pool": POOL, "good": layer(8)}
    with pytest.raises(ModelsFailedError) as caught:
        found.update(device.measure([DeviceModel(name, b"", net) for name, net in models.items()]))
    assert caught.value.failed == {
        "nothing": "abacus says that it takes 0 ms",
        "pool": "an abacus takes no maximum",
    }


def test_a_campaign_builds_no_files_and_goes_on_from_its_journal(tmp_path):
    built = []

    def builder(width: int):
        def build() -> NetSpec:
            built.append(width)
            return layer(width)

        return build

    models = [(f"m{width}", builder(width)) for width in (8, 16)]
    first = campaign(simulated(), models, tmp_path / "j.jsonl", anchor=lambda: layer(4))
    assert sorted(built) == [8, 16]
    again = campaign(simulated(), models, tmp_path / "j.jsonl", anchor=lambda: layer(4))
    assert sorted(built) == [8, 16]
    assert (len(first.fresh), len(again.fresh)) == (2, 0)
    assert again.measurements["m8"].median == first.measurements["m8"].median
    other = campaign(simulated(beads="blue"), models, tmp_path / "j.jsonl", anchor=lambda: layer(4))
    assert len(other.fresh) == 2  # another simulator: nothing is mixed


def test_energy_is_simulated_and_memory_unknown():
    device, model = simulated(), DeviceModel("m", b"", layer(8))
    refuse_no_meter(device)
    assert energy(device, model).to_json() == {
        "energy_mj": {"total": pytest.approx(8 * 8 * 16 * 1e-3)},
        "runs": 1,
        "counters": [],
    }
    assert try_memory(device, model) is None


GOOD = 'name = "x"\nkind = "simulator"\n[simulator]\nmodel = "roofline"\nlike = "v100/fp16"\n'


def test_a_device_file_keeps_the_simulators_own_settings(tmp_path: Path):
    path = tmp_path / "x.toml"
    path.write_text(GOOD + "tiles = [[64, 64]]\n")
    profile = load_profile(path)
    assert profile.simulator is not None
    assert (profile.simulator.model, profile.device_kind) == ("roofline", "simulator")
    assert profile.simulator.settings == {"like": "v100/fp16", "tiles": [[64, 64]]}
    written = profile.model_dump(mode="json", exclude_unset=True)["simulator"]
    assert written == {"model": "roofline", **profile.simulator.settings}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('name = "x"\nkind = "simulator"', r"a \[simulator\] table with a model go together"),
        ('name = "x"\n[simulator]\nmodel = "roofline"', r"a \[simulator\] table with a model go together"),
        ('name = "x"\nkind = "simulator"\n[simulator]\nlike = "v100/fp16"', "simulator.model"),
        (GOOD + "since = 2020-01-01", "simulator.since"),
        (GOOD.replace("[simulator]", "threads = 2\ncores = [0]\n[simulator]"), "cores, threads would change nothing"),
        (GOOD + "[verify]\nrounds = 3", "verify would change nothing"),
    ],
)
def test_wrong_device_files(tmp_path: Path, text: str, reason: str):
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=reason) as caught:
        load_profile(path)
    assert "\n" not in str(caught.value)
