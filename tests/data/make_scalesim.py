"""Freezes what SCALE-Sim says of thirty layers of the once-for-all spaces, as ``scalesim_ROWSxCOLUMNS.json`` beside it.

SCALE-Sim wants a numpy of its own, so it lives in an environment of its own; from the repository's root:

    python3.11 -m venv scalesim-env
    scalesim-env/bin/pip install "scalesim==3.0.0" "numpy<2.4"
    PYTHONPATH=. scalesim-env/bin/python tests/data/make_scalesim.py --array 32x32
    PYTHONPATH=. scalesim-env/bin/python tests/data/make_scalesim.py --array 12x14

The two take a quarter of an hour and half an hour, and the second 2 GB of memory.

How a layer is put to it: SCALE-Sim knows no padding and rounds output sizes up, so the input is given as large as the
outputs need it, (out - 1) x stride + kernel. A linear layer is a 1 x 1 convolution of one pixel. A depthwise
convolution is a layer whose name holds "DP": SCALE-Sim cuts it into one layer for each channel, with one filter, and
runs them one after the other; their cycles are summed here. Compute cycles are its total less its stalls; it counts
from zero, so that each of its layers is one cycle shorter than the folds that it simulates.
"""

from __future__ import annotations

import argparse
import configparser
import importlib.metadata
import json
import os
import tempfile
from pathlib import Path

from scalesim.scale_sim import scalesim

from hwnas import spaces
from hwnas.core.net import NetSpec, Op

DATAFLOWS = ("ws", "os", "is")
CONFIGURATION = {
    "general": {"run_name": "run"},
    "run_presets": {"InterfaceBandwidth": "USER", "UseRamulatorTrace": "False"},
    # Buffers of 64 kB are SCALE-Sim's own default. Bandwidths are values a cycle: that of the outputs is `Bandwidth`,
    # those of the inputs and weights are the bank bandwidths under `layout`, as version 3.0.0 reads them.
    "architecture_presets": {
        "ifmapsramszkB": "64",
        "filtersramszkB": "64",
        "ofmapsramszkB": "64",
        "IfmapOffset": "0",
        "FilterOffset": "10000000",
        "OfmapOffset": "20000000",
        "Bandwidth": "10",
        "ReadRequestBuffer": "32",
        "WriteRequestBuffer": "32",
    },
    "layout": {
        "IfmapCustomLayout": "False",
        "IfmapSRAMBankBandwidth": "10",
        "IfmapSRAMBankNum": "10",
        "IfmapSRAMBankPort": "2",
        "FilterCustomLayout": "False",
        "FilterSRAMBankBandwidth": "10",
        "FilterSRAMBankNum": "10",
        "FilterSRAMBankPort": "2",
    },
    "sparsity": {"SparsitySupport": "false"},
}

W10, SMALL = "ofa_mbv3/w1.0/v1", "ofa_mbv3/small/v1"
LAYERS = {
    (W10, "smallest"): [
        "first_conv",
        "blocks.0.depth_conv",
        "blocks.1.inverted_bottleneck",
        "blocks.1.depth_conv",
        "blocks.2.point_linear",
        "blocks.5.se.reduce",
        "blocks.9.inverted_bottleneck",
        "blocks.13.point_linear",
        "blocks.17.depth_conv",
        "blocks.18.depth_conv",
        "final_expand_layer",
        "feature_mix_layer",
    ],
    (W10, "middle"): [
        "first_conv",
        "blocks.1.depth_conv",
        "blocks.6.inverted_bottleneck",
        "blocks.6.depth_conv",
        "blocks.13.se.expand",
        "blocks.14.inverted_bottleneck",
        "blocks.18.point_linear",
        "classifier",
    ],
    (SMALL, "largest"): [
        "first_conv",
        "blocks.0.point_linear",
        "blocks.1.depth_conv",
        "blocks.6.inverted_bottleneck",
        "blocks.6.depth_conv",
        "blocks.10.se.reduce",
        "blocks.14.depth_conv",
        "blocks.18.inverted_bottleneck",
        "final_expand_layer",
        "classifier",
    ],
}
"""Dense, pointwise, depthwise (3, 5 and 7 wide, both strides) and linear layers, early ones and late ones."""


