"""`open_device`: a device that measures models, from its profile."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from hwnas.core.errors import DeviceError, HwnasError, InputError
from hwnas.core.metrics import Conditions, Measurement
from hwnas.core.protocols import DeviceModel
from hwnas.core.quality import REMEDIES, disturbance
from hwnas.devices.facts import identity
from hwnas.devices.profile import DeviceProfile, MeasuringRules
from hwnas.devices.runner.session import WINDOW_RUNS
from hwnas.devices.transport import ConnectionLostError, LocalTransport, RunnerDiedError, Transport

logger = logging.getLogger(__name__)

ATTEMPTS = 5
"""At one group of models on a connection that breaks; a device that is away for long is waited for elsewhere."""
WAITS = (5.0, 20.0, 60.0)
"""Seconds before a disturbed group is measured again, where that is asked for: some disturbances pass."""
COOLING_SECONDS = 600.0
"""A board in a case takes minutes to cool down; one that takes longer never does."""
FIRST_SECONDS = 60.0
"""For a fresh runner's first answers: it imports numpy and onnxruntime, seconds on a small board or under emulation."""
LOAD_SECONDS = 120.0
"""For a model to be loaded and run once: seconds on a small board, a minute under emulation."""
PATIENCE = 3.0
PATIENCE_SECONDS = 30.0
"""A group that takes three times as long as its models' first runs promise, and half a minute more, hangs."""
GONE = (RunnerDiedError, ConnectionLostError)
"""Errors that are no model's and no setting's."""


class ModelsFailedError(DeviceError):
    """Some models did not run on the device; the others were measured. `failed` maps names to reasons."""

    def __init__(self, device: str, failed: dict[str, str]) -> None:
        name, why = next(iter(failed.items()))
        super().__init__(f"{len(failed)} models do not run on {device}; the first, {name}: {why}")
        self.failed = failed


class _Channel:
    """One runner, replaced by a fresh one when it dies or the way to it breaks."""

    def __init__(self, profile: DeviceProfile, connect: Callable[[], Transport]) -> None:
        self._profile = profile
        self._connect = connect
        self.device_seconds = 0.0
        self.groups = 0
        self.fastest_mhz = 0.0
        """The highest clock that any runner has seen: a fresh one may begin when the device is hot already."""
        self._transport: Transport | None = None
        self.facts: dict[str, Any] = {}
        self.ready()

    def ready(self) -> None:
        """Make sure that there is a runner.

        Raises:
            DeviceError: none stays up, or the device came back as another.
        """
        for attempt in range(ATTEMPTS):
            try:
                if self._transport is None:
                    self._restart()
                return
            except GONE as error:
                if attempt == ATTEMPTS - 1:
                    raise DeviceError(
                        f"no runner stays up on {self._profile.name} ({error}); what was measured is kept: give the "
                        "same command again"
                    ) from error
                logger.warning("%s: once more", error)

    def _restart(self) -> None:
        self.close()
        self._transport = self._connect()
        try:
            self._configure()
            facts = self.ask({"do": "probe"}, timeout_s=FIRST_SECONDS)[0]["facts"]
        except HwnasError as error:
            self.close()
            missing = re.search(r"No module named '(\w+)'", str(error))
            if missing is None:
                raise
            raise DeviceError(
                f"Python on {self._profile.name} lacks {missing[1]}: install numpy and onnxruntime there "
                "(docs/devices.md says how for each kind of device)"
            ) from error
        before, now = identity(self.facts), identity(facts)
        if self.facts and before != now:
            key = next(key for key in before if before[key] != now[key])
            self.close()
            raise DeviceError(
                f"{self._profile.name} came back as another: {key} was {before[key]!r} and is {now[key]!r}; set it "
                "up as before and give the same command again"
            )
        self.facts = facts

    def _configure(self) -> None:
        cores = self._profile.cores
        try:
            self.ask({"do": "configure", "cores": cores}, timeout_s=FIRST_SECONDS)
        except GONE:
            raise
        except DeviceError as error:
            raise InputError(
                f"{self._profile.name} cannot be pinned to cores = {cores} ({error}): correct its device file"
            ) from error

    def ask(self, header: dict[str, Any], body: bytes = b"", timeout_s: float = 60.0) -> tuple[dict[str, Any], bytes]:
        """A request whose error answer becomes a `DeviceError`."""
        if self._transport is None:
            raise DeviceError(f"{self._profile.name} is closed: open it again")
        try:
            answer, data = self._transport.request(header, body, timeout_s)
        except GONE:
            self.close()
            raise
        if answer.get("damaged"):  # on the way: no fault of a model
            self.close()
            raise ConnectionLostError(f"a request to {self._profile.name} came damaged ({answer.get('error')})")
        if not answer.get("ok"):
            raise DeviceError(str(answer.get("error", "the runner gave no reason")))
        return answer, data

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None


