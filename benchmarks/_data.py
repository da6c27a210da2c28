"""Measurements that other groups published, read from the folder that HWNAS_DATA names."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hwnas.core.metrics import Floats

EDGE_COLUMNS = ["op_01", "op_02", "op_12", "op_03", "op_13", "op_23"]


def folder() -> Path:
    """The folder of the data; ends the program with what to do where it is not set."""
    path = Path(os.environ.get("HWNAS_DATA", ""))
    if not os.environ.get("HWNAS_DATA") or not path.is_dir():
        raise SystemExit("set HWNAS_DATA to the folder that holds help_latency/, latbench_brpnas/, nb201_core/, ...")
    return path


@cache
def cells() -> pd.DataFrame:
    """All 15,625 cells of NAS-Bench-201, a row each in their official order."""
    return pd.read_parquet(folder() / "nb201_core" / "nb201_accuracy_flops.parquet")


def cell_edges() -> NDArray[np.int16]:
    """15,625 x 6 operators, as `hwnas.spaces.nasbench201` codes them."""
    return cells()[EDGE_COLUMNS].to_numpy(dtype=np.int16)


def help_cells() -> pd.DataFrame:
    """HELP's latencies (ms) of all 15,625 cells, a column a device (Lee et al., NeurIPS 2021)."""
    return pd.read_parquet(folder() / "help_latency" / "nb201_latency_ms.parquet").sort_values("arch_idx")


def desktop_cpu() -> tuple[NDArray[np.intp], Floats]:
    """BRP-NAS's desktop CPU: official numbers of the 15,284 connected cells, and their latencies in ms."""
    frame = pd.read_parquet(folder() / "latbench_brpnas" / "nb201_desktop_cpu_i7-7820x_fp32.parquet")
    return frame["arch_idx"].to_numpy(dtype=np.intp), 1e3 * frame["latency_s"].to_numpy(dtype=np.float64)
