"""What every benchmark shares: its options, the workspace it looks at, its tables, and the line it ends with."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from hwnas import __version__
from hwnas.core.arch import ArchBatch
from hwnas.core.files import write_atomic, write_json
from hwnas.core.genetics import sample, unique
from hwnas.core.metrics import Floats
from hwnas.core.protocols import SearchSpace
from hwnas.devices.device import open_device
from hwnas.devices.profile import DeviceProfile, load_profile
from hwnas.latency.in_use import LatencyInUse
from hwnas.luts import LatencyTable
from hwnas.luts.build import TABLE
from hwnas.ofa_supernet.folder import SupernetFolder
from hwnas.pipeline.latency import kept_model, profile_space
from hwnas.workspace import Workspace

ROOT = Path(__file__).parent.parent
PACKAGES = ("numpy", "torch", "onnx", "onnxruntime", "scikit-learn")
"""Their versions go into `environment`."""
POPULATION_SEED = 20_000
"""Of the random subnets whose percentiles are limits; far from the seeds of the searches."""


def parser(description: str | None, seeds: int | None = None) -> argparse.ArgumentParser:
    """The options that every script has; `seeds` is the default of ``--seeds`` where a script has any."""
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    options.add_argument("--quick", action="store_true", help="a small run that shows that it works; backs no claim")
    options.add_argument("--seeds", type=int, default=seeds, help="repetitions (default: %(default)s)")
    options.add_argument("--workspace", type=Path, default=ROOT, help="folder of hwnas.toml (default: the repository)")
    cache = Path(tempfile.gettempdir()) / "hwnas-benchmarks"
    options.add_argument("--cache", type=Path, default=cache, help="where an interrupted run goes on (%(default)s)")
    return options


@dataclass(frozen=True)
class Setting:
    """The default supernet and device of a workspace."""

    workspace: Workspace
    supernet: SupernetFolder
    profile: DeviceProfile
    tables: Path

    @classmethod
    def of(cls, path: Path) -> Setting:
        workspace = Workspace(path)
        settings = workspace.settings
        return cls(
            workspace,
            SupernetFolder(workspace.supernet_folder(settings.supernet)),
            load_profile(workspace.device_file(settings.device)),
            workspace.table_folder(settings.device, settings.supernet),
        )

    def model(self) -> LatencyInUse:
        """The latency model that the workspace keeps; measured and kept first where there is none of this machine."""
        space = self.supernet.space
        with open_device(self.profile) as device:
            model = kept_model(self.tables, space, device.facts())
        if model is None:
            subnets = self.workspace.settings.measure.subnets
            model = profile_space(self.profile, space, self.tables, subnets, progress()).model
        if model is None:
            raise SystemExit(f"not every block runs on {self.profile.name}: see `hwnas profile`")
        return model

    def table(self) -> LatencyTable:
        """The table behind it."""
        self.model()
        return LatencyTable.read(self.tables / TABLE)


def random_p90s(model: LatencyInUse, count: int = 1000) -> Floats:
    """Predicted p90s of `count` random subnets, in ms; the same subnets every time."""
    batch = random_subnets(model.space, count, POPULATION_SEED)
    return model.estimate(batch).p90


def random_subnets(space: SearchSpace, count: int, seed: int) -> ArchBatch:
    """`count` distinct subnets, each gene uniform."""
    drawn = unique(sample(space, 2 * count, np.random.default_rng(seed)))
    return drawn.take(np.arange(min(count, len(drawn))))


class progress:  # noqa: N801 - used as a function is
    """Progress on stderr: at most one line a tenth."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        tenth = 10 * done // max(total, 1)
        if self._told.get(stage) != tenth:
            self._told[stage] = tenth
            log(f"{stage}: {done}/{total}")


def log(text: str) -> None:
    print(f"[{datetime.now(UTC):%H:%M:%S}] {text}", file=sys.stderr, flush=True)


@contextmanager
def measuring(cache: Path, name: str) -> Iterator[Path]:
    """A folder for journals of times: an interrupted run goes on there; a finished one leaves nothing to be reused."""
    folder = cache / name
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Interval:
    """Mean of N paired differences and its 95% t-interval."""

    mean: float
    low: float
    high: float
    pairs: int

    @classmethod
    def of(cls, differences: Sequence[float]) -> Interval:
        values = np.asarray(differences, dtype=np.float64)
        mean, half = float(values.mean()), 0.0
        if len(values) > 1:
            half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
        return cls(mean, mean - half, mean + half, len(values))

    def points(self) -> str:
        """In percentage points, as tables show it."""
        return f"{100 * self.mean:+.2f} [{100 * self.low:+.2f}, {100 * self.high:+.2f}]"


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table for docs/results.md."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


SCORE_HEADER = ("model", "within 5%", "within 10%", "MAPE", "Spearman", "Kendall")


def score_cells(row: Mapping[str, Any]) -> list[str]:
    """One entry of a `report_card`, under `SCORE_HEADER`; a correlation with what is all alike is none."""
    ranks = ["-" if row[key] is None else f"{row[key]:.3f}" for key in ("spearman", "kendall")]
    return [row["model"], f"{row['within_5']:.0%}", f"{row['within_10']:.0%}", f"{row['mape']:.1%}", *ranks]


def environment() -> dict[str, Any]:
    """Where the figures come from."""
    cpu = next(
        (line.split(":")[1].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")),
        platform.processor(),
    )
    return {
        "hwnas": __version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        "cpu": cpu,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "os": platform.platform(),
        "load_average": round(os.getloadavg()[0], 2),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def finish(options: argparse.Namespace, name: str, figures: dict[str, Any], tables: Sequence[str] = ()) -> None:
    """Tables to stderr, the one JSON line to stdout, and both to the cache as NAME.md and NAME.json."""
    document = {"name": name, "quick": options.quick, "figures": figures, "environment": environment()}
    stem = f"{name}-quick" if options.quick else name
    text = "\n\n".join(tables) + "\n"
    write_json(options.cache / f"{stem}.json", document)
    write_atomic(options.cache / f"{stem}.md", text)
    print(f"\n{text}", file=sys.stderr, flush=True)
    print(json.dumps(document), flush=True)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
