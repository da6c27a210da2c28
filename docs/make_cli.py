"""Write docs/cli.md from the ``--help`` of every command; with ``--check``, fail where it is out of date."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hwnas.cli import COMMANDS, cli

PAGE = Path(__file__).parent / "cli.md"
CONTRACT = Path(__file__).parent / "contract.md"

HEAD = """# The command line

<!-- Written by docs/make_cli.py from --help; run `make docs` after a change. -->

What the commands print with `--json` and which exit codes they give is kept stable: see [contract.md](contract.md).
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD, _section("hwnas", cli)]
    context = click.Context(cli, info_name="hwnas")
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        parts.append(_section(f"hwnas {name}", command))
    return "\n".join(parts)


def _section(title: str, command: click.Command) -> str:
    text = command.get_help(click.Context(command, info_name=title, max_content_width=100, terminal_width=100))
    return f"## {title}\n\n```\n{text}\n```\n"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text() == page() else "docs/cli.md is out of date: run 'make docs'")
    PAGE.write_text(page())
