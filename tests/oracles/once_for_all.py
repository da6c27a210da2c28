"""Freezes what the published once-for-all code computes, as ``tests/ofa_supernet/once_for_all/``.

The code is PyPI's `ofa` (https://github.com/mit-han-lab/once-for-all, MIT), in an environment of its own. This is run
by hand, and its output is frozen: it changes only if more is to be held. From the repository's root:

    python3.11 -m venv ofa-env
    ofa-env/bin/pip install -c constraints.txt numpy pyyaml torch tqdm
    ofa-env/bin/pip install --no-deps "ofa==0.1.0.post202307202001"
    PYTHONPATH=tests ofa-env/bin/python -m oracles.once_for_all

It takes a minute on one thread. `ofa.utils` imports data loaders that want an older torch (`torch._six`); they decide
no number, and an empty module stands in for them. Nothing here reads YAML, so `yaml.load` needs no stand-in. Another
release of torch may round otherwise, so that a second run need not give the same bytes; on one machine it does.

What is run: OFAMobileNetV3, OFAProxylessNASNets and OFAResNets, narrow and with ten classes, with the weights of
`oracles.weights`. Stored, in float32 and float64: the supernet's outputs with an architecture active, and the extracted
network's; both after BN recalibration; and the supernet's after channel reorganisation. Of the released networks at
full width: names and shapes of the state dict, and counts of architectures. Of the accuracy predictors: what they make
of those architectures.

The script itself holds that shared and extracted outputs agree to 1e-12 in float64 and 1e-6 in float32; that everything
in float32 is within 5e-6 of float64; that its exact counts are those of the package's two counters; and that what
follows a reorganisation is the same whether channels are compared in float32 or float64 (that is, that no tie decides
it). Shares are of the greatest output.

What in the published code decides these numbers:

- Batch norm's epsilon is 1e-5 in MobileNetV3 and ResNet-50, and 1e-3 in ProxylessNAS. Extracted networks inherit it.
- `make_divisible` follows Python's `round` (half to even) wherever a ratio multiplies channels. ResNet's middle widths
  follow the active output width of their own stage. All slices are prefixes; depth drops a stage's last blocks.
- Kernels shrink step by step from the largest: centre crop, row-major, times the transposed matrix. One matrix a layer.
- ProxylessNAS has 21 elastic blocks in six stages: the sixth has one block, whose kernel and expansion are elastic. The
  first block has no shortcut, relu6 is everywhere, and the feature mix has batch norm and comes before the pooling.
- ResNet's ``d`` is (stem, extra blocks of four stages beyond 2, 2, 4, 2); the stem's residual convolution is there only
  at the greatest depth option, and adds its input after its relu. ``w`` holds indices into the width multipliers: the
  stem's middle, the stem's output, four stages. Two of the released stem's three middle widths are equal (24, 24, 32).
- ResNet's shortcuts pool with ``AvgPool2d(stride, stride, ceil_mode=True)``: at an odd size the last window is an
  average of what lies inside the image. Its strides are those of the 3 x 3 convolutions.
- Recalibration normalises each batch by its own statistics, and stores the mean of the batches' means and of their
  biased variances, weighted by images. It writes the active prefix, and leaves the count of batches alone.
- Reorganisation sorts the middle channels by the sum of absolute weights that consume them, and SE's middle by those of
  its second convolution; stages above 0 sort within the bounds of the expansions. There the penalty of 1e5 and more
  rounds float32's sums to steps of 1/64, so that ties are likely, though they never cross a bound.
- A supernet in float64 extracts blocks of float32 (they are built anew) unless float64 is torch's default, as here.
- `profile` counts convolutions and linear layers without biases, in float32: above 2^24 it is rounded. The counts here
  are exact, by hooks on the same layers.
"""

from __future__ import annotations

import gzip
import importlib.metadata
import importlib.util
import json
import random
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

sys.modules["ofa.utils.my_dataloader"] = types.ModuleType("my_dataloader")

import ofa.nas  # noqa: E402
from ofa.imagenet_classification.elastic_nn.networks import (  # noqa: E402
    OFAMobileNetV3,
    OFAProxylessNASNets,
    OFAResNets,
)
from ofa.imagenet_classification.elastic_nn.utils import set_running_statistics  # noqa: E402
from ofa.nas.accuracy_predictor import MobileNetArchEncoder, ResNetArchEncoder  # noqa: E402
from ofa.nas.efficiency_predictor import (  # noqa: E402
    Mbv3FLOPsModel,
    ProxylessNASFLOPsModel,
    ResNet50FLOPsModel,
)
from ofa.utils import count_parameters, profile  # noqa: E402
from oracles import weights  # noqa: E402

