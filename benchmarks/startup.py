"""How long does `hwnas --help` take? Against a Python that does nothing.

Both programs run in turn, in fresh processes of this interpreter, after one untimed run each that fills the page cache;
figures are medians of 10 runs.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from _common import finish, markdown, parser

NAME = "startup"


def seconds(command: list[str]) -> float:
    """Wall-clock time of one run."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    args = parser(__doc__, seeds=10).parse_args()
    program = Path(sys.executable).with_name("hwnas")
    hwnas = [str(program)] if program.exists() else [sys.executable, "-m", "hwnas.cli"]
    commands = {"hwnas --help": [*hwnas, "--help"], "python -c pass": [sys.executable, "-c", "pass"]}
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for run in range(1 + (3 if args.quick else args.seeds)):
        for name, command in commands.items():
            passed = seconds(command)
            if run:
                taken[name].append(passed)
    median = {name: float(np.median(values)) for name, values in taken.items()}
    figures = {"median_seconds": median, "greatest_seconds": {name: max(values) for name, values in taken.items()}}
    rows = [[f"`{name}`", f"{value:.3f} s", f"{max(taken[name]):.3f} s"] for name, value in median.items()]
    finish(args, NAME, figures, [markdown(["", "median", "greatest"], rows)])


if __name__ == "__main__":
    main()
