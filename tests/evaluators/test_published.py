"""Published accuracy models answer as their authors' code does, rank measured subnets, and refuse the unknown."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from released_models import DATA, needs_data, random_model, real
from scipy.stats import kendalltau, spearmanr

from hwnas import registry, spaces
from hwnas.core.arch import Arch, ArchBatch
from hwnas.core.errors import InputError
from hwnas.core.genetics import sample
from hwnas.evaluators.arrays import read_arrays
from hwnas.evaluators.published import PublishedPredictor
from hwnas.evaluators.released import MOBILENET_V3, RESNET_50
from hwnas.ofa_supernet import official
from hwnas.spaces.ofa_mbv3 import OfaMbv3

SPACE = spaces.load("ofa_mbv3/w1.0/v1")
KERNELS, EXPANSIONS = (3, 5, 7), (3, 4, 6)
FROZEN = Path(__file__).parent.parent / "ofa_supernet" / "once_for_all" / "features.json"
FEATURES: dict[str, list[dict[str, Any]]] = json.loads(FROZEN.read_text())


def at_one_size(resolution: int, width: str = "w1.0") -> OfaMbv3:
    space = spaces.load(f"ofa_mbv3/{width}/v1")
    return OfaMbv3(space.id, replace(space.layout, resolutions=(resolution,)), space.classes, space.in_channels)


def one_hot(space: OfaMbv3, arch: Arch) -> list[float]:
    """As the tutorial describes it: 20 x 3 kernels, 20 x 3 expansions, 8 sizes; nothing where a block is skipped."""
    resolution, *depths_and_blocks = space.values(arch)
    depths, blocks = depths_and_blocks[:5], depths_and_blocks[5:]
    there = [position < depths[unit] for unit in range(5) for position in range(4)]
    kernels = [float(t and value == k) for t, value in zip(there, blocks[0::2], strict=True) for k in KERNELS]
    expansions = [float(t and value == e) for t, value in zip(there, blocks[1::2], strict=True) for e in EXPANSIONS]
    return [*kernels, *expansions, *(float(resolution == size) for size in range(112, 225, 16))]


@pytest.fixture(scope="module")
def space() -> OfaMbv3:
    return at_one_size(224)


@pytest.fixture(scope="module")
def predictor(space: OfaMbv3) -> PublishedPredictor:
    return PublishedPredictor.of(space, random_model())


@pytest.fixture(scope="module")
def batch(space: OfaMbv3) -> ArchBatch:
    return sample(space, 50, np.random.default_rng(1))


def test_inputs_are_those_of_the_tutorial() -> None:
    predictor = PublishedPredictor.of(SPACE, random_model())
    drawn = sample(SPACE, 200, np.random.default_rng(0))
    known = drawn.take(np.isin(drawn.genes[:, 0], [i for i, r in enumerate(SPACE.layout.resolutions) if r % 16 == 0]))
    assert len(known) > 20
    np.testing.assert_array_equal(predictor.columns(known), [one_hot(SPACE, arch) for arch in known])


@pytest.mark.parametrize("record", FEATURES["mbv3"], ids=lambda record: record["name"])
def test_inputs_are_those_of_the_original_code(record: dict[str, Any]) -> None:
    """Frozen from the published package (tests/oracles/once_for_all.py)."""
    space = at_one_size(record["image_size"], "w1.2")
    asked = record["arch"]
    arch = space.arch(asked["ks"], asked["e"], asked["d"], record["image_size"])
    [columns] = PublishedPredictor.of(space, random_model()).columns(ArchBatch.of([arch]))
    assert len(columns) == record["tutorial"]["features"]
    assert np.flatnonzero(columns).tolist() == record["tutorial"]["ones"]
    assert set(columns.tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("record", FEATURES["resnet50"], ids=lambda record: record["name"])
def test_inputs_of_resnet_are_those_of_the_original_code(record: dict[str, Any]) -> None:
    """But for the resolution's, which were frozen for a list of sizes that the released model does not have."""
    space = spaces.load("ofa_resnet50/v1")
    genes = official.resnet50_arch(**record["arch"]).genes
    [canonical] = space.canonical(np.array([[0, *genes[1:]]], dtype=np.int16))
    [columns] = PublishedPredictor.of(space, random_model(RESNET_50)).columns(ArchBatch(space.id, canonical[None]))
    middle = record["arch"]["w"][0]
    same = {10 + middle: 10 if middle < 2 else 12}  # two of the stem's three middles are one width
    wanted = [same.get(one, one) for one in record["nas"]["ones"] if one >= 8]
    assert np.flatnonzero(columns).tolist() == [0, *wanted]
    assert len(columns) == record["nas"]["features"]


