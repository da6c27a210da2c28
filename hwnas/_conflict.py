"""The PyPI package ``slimnet`` installs an import package called ``hwnas`` too; the two cannot share a venv."""

from __future__ import annotations

from hwnas.core.errors import InputError

OTHER = "slimnet"


def refuse_other_hwnas() -> None:
    """Stop where the other ``hwnas`` is installed; a look-up of one name, so it costs a few milliseconds.

    Raises:
        InputError: it is.
    """
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        files = distribution(OTHER).files or []
    except PackageNotFoundError:
        return
    if any(file.parts[0] == "hwnas" for file in files):
        raise InputError(
            f"the installed package {OTHER!r} has an import package called hwnas too: "
            f"run 'pip uninstall {OTHER}', then reinstall hwnas"
        )