FOLDER = Path(__file__).parents[1] / "ofa_supernet" / "once_for_all"
SEED = 1
BATCH = 2
SIZES = (64, 72)
"""Inputs in pixels. 72 is odd after three strides, and again after four: 36, 18, 9, 5, 3."""
CALIBRATION = ((12, 3, 64, 64), (8, 3, 64, 64))
"""Batches of unlike sizes, so that a plain mean over batches differs from one over images."""
REORGANIZED = (0, 1, 2)
"""Stages of reorganisation; `ofa` itself trains with 0, then 1."""
BETWEEN_NETWORKS = {"float32": 1e-6, "float64": 1e-12}
BETWEEN_PRECISIONS = 5e-6
KNOWN_SIZES = list(range(112, 225, 16))
"""Inputs in pixels that the released accuracy predictors know: 8, as the widths of their first layers tell."""
COUNTED = (160, 224)
"""Inputs in pixels at which the released networks are counted."""
LONGEST_LINE = 600

Config = dict[str, list[int] | list[float]]

KINDS: dict[str, Any] = {
    "OFAMobileNetV3": (OFAMobileNetV3, Mbv3FLOPsModel),
    "OFAProxylessNASNets": (OFAProxylessNASNets, ProxylessNASFLOPsModel),
    "OFAResNets": (OFAResNets, ResNet50FLOPsModel),
}
MOBILE = {"ks_list": [3, 5, 7], "expand_ratio_list": [3, 4, 6], "depth_list": [2, 3, 4], "dropout_rate": 0}
RESNET = {"expand_ratio_list": [0.2, 0.25, 0.35], "depth_list": [0, 1, 2], "dropout_rate": 0}
WIDTHS = (0.65, 0.8, 1.0)
"""The released ResNet's width multipliers, as shares of the widest."""

NARROW = {
    # At 0.3 no two stages of either network share a width, so shortcuts are where the released ones have them.
    "mbv3": ("OFAMobileNetV3", {**MOBILE, "n_classes": 10, "width_mult": 0.3}),
    "proxyless": ("OFAProxylessNASNets", {**MOBILE, "n_classes": 10, "width_mult": 0.3}),
    # At 27/64 the stem's outputs (16, 24, 32) and every stage have three real widths, and the last stage (864 of 2,048
    # channels) tells the multiplier exactly.
    "resnet50": ("OFAResNets", {**RESNET, "n_classes": 10, "width_mult_list": [27 / 64 * share for share in WIDTHS]}),
}
RELEASED = {
    "ofa_mbv3_d234_e346_k357_w1.0": ("OFAMobileNetV3", {**MOBILE, "width_mult": 1.0}),
    "ofa_mbv3_d234_e346_k357_w1.2": ("OFAMobileNetV3", {**MOBILE, "width_mult": 1.2}),
    "ofa_proxyless_d234_e346_k357_w1.3": ("OFAProxylessNASNets", {**MOBILE, "width_mult": 1.3}),
    "ofa_resnet50": ("OFAResNets", {**RESNET, "width_mult_list": list(WIDTHS)}),
}
"""What `ofa.model_zoo.ofa_net` builds, by its names."""


