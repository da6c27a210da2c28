"""hwnas.toml: the defaults, and one clear line for each mistake."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from hwnas import config
from hwnas.core.errors import InputError

ROOT = Path(__file__).parents[1]


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "hwnas.toml").write_text("")
    assert config.load(tmp_path / "hwnas.toml") == config.Settings()


def test_the_shipped_file_spells_out_every_default() -> None:
    shipped = tomllib.loads((ROOT / "hwnas.toml").read_text())
    assert shipped == config.Settings().model_dump()
    assert config.load(ROOT / "hwnas.toml") == config.Settings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('devise = "local"', "unknown key 'devise': did you mean 'device'?"),
        ("[search]\npopulaton = 3", "unknown key 'search.populaton': did you mean 'search.population'?"),
        ("[measure]\nxyzzy = 3", "unknown key 'measure.xyzzy': the keys here are subnets"),
        ("[serach]", "did you mean 'search'?"),
        ("[search]\npopulation = 1", "search.population = 1 is wrong"),
        ('[search]\npopulation = "many"', "search.population = 'many' is wrong"),
        ("[search]\nheadroom = 1.5", "search.headroom = 1.5"),
        ('search = "fast"', "search = 'fast' is wrong"),
        ('[export]\nformats = ["onnx", "gif"]', "'gif': choose from onnx"),
        ("device = ", "is no TOML"),
    ],
)
def test_mistakes_are_one_line_that_names_the_file(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "hwnas.toml"
    file.write_text(text)
    with pytest.raises(InputError) as error:
        config.load(file)
    assert str(file) in str(error.value)
    assert said in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        config.load(tmp_path / "hwnas.toml")