def test_layers_of_resnet_are_applied_in_order() -> None:
    space, weights = spaces.load("ofa_resnet50/v1"), random_model(RESNET_50)
    batch, predictor = sample(space, 50, np.random.default_rng(1)), PublishedPredictor.of(space, weights)
    values = predictor.columns(batch).astype(np.float64)
    for index in range(3):
        values = np.maximum(values @ weights[f"layers.{index}.0.weight"].T + weights[f"layers.{index}.0.bias"], 0)
    wanted = (values @ weights["layers.3.weight"].T)[:, 0] + 0.8
    np.testing.assert_allclose(predictor.evaluate(batch), wanted, atol=1e-6)
    assert predictor.rmse is None


@needs_data
def test_the_published_model_of_resnet_grows_with_the_network() -> None:
    """Sizes of images are in ascending order, whatever they are: more pixels are better until they are enough."""
    space = spaces.load("ofa_resnet50/v1")
    predictor = PublishedPredictor.of(space, read_arrays(real("ofa_resnet50_acc_predictor.npz")))
    genes = np.array([space.smallest.genes] * 8, dtype=np.int16)
    genes[:, 0] = np.arange(8)
    by_size = predictor.evaluate(ArchBatch(space.id, genes))
    assert (np.diff(by_size[:6]) > 0).all()
    smallest, largest = predictor.evaluate(ArchBatch.of([space.smallest, space.largest]))
    assert smallest < largest < 0.9


def test_layers_are_applied_in_order(predictor: PublishedPredictor, batch: ArchBatch) -> None:
    weights = random_model()
    values = predictor.columns(batch).astype(np.float64)
    for index in (0, 2, 4, 6):
        values = values @ weights[f"{index}.weight"].T + weights[f"{index}.bias"]
        values = np.maximum(values, 0) if index < 6 else values
    np.testing.assert_allclose(predictor.evaluate(batch), values[:, 0], atol=1e-6)


def test_a_resolution_it_does_not_know_is_named_and_never_rounded() -> None:
    with pytest.raises(InputError, match=r"nothing of images of 204 x 204, only of 112, .*, 208, 224: take"):
        PublishedPredictor.of(at_one_size(204), random_model())
    predictor = PublishedPredictor.of(SPACE, random_model())
    good, bad = SPACE.largest, Arch(SPACE.id, (1, *SPACE.largest.genes[1:]))
    with pytest.raises(InputError, match="132 x 132"):
        predictor.evaluate(ArchBatch.of([good, bad, good]))


@pytest.mark.parametrize("name", ["ofa_mbv3/small/v1", "nas_bench_201/v1"])
def test_other_networks_are_refused(name: str) -> None:
    space = registry.load("spaces", name)(name)
    with pytest.raises(InputError, match=r"only of ofa_mbv3/w1\.0 and ofa_mbv3/w1\.2"):
        PublishedPredictor.of(space, random_model())


def test_another_space_s_architectures_are_refused(predictor: PublishedPredictor) -> None:
    with pytest.raises(ValueError, match="asked about other/v1"):
        predictor.evaluate(ArchBatch("other/v1", np.zeros((1, 46), dtype=np.int16)))


