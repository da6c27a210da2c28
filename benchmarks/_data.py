"""Measurements that other groups published, read from the folder that HWNAS_DATA names."""

from __future__ import annotations

import gzip
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
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


def published_table(name: str, target: Path) -> Path:
    """A published latency table as its project has it, in YAML; from the one file that holds them all."""
    frame = pd.read_parquet(folder() / "ofa_luts" / "block_luts.parquet")
    rows = frame[frame["source_file"].str.endswith("/" + name)].rename(columns={"mean_ms": "mean"})
    fields = rows.set_index("key")[["mean", "std", "var", "count"]].to_dict("index")
    document = {key: {name: x for name, x in values.items() if not np.isnan(x)} for key, values in fields.items()}
    path = target / name
    path.write_text(yaml.safe_dump(document))
    return path


def published_nets(device: str) -> pd.DataFrame:
    """The networks that once-for-all published for a device, the slowest first."""
    frame = pd.read_parquet(folder() / "ofa_specialized" / "ofa_specialized_nets.parquet")
    return frame[frame["device"] == device].sort_values("published_latency_ms", ascending=False)


def proxyless_layers(name: str) -> list[dict[str, Any]]:
    """The inverted bottlenecks of a published ProxylessNAS network, without those that it skips."""
    with gzip.open(folder() / "ofa_specialized" / "proxyless_net_configs.json.gz") as file:
        config = next(net["config"] for net in json.load(file) if net["net"] == name)
    blocks = [block["mobile_inverted_conv"] | {"skip": block["shortcut"] is not None} for block in config["blocks"]]
    return [block for block in blocks if block["name"] != "ZeroLayer"]


CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def cifar10(target: Path) -> Path:
    """CIFAR-10 as a folder of images, `train/CLASS/*.jpg` and `val/CLASS/*.jpg`; unpacked once."""
    for part, name in (("train", "train"), ("test", "val")):
        if (target / name).is_dir():
            continue
        frame = pd.read_parquet(folder() / "cifar10_jpeg" / f"{part}.parquet")
        half = target / f"{name}.half"
        for number, label, jpeg in zip(frame["name"], frame["label"], frame["jpeg"], strict=True):
            inside = half / CIFAR10[label]
            inside.mkdir(parents=True, exist_ok=True)
            (inside / f"{int(number):05d}.jpg").write_bytes(jpeg)
        half.rename(target / name)
    return target
