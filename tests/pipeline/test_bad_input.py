"""Bad input ends in one clear line on stderr, nothing on stdout, and exit code 2."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import hwnas
from lab import Lab
from small_workspace import SUPERNET

LIMIT = ("specialize", "--latency", "1s")


def refused(workspace: Path, *arguments: str) -> str:
    """The line that a command is refused with."""
    code, out, err = hwnas(*arguments, "--json", "--workspace", str(workspace))
    assert (code, out) == (2, ""), err
    assert "Traceback" not in err
    *_, line = err.splitlines()
    assert line.startswith("hwnas: error: ")
    assert err.count("hwnas: error") == 1
    return line.removeprefix("hwnas: error: ")


def supernet(workspace: Path) -> Path:
    return workspace / "ofa_supernet" / SUPERNET


def table(workspace: Path) -> Path:
    return workspace / "luts/local" / SUPERNET


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("command", [LIMIT, ("profile",)])
@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("supernett = 'x'", "did you mean 'supernet'?"),
        ("[search]\nheadrom = 0.1", "did you mean 'search.headroom'?"),
        ("[search]\nheadroom = 15", "less than 1"),
        ("device =", "is no TOML"),
        ("device = 'pixel'", "no device is called 'pixel'"),
        ("supernet = 'imagenet'", "no supernet is called 'imagenet'"),
    ],
)
def test_settings(text: str, hint: str, command: tuple[str, ...], fresh: Path) -> None:
    (fresh / "hwnas.toml").write_text(text)
    assert hint in refused(fresh, *command)


@pytest.mark.parametrize("command", [LIMIT, ("profile",)])
def test_unknown_device(command: tuple[str, ...], fresh: Path) -> None:
    assert "choose one of local" in refused(fresh, *command, "--device", "pixel")


@pytest.mark.parametrize("limit", ["2", "2 apples", "2MB", "ms", "-2ms", "0ms", "", "infs"])
def test_a_limit_that_is_no_time(limit: str, fresh: Path) -> None:
    assert "2ms or 800us" in refused(fresh, "specialize", f"--latency={limit}") or limit in ("0ms",)


@pytest.mark.parametrize(
    "text", ["nmae = 'local'", "name = 'local'\n[blocks]\nroundz = 3", "name = 'local'\nthreads = 0"]
)
def test_a_wrong_device_file(text: str, fresh: Path) -> None:
    (fresh / "devices/local.toml").write_text(text)
    assert "devices/local.toml" in refused(fresh, *LIMIT)


@pytest.mark.parametrize("damage", [truncate, lambda path: path.write_bytes(b"garbage"), Path.unlink])
@pytest.mark.parametrize(
    "name", ["weights.safetensors", "predictor.safetensors", "images.safetensors.xz", "recipe.toml"]
)
def test_a_broken_supernet(name: str, damage: Callable[[Path], None], fresh: Path) -> None:
    damage(supernet(fresh) / name)
    assert name in refused(fresh, *LIMIT)
    assert not (fresh / "luts").exists()  # told before anything is measured


def test_weights_of_another_space(bench: Path, lab: Lab) -> None:
    shutil.copy(supernet(bench) / "predictor.safetensors", supernet(bench) / "weights.safetensors")
    assert "does not fit" in refused(bench, *LIMIT)


@pytest.mark.parametrize("name", ["table.csv", "table.json", "latency_model.json"])
def test_a_truncated_table(name: str, bench: Path, lab: Lab) -> None:
    truncate(table(bench) / name)
    assert "run `hwnas profile --device local --supernet" in refused(bench, *LIMIT)
    code, _, err = hwnas("profile", "--json", "--workspace", str(bench))
    assert code == 0, err
    assert lab.timed == []
    assert hwnas("check", "--workspace", str(bench))[0] == 0


@pytest.mark.parametrize("name", ["samples.jsonl", "networks.jsonl", "verdicts.jsonl"])
def test_a_folder_where_a_journal_should_be(name: str, bench: Path, lab: Lab) -> None:
    (table(bench) / name).unlink(missing_ok=True)
    (table(bench) / name).mkdir()
    (table(bench) / "latency_model.json").unlink()
    assert name in refused(bench, *LIMIT)


@pytest.mark.parametrize("name", ["luts", "luts/local", f"luts/local/{SUPERNET}"])
@pytest.mark.parametrize("command", [LIMIT, ("profile",)])
def test_a_table_folder_that_cannot_be_written(name: str, command: tuple[str, ...], bench: Path, lab: Lab) -> None:
    shutil.rmtree(bench / "luts")
    (bench / name).parent.mkdir(parents=True, exist_ok=True)
    (bench / name).write_text("a file")
    assert "cannot write" in refused(bench, *command)


def test_an_export_folder_that_cannot_be_written(bench: Path, lab: Lab) -> None:
    (bench / "export").write_text("a file")
    assert "cannot write" in refused(bench, *LIMIT)


def test_training(fresh: Path, tmp_path: Path) -> None:
    recipe, out = supernet(fresh) / "recipe.toml", tmp_path / "new"

    def line(*arguments: str) -> str:
        code, output, err = hwnas("train", *arguments)
        assert (code, output) == (2, ""), err
        assert err.count("\n") == 1
        return err

    assert "no recipe at" in line(str(tmp_path / "none.toml"), "--out", str(out))
    assert "is missing" in line(str(recipe), "--out", str(out))  # the recipe's data
    assert "holds a finished supernet" in line(str(recipe), "--out", str(supernet(fresh)))
    recipe.write_text(recipe.read_text().replace("epochs", "epoch"))
    assert "stage.0.epoch" in line(str(recipe), "--out", str(out))
    assert not out.exists()
