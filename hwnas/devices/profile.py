"""`DeviceProfile`: one TOML file a device, and the rules that its measurements follow."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from hwnas.core.errors import InputError, wrong_key


class MeasuringRules(BaseModel):
    """How long and how often models are sampled; `hwnas.devices.runner` says why it is done this way.

    Each of the `rounds` visits every model of a group of `group` models; over all rounds a model gets at least
    `min_samples` samples and `min_seconds`, cut short at `max_seconds`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    group: PositiveInt = 8
    rounds: PositiveInt = 10
    min_samples: PositiveInt = 100
    min_seconds: PositiveFloat = 0.015
    max_seconds: PositiveFloat = 20.0
    settle_runs: NonNegativeInt = 2
    warm_up_tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.05
    warm_up_max_seconds: PositiveFloat = 0.3
    seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _long_enough(self) -> MeasuringRules:
        if self.min_seconds > self.max_seconds:
            raise ValueError(f"min_seconds = {self.min_seconds:g} is beyond max_seconds = {self.max_seconds:g}")
        return self


BLOCKS = MeasuringRules()
"""For tables: blocks take 10 to 300 us and there are hundreds, so tens of milliseconds for each."""

NETWORKS = MeasuringRules(rounds=20, min_samples=100, min_seconds=0.25, warm_up_max_seconds=1.0)
"""For whole networks that correct a table: 0.4 to 6 ms a run, tens of them."""

FINALISTS = MeasuringRules(group=4, rounds=30, min_samples=200, min_seconds=1.5, warm_up_max_seconds=1.0)
"""For the few networks that a search proposes: six seconds for four of them, side by side."""

VERIFY = MeasuringRules(group=4, rounds=40, min_samples=400, min_seconds=15.0, settle_runs=3, warm_up_max_seconds=2.0)
"""For a verdict: on shared machines the p90 changes by 17% and back, for ten seconds to a minute at a time, and a
verdict should see more of that than the moment."""


Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_./~+=:,@%-]+$")]
"""A word of a command for the device's shell: nothing that a shell would take for more than a word."""


def _plain(path: Path) -> Path:
    """A path that can stand between quotes in an SSH configuration."""
    if '"' in str(path) or not str(path).isprintable():
        raise ValueError("no quotes and no control characters, please")
    return path


class SshSettings(BaseModel):
    """How a device is reached over SSH. What is left out comes from the SSH configuration, as it would for `ssh`.

    There is no password here on purpose: keys and the agent alone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9:][A-Za-z0-9._:%-]*$")]
    """A name in `config`, a host name or an address."""
    port: Annotated[int, Field(gt=0, lt=65536)] | None = None
    user: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.@\\-]+$")] | None = None
    key: Annotated[Path, AfterValidator(_plain)] | None = None
    """A private key file; without one, those of the configuration, of the agent, and the usual ones in ~/.ssh."""
    known_hosts: Path | None = None
    """Where the device's host key is looked up and recorded, instead of ~/.ssh/known_hosts."""
    config: Path = Path("~/.ssh/config")
    python: Annotated[list[Word], Field(min_length=1)] = ["python3"]
    """What runs Python on the device: a command and its arguments."""
    connect_seconds: PositiveFloat = 10.0
    """For each step of connecting, and between looks at a connection on which nothing moves."""
    return_seconds: PositiveFloat = 300.0
    """How long a device that was lost in mid-measurement may take to come back, as after a reboot."""


class SimulatorSettings(BaseModel):
    """What stands in the place of a device: a simulator's name in the registry, and what it is told.

    Which names and settings there are is not known here: `hwnas.pipeline.opening` builds the simulator.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, JsonValue]

    model: str

    @property
    def settings(self) -> dict[str, JsonValue]:
        """All keys but `model`."""
        return dict(self.__pydantic_extra__)


class DeviceProfile(BaseModel):
    """What a person writes about a device; all else about it is probed, never typed in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    kind: Literal["local", "ssh", "simulator"] = "local"
    runtime: Literal["onnxruntime"] = "onnxruntime"
    threads: PositiveInt = 1
    cores: list[NonNegativeInt] | None = None
    cool_below_c: PositiveFloat | None = None
    """Degrees Celsius that the hottest zone must be below before each group of models, where the device shows it."""
    ssh: SshSettings | None = None
    simulator: SimulatorSettings | None = None
    blocks: MeasuringRules = BLOCKS
    networks: MeasuringRules = NETWORKS
    finalists: MeasuringRules = FINALISTS
    verify: MeasuringRules = VERIFY

    @model_validator(mode="after")
    def _reachable(self) -> DeviceProfile:
        if (self.kind == "ssh") != (self.ssh is not None):
            raise ValueError('kind = "ssh" and an [ssh] table with a host go together')
        if self.simulated != (self.simulator is not None):
            raise ValueError('kind = "simulator" and a [simulator] table with a model go together')
        idle = sorted(self.model_fields_set - _OF_SIMULATORS)
        if self.simulated and idle:
            raise ValueError(f"{', '.join(idle)} would change nothing that is simulated: [simulator] says it all")
        return self

    @property
    def simulated(self) -> bool:
        """Nothing is measured there."""
        return self.kind == "simulator"

    @property
    def device_kind(self) -> Literal["real", "simulator"]:
        """As documents and packages say it."""
        return "simulator" if self.simulated else "real"

    @property
    def verified_by(self) -> Literal["measurement", "simulation"]:
        """What a verdict there is worth."""
        return "simulation" if self.simulated else "measurement"


_OF_SIMULATORS = {"name", "kind", "simulator"}


_SECTIONS = {"blocks": BLOCKS, "networks": NETWORKS, "finalists": FINALISTS, "verify": VERIFY}


def load_profile(path: Path) -> DeviceProfile:
    """Read a device file.

    Raises:
        InputError: no such file, no TOML, an unknown key, a wrong value, or a name that is not the file's.
    """
    try:
        document = tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        others = ", ".join(sorted(file.stem for file in path.parent.glob("*.toml"))) or "none"
        raise InputError(f"no device file {path}: write one, or choose of: {others}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: make it a readable text file") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not TOML: {error}") from error
    profile = parse_profile(document, str(path))
    if profile.name != path.stem:
        raise InputError(f"{path} describes {profile.name!r}: give file and device one name")
    return profile


def parse_profile(document: object, source: str) -> DeviceProfile:
    """Check a device document; `source` is named in errors. A rules section starts from its own defaults."""
    if isinstance(document, dict):
        document = dict(document)
        for section, rules in _SECTIONS.items():
            if isinstance(document.get(section), dict):
                document[section] = {**rules.model_dump(), **document[section]}
    try:
        return DeviceProfile.model_validate(document)
    except ValidationError as error:
        raise InputError(f"{source}: {wrong_key(error.errors()[0], 'the file')}") from error
