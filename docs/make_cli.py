"""Write docs/cli.md from the ``--help`` of every command; with ``--check``, fail where it is out of date."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from hwnas.cli import COMMANDS, cli

PAGE = Path(__file__).parent / "cli.md"

COLUMNS = "100"
"""Width of the terminal that the page shows: as wide as the help ever gets."""

HEAD = """# The command line

<!-- Written by docs/make_cli.py from --help; run `make docs` after a change. -->

What the commands print with `--json` and which exit codes they give is kept stable: see [contract.md](contract.md).
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, section(), *(section(*words) for words in every_command())])


def every_command() -> Iterator[tuple[str, ...]]:
    """The words of each command, those of a group after the group's own."""
    for name in COMMANDS:
        yield (name,)
        command = cli.get_command(click.Context(cli), name)
        if isinstance(command, click.Group):
            yield from ((name, below) for below in command.commands)


def section(*command: str) -> str:
    """What ``hwnas COMMAND --help`` prints."""
    os.environ["COLUMNS"] = COLUMNS
    with contextlib.redirect_stdout(io.StringIO()) as out:
        cli.main([*command, "--help"], prog_name="hwnas", standalone_mode=False)
    return f"## {' '.join(['hwnas', *command])}\n\n```\n{out.getvalue()}```\n"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text() == page() else "docs/cli.md is out of date: run 'make docs'")
    PAGE.write_text(page())