def network(space_id: str, which: str) -> NetSpec:
    """The smallest, a middle or the largest network of a space."""
    space = spaces.load(space_id)
    if which == "middle":
        return space.lower(space.arch([5] * 20, [4] * 20, [3] * 5, 160))
    return space.lower(getattr(space, which))


def topology(op: Op) -> str:
    """A row of SCALE-Sim's topology file: name, input, filter, channels, filters, stride."""
    filters, height, width = op.out_shape
    depthwise = op.groups > 1
    if depthwise and not op.groups == op.in_channels == filters:
        raise SystemExit(f"{op.name}: SCALE-Sim has depthwise and dense convolutions alone")
    sides = [(side - 1) * op.stride + op.kernel for side in (height, width)]
    numbers = [*sides, op.kernel, op.kernel, op.in_channels, 1 if depthwise else filters, op.stride]
    return ", ".join(map(str, ["DP" if depthwise else "layer", *numbers])) + ","


def configuration(rows: int, columns: int, dataflow: str) -> dict[str, dict[str, str]]:
    """SCALE-Sim's configuration file, by sections."""
    array = {"ArrayHeight": str(rows), "ArrayWidth": str(columns), "Dataflow": dataflow}
    return {**CONFIGURATION, "architecture_presets": {**CONFIGURATION["architecture_presets"], **array}}


def run(op: Op, rows: int, columns: int, dataflow: str, folder: Path) -> dict[str, int]:
    """Cycles of one of our layers, over all of SCALE-Sim's layers that stand for it."""
    parser = configparser.ConfigParser()
    parser.read_dict(configuration(rows, columns, dataflow))
    with (folder / "array.cfg").open("w") as file:
        parser.write(file)
    (folder / "topology.csv").write_text(f"a header that is skipped\n{topology(op)}\n")
    (folder / "layout.csv").write_text("a header that is skipped\n")
    paths = {key: str(folder / name) for key, name in FILES.items()}
    simulation = scalesim(save_disk_space=True, verbose=False, **paths)
    simulation.run_scale(top_path=str(folder))
    items = [layer.get_compute_report_items() for layer in simulation.runner.single_layer_sim_object_list]
    total, stalls = (int(sum(item[column] for item in items)) for column in (1, 2))
    return {"simulated_layers": len(items), "compute_cycles": total - stalls, "stall_cycles": stalls}


FILES = {"config": "array.cfg", "topology": "topology.csv", "layout": "layout.csv"}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--array", default="32x32", help="rows x columns (%(default)s)")
    array = options.parse_args().array
    rows, columns = map(int, array.split("x"))
    os.environ["TQDM_DISABLE"] = "1"
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for (space_id, which), names in LAYERS.items():
            net = network(space_id, which)
            ops = {op.name: op for op in net.ops}
            for name in names:
                op = ops[name]
                keys = ("kind", "in_channels", "out_shape", "kernel", "stride", "groups")
                layer = {"space": space_id, "network": which, "name": name, "in_shape": net.shape(op.inputs[0])}
                layer |= {key: getattr(op, key) for key in keys}
                for dataflow in DATAFLOWS:
                    runs.append({**layer, "dataflow": dataflow, **run(op, rows, columns, dataflow, Path(folder))})
    document = {
        "scalesim": importlib.metadata.version("scalesim"),
        "array": [rows, columns],
        "configuration": configuration(rows, columns, "ws, os and is"),
    }
    head = json.dumps(document, indent=1)[:-2]  # one line a run reads best, so the list is written by hand
    body = ",\n  ".join(json.dumps(entry) for entry in runs)
    path = Path(__file__).with_name(f"scalesim_{array}.json")
    path.write_text(f'{head},\n "runs": [\n  {body}\n ]\n}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
