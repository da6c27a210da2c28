"""Three hundred networks over SSH, and three kills: is anything lost, measured twice or torn, and what does it cost?

A real OpenSSH server on loopback (that of `make lab`, made anew) serves as the device. In a new workspace of the
supernet's space, `hwnas profile` measures `local` for a minute, so that there is another device to learn from; then
`hwnas profile --device lab-ssh` measures its block table and 300 whole networks. The command's whole process group is
killed (SIGKILL) at random moments in the midst of the networks, one in each third of them, and each time the same
command is given again at once.

Reported: networks in the journal, those with a second measurement, journal lines that are torn other than by a kill,
journals set aside, processes of killed runs that the device still had at the end; the report card; and what the kills
cost: the seconds from the last line that was kept to the kill, the most that the device worked for nothing, beside its
seconds for all that was kept, which are what an undisturbed run takes.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _common import SCORE_HEADER, finish, log, markdown, measuring, parser, score_cells
from _loopback import DEVICE, lab
from _workspaces import QUICK_RULES, local_toml, own_workspace
from processes import alive
from ssh_lab import Server

from hwnas.core.additive import distinct_blocks
from hwnas.core.files import append_line, read_lines
from hwnas.devices.profile import load_profile
from hwnas.luts.build import JOURNAL
from hwnas.ofa_supernet.folder import SupernetFolder
from hwnas.pipeline.latency import NETWORKS_JOURNAL
from hwnas.workspace import Workspace

NAME = "ssh_campaign"
SEED = 3
LOCAL = "local"
LOOK_EVERY_S = 0.02
"""A look at the journal is one stat; it is read where it has grown."""
GONE_WITHIN_S = 10.0
"""So soon after the last run a device has nothing left of the killed ones."""


@dataclass(frozen=True)
class Size:
    """Of a run."""

    networks: int = 300
    kills: int = 3
    local_budget: str = "60s"
    rules: str = ""


QUICK = Size(networks=24, kills=1, local_budget="2s", rules=QUICK_RULES)


@dataclass(frozen=True)
class Kill:
    """After how many journal lines; whether one was torn; the seconds of work since the last line."""

    lines: int
    torn: bool
    lost_seconds: float
    seconds: float
    """Of the run that was killed."""


class Journal:
    """Lines of JSON that are looked at while another process writes them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._before = self._bytes()

    def size(self) -> int:
        """In bytes; 0 where there is no file."""
        return self.path.stat().st_size if self.path.exists() else 0

    def lines(self) -> int:
        """Whole ones after the header."""
        return max(0, self._bytes().count(b"\n") - 1)

    def torn(self) -> int:
        """Lines that are no JSON, the unfinished one at the end included."""
        return sum(not _whole(line) for line in self._bytes().splitlines())

    def ends_torn(self) -> bool:
        """Is there an unfinished line at the end?"""
        last = self._bytes().rpartition(b"\n")[2]
        return bool(last) and not _whole(last)

    def kept(self) -> bool:
        """Is all that was there at the last look there still, unchanged and in its place?"""
        before, self._before = self._before, self._bytes()
        return self._before.startswith(before)

    def measured(self) -> list[str]:
        """Names, one a measurement."""
        return [line["name"] for line in self._documents() if line.get("kind") == "measured"]

    def device_seconds(self) -> float:
        """That all measurements in it took."""
        return sum(float(line.get("device_seconds", 0.0)) for line in self._documents())

    def _documents(self) -> list[dict[str, Any]]:
        return [line for line in read_lines(self.path) if isinstance(line, dict)]

    def _bytes(self) -> bytes:
        return self.path.read_bytes() if self.path.exists() else b""


def _whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


@contextmanager
def profiling(workspace: Path, device: str, *more: str) -> Iterator[subprocess.Popen[str]]:
    """`hwnas profile` in a process group of its own, which is killed at the end of the block."""
    words = ["profile", "--device", device, "--workspace", str(workspace), "--json", *more]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-m", "hwnas.cli", *words], stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def document(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What it says of the device at its end."""
    said, logged = process.communicate()
    if process.returncode:
        raise SystemExit(f"hwnas profile ended with {process.returncode}: {logged[-1000:]}")
    found: dict[str, Any] = json.loads(said)["devices"][0]
    return found


def moments(size: Size, group: int) -> list[int]:
    """Lines after which to kill, one in each equal part; two groups at least are left to be measured then."""
    rng = np.random.default_rng(SEED)
    edges = np.linspace(0, size.networks - 2 * group, size.kills + 1).astype(int).tolist()
    return [int(rng.integers(low + 1, high + 1)) for low, high in itertools.pairwise(edges)]


def kill(workspace: Path, journal: Journal, after: int, wait_s: float) -> Kill | None:
    """Run until there are `after` lines and `wait_s` more; None where it came to its end before."""
    started = time.time()
    with profiling(workspace, DEVICE) as process:
        while journal.lines() < after and process.poll() is None:
            size = journal.size()
            while journal.size() == size and process.poll() is None:
                time.sleep(LOOK_EVERY_S)
        time.sleep(wait_s)
        if process.poll() is not None:
            return None
    now = time.time()
    working_since = max(started, journal.path.stat().st_mtime)
    return Kill(journal.lines(), journal.ends_torn(), now - working_since, now - started)