def test_it_says_what_it_is(predictor: PublishedPredictor) -> None:
    assert "MobileNetV3" in predictor.name
    assert "5.9 points above" in predictor.note
    assert predictor.rmse == 0.0027


def test_batches_of_any_size(predictor: PublishedPredictor, space: OfaMbv3) -> None:
    assert predictor.evaluate(sample(space, 0, np.random.default_rng(0))).shape == (0,)
    many = sample(space, 20_050, np.random.default_rng(0))
    tail = predictor.evaluate(many.take(np.arange(19_990, 20_050)))
    np.testing.assert_allclose(predictor.evaluate(many)[19_990:], tail, atol=1e-6)


def test_file_reads_back_exactly(predictor: PublishedPredictor, batch: ArchBatch, tmp_path: Path) -> None:
    path = tmp_path / "predictor.safetensors"
    predictor.save(path)
    loaded = PublishedPredictor.load(predictor.space, path)
    np.testing.assert_array_equal(loaded.evaluate(batch), predictor.evaluate(batch))
    with pytest.raises(InputError, match="says nothing of ofa_mbv3/small/v1"):
        PublishedPredictor.load(spaces.load("ofa_mbv3/small/v1"), path)
    whole = path.read_bytes()
    for data in (b"", b"nothing", whole[: len(whole) // 2], whole.replace(b"predictor 1", b"predictor 0")):
        path.write_bytes(data)
        with pytest.raises(InputError, match="again"):
            PublishedPredictor.load(predictor.space, path)
    path.unlink()
    with pytest.raises(InputError, match="cannot read"):
        PublishedPredictor.load(predictor.space, path)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda model: model.pop("6.bias"), "none of the published"),
        (lambda model: model.update(extra=model["6.bias"]), "none of the published"),
        (lambda model: model.update({"2.weight": model["2.weight"][:, 1:]}), "2.weight .* is 6x5 where 6 inputs"),
        (lambda model: model.update({"2.bias": model["2.bias"][1:]}), "2.weight"),
        (lambda model: model.update({"6.weight": model["4.weight"], "6.bias": model["4.bias"]}), "one output"),
        (lambda model: model["0.weight"].__setitem__((0, 0), np.nan), "no numbers"),
    ],
)
def test_what_does_not_fit_together_is_refused(change, why, space) -> None:  # type: ignore[no-untyped-def]
    model = random_model()
    change(model)
    with pytest.raises(InputError, match=why):
        PublishedPredictor.of(space, model)


def test_search_time_needs_no_torch() -> None:
    code = "import sys, hwnas.evaluators.published; sys.exit(bool({'sklearn', 'scipy', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@needs_data
def test_measured_subnets_are_ranked_as_published() -> None:
    """The 2,373 subnets of the released network of width 1.0 whose ImageNet accuracy Intel's DyNAS-T measured."""
    space = spaces.load("ofa_mbv3/w1.0-r224/v1")
    frame = pd.read_parquet(Path(DATA or "") / "ofa_measured_subnets" / "dynas_t_ofa_mbv3_w1.0_imagenet.parquet")
    rows = zip(frame.ks, frame.e, frame.d, frame.r, strict=True)
    batch = ArchBatch.of([space.arch(list(ks), list(e), list(d), int(r)) for ks, e, d, r in rows])
    predicted = PublishedPredictor.of(space, read_arrays(real("acc_predictor.npz"))).evaluate(batch)
    measured = frame.imagenet_top1.to_numpy() / 100
    assert len(batch) == 2373
    assert round(spearmanr(predicted, measured).statistic, 3) == 0.982
    assert round(kendalltau(predicted, measured).statistic, 3) == 0.881
    assert (predicted - measured).mean() == pytest.approx(0.059, abs=0.0005)  # what the note says
    assert (predicted - measured).std() == pytest.approx(MOBILENET_V3.rmse, abs=0.00005)
