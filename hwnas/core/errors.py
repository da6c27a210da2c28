"""Every error that hwnas raises on purpose.

::

    HwnasError                 exit code 1: what was asked does not hold
    ├── InfeasibleError        exit code 1: no subnet meets the limits; carries what is reachable
    ├── InputError             exit code 2: a file, flag, key or unit is wrong
    └── DeviceError            exit code 3: the device cannot be reached or measured

Each message is one line that says what is wrong and what to do about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class HwnasError(Exception):
    """Base of the tree; `exit_code` is what the command line returns."""

    exit_code: ClassVar[int] = 1


class InfeasibleError(HwnasError):
    """No subnet meets the limits.

    `reachable` maps a metric with its unit (``latency_ms``) to its least and greatest value in the space; `nearest`
    is a JSON document of the model that comes closest, where one is known; `simulated` says that no device was asked.
    """

    def __init__(
        self,
        message: str,
        reachable: dict[str, tuple[float, float]],
        nearest: dict[str, Any] | None = None,
        *,
        simulated: bool = False,
    ) -> None:
        super().__init__(f"{message} (simulated, not measured)" if simulated else message)
        self.reachable = reachable
        self.nearest = nearest
        self.simulated = simulated


class InputError(HwnasError):
    """A file, flag, key or unit is wrong."""

    exit_code: ClassVar[int] = 2


class DeviceError(HwnasError):
    """The device cannot be reached, or its measurements cannot be used."""

    exit_code: ClassVar[int] = 3


def wrong_key(problem: Mapping[str, Any], whole: str) -> str:
    """One line for a problem that a validated document has: pydantic's own `type`, `loc` and `msg`.

    `whole` names the document, for a problem that no key has alone.
    """
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown key {where!r}; remove it or correct its spelling"
    return f"{where or whole}: {problem['msg']}; correct it"
