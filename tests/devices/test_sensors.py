"""Heat, clock, load and energy, from trees that look as the kernels' documentation says (sysfs, proc(5))."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hwnas.devices.runner import sensors
from hwnas.devices.runner.energy import energy, watch


def tree(root: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


LAPTOP = {
    "sys/class/powercap/intel-rapl:0/name": "package-0",
    "sys/class/powercap/intel-rapl:0/energy_uj": 262_000_000_000,
    "sys/class/powercap/intel-rapl:0/max_energy_range_uj": 262_143_328_850,
    "sys/class/powercap/intel-rapl:0:0/name": "core",
    "sys/class/powercap/intel-rapl:0:0/energy_uj": 100,
    "sys/class/powercap/intel-rapl:1/name": "psys",
    "sys/class/powercap/intel-rapl:1/energy_uj": 100,
    "sys/class/hwmon/hwmon0/name": "coretemp",
    "sys/class/hwmon/hwmon0/temp1_input": 52000,
}
ORIN = {
    "sys/class/hwmon/hwmon3/name": "ina3221",
    "sys/class/hwmon/hwmon3/in1_label": "VDD_IN",
    "sys/class/hwmon/hwmon3/in1_input": 5000,
    "sys/class/hwmon/hwmon3/curr1_input": 1200,
    "sys/class/hwmon/hwmon3/in2_label": "VDD_CPU_GPU_CV",
    "sys/class/hwmon/hwmon3/in2_input": 5000,
    "sys/class/hwmon/hwmon3/curr2_input": 400,
    "sys/class/hwmon/hwmon3/in3_label": "VDD_SOC",
    "sys/class/hwmon/hwmon3/in3_input": 5000,
    "sys/class/hwmon/hwmon3/curr3_input": 300,
}
EPYC = {
    "sys/class/hwmon/hwmon1/name": "amd_energy",
    "sys/class/hwmon/hwmon1/energy1_label": "Ecore000",
    "sys/class/hwmon/hwmon1/energy1_input": 1_000_000,
    "sys/class/hwmon/hwmon1/energy2_label": "Esocket0",
    "sys/class/hwmon/hwmon1/energy2_input": 5_000_000,
}
NANO = {
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_0": "POM_5V_IN",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input": 2150,
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_2": "POM_5V_CPU",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power2_input": 700,
}


@pytest.mark.parametrize(
    ("files", "names", "cumulative", "reading"),
    [
        (LAPTOP, ["RAPL package-0"], True, 262_000.0),
        (ORIN, ["VDD_IN"], False, 6.0),
        (NANO, ["POM_5V_IN"], False, 2.15),
        ({name: value for name, value in ORIN.items() if "1_" not in name}, ["VDD_CPU_GPU_CV", "VDD_SOC"], False, 2.0),
        (EPYC, ["amd_energy Esocket0"], True, 5.0),
        ({"sys/class/hwmon/hwmon1/name": "ina228", "sys/class/hwmon/hwmon1/energy1_input": 7_000_000,
          "sys/class/hwmon/hwmon1/power1_input": 1}, ["hwmon ina228"], True, 7.0),
        ({**LAPTOP, "sys/class/hwmon/hwmon1/name": "i915", "sys/class/hwmon/hwmon1/energy1_input": 5_000_000},
         ["RAPL package-0"], True, 262_000.0),
        ({"sys/class/hwmon/hwmon1/name": "amdgpu", "sys/class/hwmon/hwmon1/power1_input": 5_000_000}, [], None, None),
        ({"sys/class/hwmon/hwmon2/name": "ina226", "sys/class/hwmon/hwmon2/power1_input": 3_500_000},
         ["hwmon ina226"], False, 3.5),
        ({}, [], None, None),
    ],
    ids=[
        "laptop", "orin", "nano", "board of two rails", "sockets", "energy", "graphics beside", "graphics", "power", "",
    ],
)  # fmt: skip
def test_counters(files, names, cumulative, reading, tmp_path):
    counters = sensors.energy_counters(tree(tmp_path, files))
    assert [counter.name for counter in counters] == names
    assert [counter.cumulative for counter in counters] == [cumulative] * len(names)
    if counters:
        assert counters[0].read() == pytest.approx(reading)


def test_a_counter_that_may_not_be_read_is_none(tmp_path, monkeypatch):
    root = tree(tmp_path, LAPTOP)
    (root / "sys/class/powercap/intel-rapl:0/energy_uj").unlink()  # for others than root it cannot be opened
    assert sensors.energy_counters(root) == []
    with pytest.raises(ValueError, match="no energy counter"):
        energy(lambda: None, 0.01, root)


def ticking(step: float) -> Iterator[float]:
    now = 0.0
    while True:
        yield now
        now += step


def test_a_cumulative_counter_may_wrap_once(tmp_path):
    """One joule a second of it, through the wrap at 262 143 J."""
    root = tree(tmp_path, LAPTOP)
    path = root / "sys/class/powercap/intel-rapl:0/energy_uj"
    clock = ticking(0.1)

    def run() -> None:
        path.write_text(str((int(path.read_text()) + 100_000_000) % 262_143_328_850))

    watched = watch(sensors.energy_counters(root), 2.0, run, lambda: next(clock))
    assert watched.seconds == pytest.approx(2.0)
    assert watched.joules == pytest.approx(100.0 * watched.steps)


def test_power_is_integrated(tmp_path):
    """From 6 W up by 1 W a step of an eighth of a second."""
    root = tree(tmp_path, ORIN)
    path = root / "sys/class/hwmon/hwmon3/curr1_input"
    clock = ticking(0.125)

    def run() -> None:
        path.write_text(str(int(path.read_text()) + 200))

    watched = watch(sensors.energy_counters(root), 1.0, run, lambda: next(clock))
    assert watched.steps == 8
    assert watched.joules == pytest.approx(0.125 * sum(6 + step + 0.5 for step in range(8)))


def test_energy_of_a_run(tmp_path):
    """The counter moves with runs alone: all of it is above idle."""
    root = tree(tmp_path, LAPTOP)
    path = root / "sys/class/powercap/intel-rapl:0/energy_uj"

    def run() -> None:
        path.write_text(str(int(path.read_text()) + 2_000))

    answer = energy(run, 0.1, root)
    assert answer["idle_watts"] == 0.0
    assert answer["joules"] == answer["joules_above_idle"] == pytest.approx(0.002)
    assert answer["counters"] == ["RAPL package-0"]
    assert answer["runs"] > 1


def test_heat(tmp_path):
    zones = {f"sys/class/thermal/thermal_zone{i}/temp": temp for i, temp in enumerate((41000, 63500, -274000, "?"))}
    assert sensors.temperature_c(tree(tmp_path, zones)) == 63.5
    assert sensors.temperature_c(tmp_path / "none") is None


def test_clock(tmp_path):
    assert sensors.clock_mhz([0], tmp_path) is None
    tree(tmp_path, {"proc/cpuinfo": "processor\t: 0\ncpu MHz\t\t: 2000.000\nprocessor\t: 1\ncpu MHz\t\t: 2400.5\n"})
    assert sensors.clock_mhz([1], tmp_path) == 2400.5
    tree(tmp_path, {f"sys/devices/system/cpu/cpu{i}/cpufreq/scaling_cur_freq": 600_000 * (i + 1) for i in (0, 1)})
    assert sensors.clock_mhz([0, 1], tmp_path) == 1200
    assert sensors.max_clock_mhz([0, 1], tmp_path) is None
    tree(tmp_path, {f"sys/devices/system/cpu/cpu{i}/cpufreq/cpuinfo_max_freq": 1_500_000 * (i + 1) for i in (0, 1)})
    assert sensors.max_clock_mhz([0, 1], tmp_path) == 3000


def test_load(tmp_path, monkeypatch):
    monkeypatch.setattr("os.sysconf", lambda name: 100)
    assert sensors.load(tmp_path) is None  # Android
    #                                    user nice system idle iowait irq softirq steal guest guest_nice
    tree(tmp_path, {"proc/stat": "cpu  1000 100 200 50000 400 10 20 300 77 0\ncpu0 ..."})
    assert sensors.load(tmp_path) == sensors.Load(13.3, 3.0)
    assert sensors.load() is not None
