"""What every command shares: its two options, and how it prints a result."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])


def workspace_option(function: Function) -> Function:
    """``--workspace DIR``, default the current folder."""
    return click.option(
        "--workspace",
        "workspace_path",
        metavar="DIR",
        type=click.Path(path_type=Path),
        default=".",
        show_default=True,
        help="Folder that holds hwnas.toml.",
    )(function)


def json_option(function: Function) -> Function:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")(function)


@contextlib.contextmanager
def quiet_stdout() -> Iterator[None]:
    """Keep stdout for the result: what a library prints while it works goes to stderr."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def show(document: dict[str, Any], text: str, as_json: bool) -> None:
    """Print the document, or the text for a person."""
    click.echo(json.dumps(document, indent=2) if as_json else text)
