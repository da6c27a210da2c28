"""The command line in this process."""

from __future__ import annotations

import contextlib
import io

from hwnas.cli import run


def hwnas(*arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command line."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = run(list(arguments))
    return code, out.getvalue(), err.getvalue()
