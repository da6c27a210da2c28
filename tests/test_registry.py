"""Every registered name leads somewhere; others are refused with the choices."""

from __future__ import annotations

import pytest

from hwnas import registry, spaces
from hwnas.core.errors import InputError

PARTS = [(kind, name) for kind in registry.REGISTRY for name in registry.names(kind)]


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_every_name_loads(kind: str, name: str) -> None:
    assert callable(registry.load(kind, name))


def test_kinds() -> None:
    kinds = {"spaces", "devices", "strategies", "estimators", "simulators", "evaluators", "exporters"}
    assert set(registry.REGISTRY) == kinds


def test_every_once_for_all_space_is_there() -> None:
    assert set(spaces.known()) < set(registry.names("spaces"))


def test_unknown_names_list_the_choices() -> None:
    with pytest.raises(InputError, match="choose one of random, evolution"):
        registry.load("strategies", "luck")
    with pytest.raises(InputError, match="choose one of spaces, devices"):
        registry.names("hopes")
