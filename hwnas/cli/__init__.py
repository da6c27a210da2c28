"""The command line. Only click is imported until a command runs."""

from __future__ import annotations

import json
import os
import signal
import sys
from importlib import import_module
from keyword import iskeyword
from typing import Any

import click

from hwnas import __version__
from hwnas._conflict import refuse_other_hwnas
from hwnas.core.errors import HwnasError, InfeasibleError

COMMANDS = ("specialize", "profile", "report", "train", "devices", "import", "check", "init")
"""Each is a module here with a `command`; a word of Python's own has an underscore behind it."""

INTERRUPTED = 130


class _Commands(click.Group):
    """A group whose commands are imported when they are first named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of `COMMANDS`, not of the alphabet."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command: click.Command = import_module(f"hwnas.cli.{module}").command
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="hwnas")
def cli() -> None:
    """Name a device and a latency limit; get a model that was measured to meet it.

    \b
    Exit codes:
      0    what was asked holds
      1    it does not: nothing fits, or a check failed
      2    bad input: a flag, a file, a key or a unit
      3    the device cannot be reached or measured
      130  interrupted; the same command goes on where it stopped

    \b
    Example:
      hwnas specialize --latency 2ms
    """


def main(arguments: list[str] | None = None) -> None:
    """The `hwnas` program: runs a command and exits with its code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; errors become one line on stderr, an empty one the help there."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        refuse_other_hwnas()
        return cli.main(args=arguments, prog_name="hwnas", standalone_mode=False) or 0
    except InfeasibleError as error:
        if "--json" in arguments:
            reachable = {name: list(ends) for name, ends in error.reachable.items()}
            document = {"schema": 1, "holds": False, "reachable": reachable, "nearest": error.nearest}
            if error.simulated:
                document |= {"device_kind": "simulator"}
            click.echo(json.dumps(document, indent=2))
        return _fail(str(error), error.exit_code)
    except HwnasError as error:
        return _fail(str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:  # bare `hwnas`: its message is the whole help
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        return _fail(_usage(error), 2)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted: run the same command again to go on", INTERRUPTED)
    except BrokenPipeError:  # the reader of stdout went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _interrupt(signum: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    message = " ".join(error.format_message().split()).rstrip(".")
    return f"{message}; see '{context.command_path} --help'" if context else message


def _fail(message: str, code: int) -> int:
    click.echo(f"hwnas: error: {' '.join(message.split())}", err=True)
    return code