def configs(kind: str) -> dict[str, Config]:
    """Eleven architectures by name: the ends of each choice, and mixed ones, in the published encoding.

    Entries of skipped blocks are there and mean nothing.
    """
    draw = random.Random(SEED)
    if kind == "OFAResNets":
        ends = {
            "max": resnet([2, 2, 2, 2, 2], [0.35], [2]),
            "min": resnet([0, 0, 0, 0, 0], [0.2], [0]),
            "no residual in the stem": resnet([0, 2, 2, 2, 2], [0.35], [2]),
            "narrow stages": resnet([2, 1, 1, 1, 1], [0.35], [0]),
            "middle": resnet([2, 1, 1, 1, 1], [0.25], [1]),
            "narrow middles": resnet([2, 2, 2, 2, 2], [0.2], [2]),
            "widths up and down": resnet([2, 0, 1, 2, 0], [0.25, 0.35, 0.2], [0, 2, 1, 2, 0, 1]),
        }
        mixed = [
            resnet(
                [draw.choice([0, 2]), *draw.choices([0, 1, 2], k=4)],
                draw.choices([0.2, 0.25, 0.35], k=18),
                draw.choices([0, 1, 2], k=6),
            )
            for _ in range(4)
        ]
    else:
        stages = 5 if kind == "OFAMobileNetV3" else 6
        blocks = 20 if kind == "OFAMobileNetV3" else 21
        ends = {
            "max": mobile(blocks, [7], [6], [4] * stages),
            "min": mobile(blocks, [3], [3], [2] * stages),
            "small kernels": mobile(blocks, [3], [6], [4] * stages),
            "middle": mobile(blocks, [5], [4], [3] * stages),
            "narrow middles": mobile(blocks, [7], [3], [4] * stages),
            "shallow": mobile(blocks, [7], [6], [2] * stages),
            "each in turn": mobile(blocks, [3, 5, 7], [6, 4, 3, 4], [2, 3, 4, 3, 2, 4][:stages]),
        }
        mixed = [
            mobile(
                blocks, draw.choices([3, 5, 7], k=21), draw.choices([3, 4, 6], k=21), draw.choices([2, 3, 4], k=stages)
            )
            for _ in range(4)
        ]
    return {**ends, **{f"mixed {number}": config for number, config in enumerate(mixed, 1)}}


def mobile(blocks: int, kernels: list[int], expansions: list[int], depths: list[int]) -> Config:
    """A configuration whose lists are repeated for every block; a sixth stage has one block, whatever is asked."""
    depths = [*depths[:5], *([1] if len(depths) == 6 else [])]
    return {"ks": (kernels * blocks)[:blocks], "e": (expansions * blocks)[:blocks], "d": depths}


def resnet(depths: list[int], expansions: list[float], widths: list[int]) -> Config:
    return {"d": depths, "e": (expansions * 18)[:18], "w": (widths * 6)[:6]}


def built(kind: str, arguments: dict[str, Any]) -> Any:
    """A supernet of the published code; its constructors sort the lists they are given, and keep them."""
    return KINDS[kind][0](**deepcopy(arguments)).eval()


def shapes(network: nn.Module) -> dict[str, list[int]]:
    return {key: list(value.shape) for key, value in network.state_dict().items()}


