"""Do tables that others published, imported, give the latencies that others published?

The Note 10 tables of once-for-all (han-cai/files, five image sizes) are imported as a user does, from YAML to a table
of a workspace, and summed over the eight networks that once-for-all published for this phone; likewise ProxylessNAS's
Pixel 1 table over its mobile network. No number is fitted. A network that needs a row which no file has is shown with
the key that is missing; where its image size alone is missing, its sums at the sizes beside it stand there. The other
published tables (NSGANetV2's Core i7-8700K, an FBNet on a Raspberry Pi 4) show what they cover.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import _data
from _common import finish, markdown, parser

from hwnas import spaces
from hwnas.core.count import macs, params
from hwnas.core.net import NetSpec
from hwnas.luts import LatencyTable
from hwnas.luts.published import proxyless
from hwnas.luts.published.once_for_all import DIALECTS, keys
from hwnas.pipeline.import_lut import ImportReport
from hwnas.workspace import Workspace

NAME = "published_tables"
SIZES = (160, 176, 192, 208, 224)
"""Of the images that the Note 10 tables were timed with."""
WIDTHS = {24: "ofa_mbv3/w1.2/v1", 16: "ofa_mbv3/w1.0/v1"}
"""Channels of a network's first convolution, and its space."""


def summed(table: LatencyTable, net: NetSpec) -> float:
    """The sum of a network's rows, in ms."""
    return sum(table.row(block).median_ms for block in net.blocks().values())


def first_missing(table: LatencyTable, net: NetSpec) -> str | None:
    """The published key of the first block without a row."""
    absent = (block for block in net.blocks().values() if block.key() not in table.rows)
    return next((keys(block, DIALECTS["ofa"])[0] for block in absent), None)


def lowered(blocks: list[list[Any]], size: int) -> NetSpec:
    """A published network at an image size; a unit starts wherever the width changes."""
    kernels, expansions, depths, unit = [3] * 20, [3] * 20, [0] * 5, -1
    for c_in, c_out, kernel, _, expansion, *_ in blocks[1:]:
        unit += c_in != c_out
        kernels[4 * unit + depths[unit]] = kernel
        expansions[4 * unit + depths[unit]] = expansion
        depths[unit] += 1
    return spaces.load_bottlenecks(WIDTHS[blocks[0][0]]).network(kernels, expansions, depths, size)


def note10(own: dict[int, LatencyTable], pooled: LatencyTable) -> list[dict[str, Any]]:
    """Each published network with its sums: over the file of its own size, over all files, and at sizes nearby."""
    found = []
    for row in _data.published_nets("note10").to_dict("records"):
        size, blocks = int(row["image_size"]), json.loads(row["blocks"])
        net = lowered(blocks, size)
        missing = first_missing(pooled, net)
        near = [other for other in SIZES if abs(other - size) < 16 and other != size] if missing else []
        found.append(
            {
                "net": row["net_id"].split("_top1")[0],
                "image_size": size,
                "published_ms": row["published_latency_ms"],
                "sum_ms": None if missing else summed(own[size], net),
                "sum_of_all_files_ms": None if missing else summed(pooled, net),
                "missing": missing,
                "nearby_ms": {
                    str(other): summed(own[other], lowered(blocks, other))
                    for other in near
                    if first_missing(own[other], lowered(blocks, other)) is None
                },
                "mega_macs": macs(net) / 1e6,
                "mega_params": params(net) / 1e6,
            }
        )
    return found


def mobile(table: LatencyTable) -> dict[str, Any]:
    """ProxylessNAS's network for phones, key by key: what the table has of it, and what it lacks."""
    size, wanted = 112, ["Conv-input:224x224x3-output:112x112x32"]
    for layer in _data.proxyless_layers("proxyless_mobile"):
        after = size // layer["stride"]
        wanted.append(
            f"expanded_conv-input:{size}x{size}x{layer['in_channels']}-output:{after}x{after}x{layer['out_channels']}"
            f"-expand:{layer['expand_ratio']}-kernel:{layer['kernel_size']}-stride:{layer['stride']}"
            f"-idskip:{int(layer['skip'])}"
        )
        size = after
    wanted += ["Conv_1-input:7x7x320-output:7x7x1280", "Logits-input:7x7x1280-output:1000"]
    blocks = {key: proxyless.block(key) for key in wanted}
    there = [key for key in wanted if blocks[key].key() in table.rows]
    return {
        "keys": len(wanted),
        "missing": [key for key in wanted if key not in there],
        "sum_of_the_rest_ms": sum(table.row(blocks[key]).median_ms for key in there),
    }


def covered(report: ImportReport) -> dict[str, Any]:
    """What an imported table has."""
    document = report.to_json()
    return {
        "space": document["space"],
        "keys": sum(file["keys"] for file in document["files"]),
        "rows": document["rows"],
        "image_sizes": len(document["resolutions"]),
        "latency_ms": document["latency_ms"],
    }


def main() -> None:
    args = parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "hwnas.toml").write_text("")
        workspace = Workspace(folder)
        files = {size: _data.published_table(f"{size}_lookup_table.yaml", folder) for size in SIZES}
        own = {size: workspace.import_lut([file], f"note10-{size}").table for size, file in files.items()}
        phone = workspace.import_lut(list(files.values()), "note10")
        pixel = workspace.import_lut([_data.published_table("mobile_trim.yaml", folder)], "pixel1")
        desktop = _data.published_table("i7-8700K_lut.yaml", folder)
        board = _data.folder() / "ofa_luts" / "rpi4_fbnet_lut.csv"
        reports = {
            "note10": phone,
            "pixel1": pixel,
            **{f"i7-8700K {space}": workspace.import_lut([desktop], "i7", space=space) for space in WIDTHS.values()},
            "raspberry-pi-4": workspace.import_lut([board], "rpi4", resolution=32),
        }
        figures: dict[str, Any] = {
            "note10": note10(own, phone.table),
            "proxyless_mobile": mobile(pixel.table),
            "tables": {name: covered(report) for name, report in reports.items()},
        }
    finish(args, NAME, figures, [nets_table(figures["note10"]), tables_table(figures["tables"])])


def nets_table(nets: list[dict[str, Any]]) -> str:
    header = ["network", "images", "published", "sum", "difference", "all five files", "MACs", "parameters"]
    rows = []
    for net in nets:
        cells = [f"no {net['missing']}", "", ""]
        if net["nearby_ms"]:
            cells[0] += " (" + ", ".join(f"{ms:.2f} ms at {size}" for size, ms in net["nearby_ms"].items()) + ")"
        if net["sum_ms"] is not None:
            apart = net["sum_ms"] / net["published_ms"] - 1
            cells = [f"{net['sum_ms']:.2f} ms", f"{apart:+.1%}", f"{net['sum_of_all_files_ms']:.2f} ms"]
        size = [f"{net['mega_macs']:.0f} M", f"{net['mega_params']:.1f} M"]
        rows.append([net["net"], net["image_size"], f"{net['published_ms']:g} ms", *cells, *size])
    return markdown(header, rows)


def tables_table(tables: dict[str, dict[str, Any]]) -> str:
    header = ["table", "blocks of", "published keys", "rows", "image sizes whole", "networks"]
    rows = []
    for name, table in tables.items():
        ends = table["latency_ms"]
        networks = "" if ends is None else f"{ends[0]:.1f} to {ends[1]:.1f} ms"
        rows.append([name, table["space"], table["keys"], table["rows"], table["image_sizes"] or "", networks])
    return markdown(header, rows)


if __name__ == "__main__":
    main()
