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


def supernet_option(function: Function) -> Function:
    """``--supernet NAME``, default the settings'."""
    text = "A folder of ofa_supernet/; the default is in hwnas.toml."
    return click.option("--supernet", metavar="NAME", help=text)(function)


def output_option(function: Function) -> Function:
    """``--output FILE``."""
    return click.option(
        "--output", metavar="FILE", type=click.Path(path_type=Path), help="Write the architecture to FILE, as JSON."
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
