"""What the toolkit runs on a far device besides the runner; one self-contained file (Python 3.8+), sent as text.

`RECEIVE` fits on a command line and takes a program from stdin: eight digits with its size, then its text. The programs
are this file with one call below it:

`start()` becomes the runner. It is kept on the device by its hash, so that it travels once. Over stdin comes its sha256
(64 hex digits); the answer on stdout is four bytes:

    here    it is kept already, or now; then eight digits, the number of this process, which becomes the runner
    want    it is not: send eight digits with its size, then the file; afterwards "here" as above

`end()` kills the process whose number comes in eight digits, if it is a runner. `clean()` removes what was kept.
"""

from __future__ import annotations

import hashlib
import os
import runpy
import signal
import sys
from pathlib import Path

START_SECONDS = 120
"""For a program to come, and then for a runner: a link that died silently would keep a process for ever."""
RECEIVE = (
    f"import sys;sys.path=[p for p in sys.path if p];import os,signal;signal.alarm({START_SECONDS});"
    'r=lambda n,b=b"":b if len(b)==n else r(n,b+(os.read(0,n-len(b))or exit()));'
    'exec(compile(r(int(r(8))),"hwnas","exec"))'
)
"""One line, and no single quotes, so that every shell takes it in single quotes as it is. The folder where it runs, a
person's home, leaves the search path: a random.py there is not Python's."""
FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hwnas"
"""Where runners are kept on the device: all that stays there."""


def receive(size: int) -> bytes:
    """Exactly so many bytes of stdin."""
    parts = []
    while size:
        part = os.read(0, min(size, 1 << 20))
        if not part:
            sys.exit("the connection ended before the runner had come")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def start() -> None:
    """Become the runner."""
    signal.alarm(START_SECONDS)  # until the runner is there, which has limits of its own
    digest = receive(64).decode()
    path = FOLDER / f"runner-{digest}.zip"
    if not _held(path, digest):
        os.write(1, b"want")
        data = receive(int(receive(8)))
        if hashlib.sha256(data).hexdigest() != digest:
            sys.exit("the runner that came is not the one that was announced")
        try:
            _keep(path, data)
        except OSError as error:
            sys.exit(f"cannot keep the runner in {FOLDER}: {error.strerror}")
    os.write(1, b"here%08d" % os.getpid())
    sys.argv = [str(path)]
    runpy.run_path(str(path), run_name="__main__")  # no exec: under an emulator or in a proot that may fail


def _held(path: Path, digest: str) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == digest
    except OSError:
        return False


def _keep(path: Path, data: bytes) -> None:
    """Whole or not at all: the file has its name only once it is on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        if beside.exists():
            beside.unlink()


def end() -> None:
    """Kill a runner that no longer answers, and nothing else: `RECEIVE` on its command line tells it."""
    process = int(receive(8))
    try:
        if b'"hwnas","exec"' in Path(f"/proc/{process}/cmdline").read_bytes():
            os.kill(process, signal.SIGKILL)
    except OSError:
        pass


def clean() -> None:
    """Remove every runner; says how many bytes that freed."""
    freed = 0
    for path in FOLDER.glob("runner-*"):
        freed += path.stat().st_size
        path.unlink()
    if FOLDER.is_dir() and not any(FOLDER.iterdir()):
        FOLDER.rmdir()
    os.write(1, b"%d" % freed)
