"""The runner as a far device takes it: one zip archive that Python runs as it is."""

from __future__ import annotations

import io
import zipfile
from functools import cache
from pathlib import Path

from hwnas.devices import runner

PACKAGE = "hwnas_runner"
"""Its name inside: not `hwnas`, which a device may have installed."""
_MAIN = f"import sys\n\nfrom {PACKAGE}.serve import main\n\nsys.exit(main())\n"


@cache
def runner_archive() -> bytes:
    """The archive; the same sources give the same bytes, so that a device knows by the hash what it has."""
    folder = Path(runner.__file__).parent
    files = {f"{PACKAGE}/{path.name}": path.read_text() for path in sorted(folder.glob("*.py"))}
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in {"__main__.py": _MAIN, **files}.items():
            archive.writestr(zipfile.ZipInfo(name), text)  # of the year 1980, whenever it is made
    return data.getvalue()