class OpenDevice:
    """A core `Device` over a runner; made by `open_device`."""

    def __init__(self, profile: DeviceProfile, rules: MeasuringRules, channel: _Channel, strict: bool = False) -> None:
        self._profile = profile
        self._channel = channel
        self.rules = rules
        self._strict = strict
        self._expected: dict[str, float] = {}

    @property
    def name(self) -> str:
        return self._profile.name

    @property
    def group(self) -> int:
        """How many models are measured side by side."""
        return self.rules.group

    @property
    def threads(self) -> int:
        """Of one model."""
        return self._profile.threads

    @property
    def strict(self) -> bool:
        """Whether what was disturbed is measured again, and refused in the end."""
        return self._strict

    @property
    def device_seconds(self) -> float:
        """Seconds the device was busy for this `open_device`: session creation, warm-up and samples."""
        return self._channel.device_seconds

    def with_rules(self, rules: MeasuringRules) -> OpenDevice:
        """The same runner, measuring by other rules."""
        return OpenDevice(self._profile, rules, self._channel, self._strict)

    def ask(self, header: dict[str, Any], body: bytes = b"", timeout_s: float = 60.0) -> tuple[dict[str, Any], bytes]:
        """A request of the runner's (`hwnas.devices.runner` lists them) beside measuring.

        Raises:
            DeviceError: it was refused, or the connection broke.
        """
        self._channel.ready()
        return self._channel.ask(header, body, timeout_s)

    def facts(self) -> dict[str, Any]:
        """What was probed, with the device's name, kind and threads and the measuring rules."""
        profile = self._profile
        asked = {"device": profile.name, "kind": profile.kind, "threads": profile.threads, "precision": "float32"}
        return {**self._channel.facts, **asked, "rules": self.rules.model_dump()}

    def measure(self, models: Sequence[DeviceModel]) -> Iterator[tuple[str, Measurement]]:
        """Measure in groups of interleaved models; yields a group's results as soon as it is complete.

        Raises:
            ModelsFailedError: after all others are measured, where some models did not run.
            DeviceError: the device cannot be reached.
        """
        failed: dict[str, str] = {}
        for start in range(0, len(models), self.rules.group):
            yield from self._undisturbed(models[start : start + self.rules.group], failed)
        if failed:
            raise ModelsFailedError(self.name, failed)

    def renew(self) -> None:
        """End the runner; the next request starts a fresh one."""
        self._channel.close()

    def _undisturbed(self, models: Sequence[DeviceModel], failed: dict[str, str]) -> Iterator[tuple[str, Measurement]]:
        """A group, as it comes; or, where bad data are refused, once nothing disturbs it."""
        if not self._strict:
            yield from self._group(models, failed)
            return
        for seconds in (*WAITS, None):
            results = list(self._group([model for model in models if model.name not in failed], failed))
            found = next((why for _, measurement in results if (why := disturbance(measurement)) in REMEDIES), None)
            if found is None:
                yield from results
                return
            if seconds is None:
                break
            logger.warning("%s was %s: measuring again in %.0f s", self.name, found, seconds)
            time.sleep(seconds)
        raise DeviceError(
            f"{self.name} was {found}, {len(WAITS) + 1} times at the same models: {REMEDIES[str(found)]}; what was "
            "measured is kept, and the same command goes on"
        )

    def _group(
        self, models: Sequence[DeviceModel], failed: dict[str, str], suspected: bool = False
    ) -> Iterator[tuple[str, Measurement]]:
        """Measure a group; where its runner dies, each model alone with a fresh one, which it may end only once."""
        try:
            results = self._try_persistently(models, failed)
        except RunnerDiedError as error:
            if suspected:
                failed[models[0].name] = str(error)
                return
            for model in models:
                if model.name not in failed:
                    yield from self._group([model], failed, suspected=True)
            return
        yield from results

    def _try_persistently(self, models: Sequence[DeviceModel], failed: dict[str, str]) -> list[tuple[str, Measurement]]:
        """A group whose connection breaks is begun again, a few times: that says nothing about its models."""
        for attempt in range(ATTEMPTS):
            self._channel.ready()
            try:
                return self._try_group([model for model in models if model.name not in failed], failed)
            except ConnectionLostError as error:
                if attempt == ATTEMPTS - 1:
                    raise DeviceError(
                        f"{error}, {ATTEMPTS} times at the same models; what was measured is kept: give the same "
                        "command again"
                    ) from error
                logger.warning("%s: connecting again", error)
        raise AssertionError("not reached")

    def _try_group(self, models: Sequence[DeviceModel], failed: dict[str, str]) -> list[tuple[str, Measurement]]:
        self._cool_down()
        loaded: list[str] = []
        for model in models:
            try:
                self._load(model)
                loaded.append(model.name)
            except GONE:
                raise
            except DeviceError as error:
                failed[model.name] = str(error)
        results = self._sample(loaded, failed) if loaded else []
        # Not in a finally: after Ctrl-C the runner may still be measuring, and nobody should wait for its answer.
        self._channel.ask({"do": "unload", "names": loaded}, timeout_s=PATIENCE_SECONDS)
        return results

    def _cool_down(self) -> None:
        """Wait until the hottest zone is as cool as the device file wants it."""
        wanted = self._profile.cool_below_c
        if wanted is None:
            return
        deadline = time.monotonic() + COOLING_SECONDS
        while (now := self._temperature()) is not None and now >= wanted:
            if time.monotonic() > deadline:
                raise DeviceError(
                    f"{self.name} stays at {now:.0f} degrees, its file wants it below {wanted:.0f} (cool_below_c): "
                    "cool it or correct the file"
                )
            time.sleep(1.0)

    def _temperature(self) -> float | None:
        found = self._channel.ask({"do": "look"}, timeout_s=PATIENCE_SECONDS)[0].get("temperature_c")
        return None if found is None else float(found)

    def _load(self, model: DeviceModel) -> None:
        header = {"do": "load", "name": model.name, "threads": self._profile.threads, "seed": self.rules.seed}
        answer, _ = self._channel.ask(header, model.onnx, LOAD_SECONDS)
        self._channel.device_seconds += float(answer["device_seconds"])
        self._expected[model.name] = self._expect(float(answer["device_seconds"]) - float(answer["create_seconds"]))

    def _expect(self, run_seconds: float) -> float:
        """How long a model takes by the rules, if its first run tells how long the others take."""
        rules = self.rules
        runs = WINDOW_RUNS + rules.rounds * (rules.settle_runs + 1) + rules.min_samples
        return rules.warm_up_max_seconds + rules.min_seconds + runs * run_seconds

    def _sample(self, names: list[str], failed: dict[str, str]) -> list[tuple[str, Measurement]]:
        rules, channel = self.rules, self._channel
        channel.groups += 1
        header = {
            "do": "measure",
            "names": names,
            "rules": rules.model_dump(),
            "seed": rules.seed + channel.groups,
            "fastest_mhz": channel.fastest_mhz,
        }
        limit = PATIENCE_SECONDS + PATIENCE * sum(self._expected[name] for name in names)
        try:
            answer, body = channel.ask(header, timeout_s=limit)
        except GONE:
            raise
        except DeviceError as error:
            if len(names) > 1:  # one of them; each is tried alone, with a fresh runner
                channel.close()
                raise RunnerDiedError(str(error)) from error
            failed[names[0]] = str(error)
            return []
        samples = np.frombuffer(body, dtype="<f8").astype(np.float64)
        ends = np.cumsum([entry["samples"] for entry in answer["models"]])
        channel.device_seconds += sum(float(entry["device_seconds"]) for entry in answer["models"])
        parts = np.split(samples, ends[:-1])
        conditions = Conditions.from_json(answer.get("conditions"))
        channel.fastest_mhz = max(channel.fastest_mhz, conditions.fastest_mhz or 0.0)
        found = []
        for entry, part in zip(answer["models"], parts, strict=True):
            steady, bursts = bool(entry["warm_up"]["steady"]), tuple(entry.get("bursts", ()))
            found.append((str(entry["name"]), Measurement(part, steady, bursts, conditions, beside=tuple(names))))
        return found


@contextmanager
def open_device(
    profile: DeviceProfile,
    rules: MeasuringRules | None = None,
    connect: Callable[[], Transport] | None = None,
    strict: bool = False,
) -> Iterator[OpenDevice]:
    """Start a fresh runner for `profile` and end it afterwards.

    `rules` default to the profile's for blocks; `connect` makes the transport (a `Replay` in tests). `strict` measures
    again what was disturbed, and gives up rather than keep it.

    Raises:
        DeviceError: the device cannot be reached, or the runner does not start, or lacks numpy or onnxruntime.
    """
    with ExitStack() as stack:
        if connect is None and profile.kind == "ssh":
            from hwnas.devices.ssh import SshConnection  # paramiko takes half a second to import

            connection = SshConnection(profile)
            stack.callback(connection.close)
            connect = connection.runner
        channel = _Channel(profile, connect or LocalTransport)
        stack.callback(channel.close)
        yield OpenDevice(profile, rules or profile.blocks, channel, strict)