def campaign(workspace: Path, journal: Journal, size: Size, folder: Path, made: Server) -> dict[str, Any]:
    """All runs, the killed ones and the last, and what they left."""
    rules = load_profile(workspace / "devices" / f"{DEVICE}.toml").networks
    waits = np.random.default_rng(SEED).uniform(0, rules.group * rules.min_seconds, size.kills).tolist()
    record, kept = folder / "kills.jsonl", True
    killed = [Kill(**line) for line in read_lines(record)]  # of an interrupted benchmark
    processes: set[int] = set()
    for after, wait_s in list(zip(moments(size, rules.group), waits, strict=True))[len(killed) :]:
        found = kill(workspace, journal, after, wait_s)
        if found is None:
            log("it came to its end before it was killed")
            break
        log(f"killed after {found.lines} networks")
        processes |= set(made.children())
        append_line(record, asdict(found))
        killed.append(found)
        kept &= journal.kept()
    started = time.time()
    with profiling(workspace, DEVICE) as process:
        found_at_end = document(process)
    seconds = time.time() - started
    kept &= journal.kept()
    names = journal.measured()
    thrown = sum(one.lost_seconds for one in killed)
    return {
        "networks": len(set(names)),
        "asked": size.networks,
        "kills": [asdict(one) for one in killed],
        "measured_twice": len(names) - len(set(names)),
        "torn_at_kills": sum(one.torn for one in killed),
        "torn_otherwise": journal.torn() - sum(one.torn for one in killed),
        "lines_kept": kept,
        "set_aside": len(list(journal.path.parent.glob(f"{journal.path.stem}.old*"))),
        "left_running": left(processes),
        "device_seconds": found_at_end["device_seconds"],
        "thrown_away_seconds": thrown,
        "device_seconds_over_undisturbed": 1 + thrown / found_at_end["device_seconds"],
        "seconds": seconds + sum(one.seconds for one in killed),
        "rows": found_at_end["rows"],
        "failed": found_at_end["failed"],
        "disturbed_networks": found_at_end["disturbed_networks"],
        "best_on_validation": found_at_end.get("best_on_validation"),
        "report_card": found_at_end["report_card"],
    }


def left(processes: set[int]) -> int:
    """How many of these still run."""
    end = time.monotonic() + GONE_WITHIN_S
    while any(map(alive, processes)) and time.monotonic() < end:
        time.sleep(LOOK_EVERY_S)
    return sum(map(alive, processes))


def expected_seconds(workspace: Workspace, size: Size) -> float:
    """Of the device, undisturbed: by what blocks and networks took as `local`."""
    supernet = workspace.settings.supernet
    folder = workspace.table_folder(LOCAL, supernet)
    blocks = distinct_blocks(SupernetFolder(workspace.supernet_folder(supernet)).space)
    total = 0.0
    for name, count in ((JOURNAL, len(blocks)), (NETWORKS_JOURNAL, size.networks)):
        journal = Journal(folder / name)
        total += count * journal.device_seconds() / len(journal.measured())
    return total


def tables(figures: dict[str, Any]) -> list[str]:
    """What became of the networks, and the models, for docs/results.md."""
    header = ["networks", "kills", "measured twice", "torn at kills", "torn otherwise", "left running"]
    header += ["device", "thrown away", "over undisturbed"]
    row = [figures["networks"], len(figures["kills"]), figures["measured_twice"], figures["torn_at_kills"]]
    row += [figures["torn_otherwise"], figures["left_running"], f"{figures['device_seconds']:.0f} s"]
    row += [f"{figures['thrown_away_seconds']:.1f} s", f"{figures['device_seconds_over_undisturbed']:.3f}"]
    card = figures["report_card"]
    note = (
        f"{card[0]['networks']} networks that no model was fitted on; noise floor {card[0]['noise_floor']:.2%}; best "
        f"on the networks set apart for choosing: {figures['best_on_validation'] or 'not told'}."
    )
    return [markdown(header, [row]), f"{markdown(SCORE_HEADER, [score_cells(one) for one in card])}\n\n{note}"]


def main() -> None:
    args = parser(__doc__).parse_args()
    size = QUICK if args.quick else Size()
    with (
        measuring(args.cache, f"{NAME}-quick" if args.quick else NAME) as folder,
        tempfile.TemporaryDirectory(prefix="hwnas-ssh-") as scratch,
        lab(Path(scratch)) as (made, text),
    ):
        devices = {LOCAL: local_toml(1, size.rules), DEVICE: text + size.rules}
        workspace = own_workspace(Workspace(args.workspace), folder / "ws", size.networks, devices)
        log(f"{LOCAL}: {size.local_budget}")
        with profiling(workspace.path, LOCAL, "--budget", size.local_budget) as process:
            document(process)
        expected = expected_seconds(workspace, size)
        log(f"{DEVICE}: {size.networks} networks and the blocks; some {expected:.0f} s of the device")
        journal = Journal(workspace.table_folder(DEVICE, workspace.settings.supernet) / NETWORKS_JOURNAL)
        figures = {"expected_seconds": expected, **campaign(workspace.path, journal, size, folder, made)}
    finish(args, NAME, figures, tables(figures))


if __name__ == "__main__":
    main()
