"""The command line: light help, one-line errors, exit codes, documents."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

import hwnas.workspace
from hwnas.cli import COMMANDS, cli, run
from hwnas.core.errors import DeviceError, HwnasError, InfeasibleError, InputError

HEAVY = {"torch", "onnx", "onnxruntime", "pandas", "numpy", "pydantic", "rich", "sklearn", "safetensors"}

commands = pytest.mark.parametrize("name", COMMANDS)


def command(name: str) -> click.Command:
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    return found


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *[[name, "--help"] for name in COMMANDS]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = f"import sys; from hwnas.cli import run; run({arguments!r}); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout
    assert not HEAVY & set(done.stderr.split())


@commands
def test_every_command_has_json_and_an_example(name: str) -> None:
    text = command(name).get_help(click.Context(command(name), info_name=f"hwnas {name}"))
    assert "--json" in text
    assert "Example" in text
    assert f"hwnas {name}" in text.split("Example")[1]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["specialize"], "--latency"),
        (["specialise"], "No such command"),
        (["profile", "--devise", "x"], "--device"),
        (["specialize", "--latency", "2ms", "--seed", "-1"], "--seed"),
        (["specialize", "--latency", "2 apples"], "2ms or 800us"),
        (["devices", "--workspace", "nowhere"], "hwnas init"),
    ],
)
def test_bad_input_is_one_line_and_2(arguments: list[str], hint: str, workspace: Path, capsys) -> None:
    os.chdir(workspace)
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("hwnas: error: ")
    assert err.count("\n") == 1
    assert hint in err


def test_a_bare_hwnas_shows_the_help_and_is_2(capsys) -> None:
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    assert run([]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", text)
    assert text.startswith("Usage: hwnas [OPTIONS] COMMAND [ARGS]...\n")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hwnas.toml").write_text("")
    return tmp_path


def specialize_with(monkeypatch: pytest.MonkeyPatch, outcome: BaseException) -> None:
    def raises(*args: object, **options: object) -> None:
        raise outcome

    monkeypatch.setattr(hwnas.workspace.Workspace, "specialize", raises)


@pytest.mark.parametrize(
    ("error", "code"),
    [(HwnasError("a"), 1), (InputError("b"), 2), (DeviceError("c\nd"), 3), (KeyboardInterrupt(), 130)],
)
def test_exit_codes(error: BaseException, code: int, workspace: Path, monkeypatch, capsys) -> None:
    specialize_with(monkeypatch, error)
    assert run(["specialize", "--latency", "2ms"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.strip().count("\n") == 0


def test_infeasible_says_what_is_reachable(workspace: Path, monkeypatch, capsys) -> None:
    nearest = {"latency_ms": {"p90": 0.25}}
    specialize_with(monkeypatch, InfeasibleError("no", {"latency_ms": (0.2, 3.0)}, nearest))
    assert run(["specialize", "--latency", "1us", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document == {"schema": 1, "holds": False, "reachable": {"latency_ms": [0.2, 3.0]}, "nearest": nearest}


def test_a_result_that_does_not_hold_is_1(workspace: Path, monkeypatch, capsys) -> None:
    class Report:
        def to_json(self) -> dict[str, object]:
            print("a library prints")  # noqa: T201
            return {"schema": 1, "holds": False, "package": None, "device": "local", "measured": None} | {
                "constraints": [{"metric": "latency", "statistic": "p90", "limit": 2.0, "unit": "ms"}]
            }

    monkeypatch.setattr(hwnas.workspace.Workspace, "specialize", lambda *a, **k: Report())
    assert run(["specialize", "--latency", "2ms", "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["holds"] is False
    assert "a library prints" in err


def test_sigterm_is_an_interruption(tmp_path: Path) -> None:
    code = (
        "import hwnas.workspace, time\n"
        "(lambda m: setattr(hwnas.workspace.Workspace, 'specialize', m))"
        "(lambda *a, **k: (print('up', flush=True), time.sleep(60)))\n"
        "from hwnas.cli import main; main(['specialize', '--latency', '2ms'])"
    )
    (tmp_path / "hwnas.toml").write_text("")
    child = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    assert child.stderr.readline() == "up\n"
    child.send_signal(signal.SIGTERM)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 130
    assert "run the same command again" in err


def test_init_then_check(tmp_path: Path, capsys) -> None:
    assert run(["init", str(tmp_path / "ws"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"schema": 1, "workspace": str(tmp_path / "ws")}
    assert run(["init", str(tmp_path / "ws")]) == 2
    assert "not empty" in capsys.readouterr().err