@contextmanager
def default(dtype: torch.dtype) -> Iterator[None]:
    """New layers in this precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def error(got: Tensor, wanted: Tensor) -> float:
    """Greatest difference as a share of the greatest output."""
    return float((got.double() - wanted.double()).abs().max() / wanted.double().abs().max())


def agree(got: Tensor, wanted: Tensor, limit: float, what: str) -> None:
    if not error(got, wanted) <= limit:
        raise SystemExit(f"{what}: outputs differ by {error(got, wanted):.1e} of the greatest, more than {limit:.0e}")


def macs(network: nn.Module, size: int, device: str = "cpu") -> int:
    """Multiply-accumulates for one image, exactly; what is counted is what `ofa.utils.profile` counts."""
    total = 0

    def add(module: nn.Module, _: Any, output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Linear):
            total += module.in_features * module.out_features
        elif isinstance(module, nn.Conv2d):
            kernel = module.kernel_size[0] * module.kernel_size[1]
            total += module.in_channels * output.nelement() * kernel // module.groups

    handles = [module.register_forward_hook(add) for module in network.modules()]
    with torch.no_grad():
        network(torch.zeros(1, 3, size, size, device=device))
    for handle in handles:
        handle.remove()
    return total


def counts(kind: str, supernet: Any, config: Config, sizes: tuple[int, ...], device: str = "cpu") -> dict[str, Any]:
    """Parameters of the extracted network, and its multiply-accumulates by input size."""
    supernet.set_active_subnet(**config)
    network = supernet.get_active_subnet(preserve_weight=False).eval()
    held = {"params": count_parameters(network), "macs": {str(size): macs(network, size, device) for size in sizes}}
    for size in sizes:
        exact = held["macs"][str(size)]
        of_config = KINDS[kind][1](supernet).get_efficiency({**config, "image_size": size})
        of_hooks = profile(deepcopy(network), (1, 3, size, size))[0] if device == "cpu" else exact
        if round(of_config * 1e6) != exact or abs(of_hooks - exact) > 1e-6 * exact:
            raise SystemExit(f"{kind} {config}: {exact} MACs here, {of_config}e6 and {of_hooks} of the package")
    return held


class Narrow:
    """One narrow network: what it is goes to `record`, and what it computes to `arrays`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kind, self.arguments = NARROW[name]
        self.configs = configs(self.kind)
        empty = built(self.kind, self.arguments)
        self.shapes = shapes(empty)
        self.weights = weights.state_dict(self.shapes, SEED)
        self.arrays: dict[str, np.ndarray[Any, Any]] = {}
        self.record: dict[str, Any] = {
            "class": self.kind,
            "arguments": self.arguments,
            "bn_eps": empty.get_bn_param()["eps"],
            "seed": SEED,
            "sha256": weights.digest(self.weights),
            "images": [[BATCH, 3, size, size] for size in SIZES],
            "calibration": CALIBRATION,
            "archs": [],
        }

    def supernet(self) -> Any:
        """A fresh supernet, in torch's default precision."""
        network = built(self.kind, self.arguments)
        loaded = {key: torch.from_numpy(value) for key, value in self.weights.items()}
        nn.Module.load_state_dict(network, loaded)  # the class's own renames old keys, and forgives missing ones
        return network

    def run(self) -> None:
        for index, (name, config) in enumerate(self.configs.items()):
            entry = {"index": index, "name": name, "arch": config, **counts(self.kind, self.supernet(), config, SIZES)}
            entry["recalibrated"] = index in self.recalibrated
            entry["reorganized"] = list(REORGANIZED) if index in self.reorganized else []
            self.record["archs"].append(entry)
        for dtype in (torch.float32, torch.float64):
            with default(dtype), torch.no_grad():
                self.outputs(str(dtype).removeprefix("torch."))
                self.recalibrate(str(dtype).removeprefix("torch."))
        with torch.no_grad():
            self.reorganize()
        for key, output in self.arrays.items():
            if key.endswith("/float32"):
                double = torch.from_numpy(self.arrays[key.removesuffix("32") + "64"])
                agree(torch.from_numpy(output), double, BETWEEN_PRECISIONS, f"{self.name} {key}")

    @property
    def recalibrated(self) -> list[int]:
        """Both ends and two mixed ones."""
        return [0, 1, 6, 7]

    @property
    def reorganized(self) -> list[int]:
        """Three with short middles, so that the order of channels shows; the ResNet's last two are narrow as well."""
        return [5, 6, 7] if self.kind == "OFAResNets" else [3, 4, 7]

    def images(self, size: int) -> Tensor:
        batch = torch.from_numpy(weights.images([BATCH, 3, size, size], SEED))
        return batch.to(torch.get_default_dtype())

    def keep(self, key: str, output: Tensor) -> None:
        if key in self.arrays:
            raise SystemExit(f"{key} twice")
        self.arrays[key] = output.numpy().copy()

    def outputs(self, dtype: str) -> None:
        supernet = self.supernet()
        for index, config in enumerate(self.configs.values()):
            supernet.set_active_subnet(**config)
            extracted = supernet.get_active_subnet().eval()
            for size in SIZES:
                shared, alone = supernet(self.images(size)), extracted(self.images(size))
                agree(alone, shared, BETWEEN_NETWORKS[dtype], f"{self.name} {index} {size}")
                self.keep(f"shared/{index}/{size}/{dtype}", shared)
                self.keep(f"extracted/{index}/{size}/{dtype}", alone)

    def recalibrate(self, dtype: str) -> None:
        batches = [torch.from_numpy(weights.images(shape, SEED)) for shape in CALIBRATION]
        loader = [(batch.to(torch.get_default_dtype()), None) for batch in batches]
        for index in self.recalibrated:
            supernet = self.supernet()
            supernet.set_active_subnet(**list(self.configs.values())[index])
            extracted = supernet.get_active_subnet().eval()
            set_running_statistics(supernet, loader)
            set_running_statistics(extracted, loader)
            for size in SIZES:
                shared, alone = supernet(self.images(size)), extracted(self.images(size))
                agree(alone, shared, BETWEEN_NETWORKS[dtype], f"{self.name} {index} {size}, recalibrated")
                self.keep(f"recalibrated_shared/{index}/{size}/{dtype}", shared)
                self.keep(f"recalibrated_extracted/{index}/{size}/{dtype}", alone)
            if dtype == "float64":
                norms = [(key, norm) for key, norm in extracted.named_modules() if isinstance(norm, nn.BatchNorm2d)]
                for key, norm in (norms[0], norms[len(norms) // 2], norms[-1]):
                    self.keep(f"statistics/{index}/{key}/mean", norm.running_mean)
                    self.keep(f"statistics/{index}/{key}/var", norm.running_var)

    def reorganize(self) -> None:
        for stage in REORGANIZED:
            single, double = self.supernet(), self.supernet().double()
            for network in (single, double):
                network.re_organize_middle_weights(expand_ratio_stage=stage)
            copy = deepcopy(single).double()
            for index in self.reorganized:
                for network in (single, double, copy):
                    network.set_active_subnet(**list(self.configs.values())[index])
                for size in SIZES:
                    images = self.images(size)
                    shared, wanted = copy(images.double()), double(images.double())
                    agree(shared, wanted, BETWEEN_NETWORKS["float64"], f"{self.name} {index}, sorted at stage {stage}")
                    self.keep(f"reorganized/{stage}/{index}/{size}/float32", single(images))
                    self.keep(f"reorganized/{stage}/{index}/{size}/float64", wanted)


def released(kind: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Counts of a released network's architectures; on torch's meta device, where only shapes are computed."""
    with torch.device("meta"):
        supernet = built(kind, arguments)
        archs = [
            {"name": name, "arch": config, **counts(kind, supernet, config, COUNTED, "meta")}
            for name, config in configs(kind).items()
        ]
    return {"class": kind, "arguments": arguments, "archs": archs, "shapes": shapes(supernet)}


def features(kind: str) -> list[dict[str, Any]]:
    """Which features of the accuracy predictors' inputs are 1; all others are 0.

    `tutorial` is that of MobileNetV3's `acc_predictor.pth`, `nas` that of the later predictors, ResNet-50's among them.
    """
    path = Path(ofa.nas.__file__).parents[1] / "tutorial" / "accuracy_predictor.py"
    spec = importlib.util.spec_from_file_location("accuracy_predictor", path)  # its package imports torchvision
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is no module")
    tutorial = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tutorial)
    encoder = (ResNetArchEncoder if kind == "OFAResNets" else MobileNetArchEncoder)(image_size_list=KNOWN_SIZES)
    held = []
    for number, (name, config) in enumerate(configs(kind).items()):
        size = KNOWN_SIZES[number % len(KNOWN_SIZES)]
        rows = {"nas": encoder.arch2feature({**config, "image_size": size})}
        if kind == "OFAMobileNetV3":
            copied = deepcopy([config["ks"], config["e"], config["d"]])  # it zeroes entries of skipped blocks
            rows["tutorial"] = tutorial.AccuracyPredictor.spec2feats(*copied, size).numpy()
        ones = {key: [len(row), *np.flatnonzero(row == 1).tolist()] for key, row in rows.items()}
        held.append(
            {"name": name, "arch": config, "image_size": size}
            | {key: {"features": length, "ones": indices} for key, (length, *indices) in ones.items()}
        )
    return held


def document(value: Any, indent: int = 0) -> str:
    """JSON whose records of architectures, and whatever is shorter, are lines."""
    text = json.dumps(value)
    if len(text) < LONGEST_LINE or not isinstance(value, dict | list):
        return text
    items = value.items() if isinstance(value, dict) else ((None, item) for item in value)
    pad = " " * (indent + 1)
    lines = [f"{pad}{'' if key is None else json.dumps(key) + ': '}{document(item, indent + 1)}" for key, item in items]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n" + ",\n".join(lines) + f"\n{' ' * indent}{closing}"


def main() -> None:
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    networks: dict[str, Any] = {
        "made_by": "tests/oracles/once_for_all.py",
        "ofa": importlib.metadata.version("ofa"),
        "torch": torch.__version__,
    }
    networks |= {"narrow": {}, "released": {}}
    every: dict[str, Any] = {"narrow": {}, "released": {}}
    for name in NARROW:
        narrow = Narrow(name)
        narrow.run()
        networks["narrow"][name], every["narrow"][name] = narrow.record, narrow.shapes
        np.savez_compressed(FOLDER / f"{name}.npz", **narrow.arrays)
    for name, (kind, arguments) in RELEASED.items():
        record = released(kind, arguments)
        every["released"][name] = record.pop("shapes")
        networks["released"][name] = record
    encoded = {name: features(NARROW[name][0]) for name in ("mbv3", "resnet50")}
    (FOLDER / "features.json").write_text(document(encoded) + "\n", encoding="utf-8")
    (FOLDER / "networks.json").write_text(document(networks) + "\n", encoding="utf-8")
    (FOLDER / "shapes.json.gz").write_bytes(gzip.compress(json.dumps(every).encode(), mtime=0))


if __name__ == "__main__":
    main()
