"""The graph predictor on synthetic devices: what it learns, repeats, covers and refuses; members do not mix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from hwnas import spaces
from hwnas.core.errors import InputError
from hwnas.core.genetics import sample
from hwnas.core.metrics import Floats
from hwnas.core.net import NetSpec
from hwnas.latency.gcn import GCN
from hwnas.latency.gcn_network import Ensemble, Shape, Training
from hwnas.latency.gcn_predict import predict
from hwnas.latency.graphs import GraphBatch, batch, graph
from hwnas.latency.linear import Linear
from hwnas.latency.op_features import totals
from hwnas.spaces.builder import Builder
from hwnas.spaces.nasbench201 import CONV_1X1, CONV_3X3, NONE, SKIP, NasBench201

CELLS = NasBench201()
OFA = spaces.load("ofa_mbv3/small/v1")
SHAPE, TRAINING = Shape(layers=3, hidden=32), Training(epochs=60, batch=32)
"""Small, so that a test takes a second."""
COST = {"conv 3x3": 1.0, "conv 1x1": 0.4, "avg_pool 3x3": 0.6, "add": 0.1, "zero": 0.1, "input": 0.0}


def cells(count: int, seed: int) -> list[NetSpec]:
    genes = sample(CELLS, count, np.random.default_rng(seed)).genes
    return [CELLS.cell(tuple(map(int, row))) for row in genes]


def critical_ms(net: NetSpec) -> float:
    """Everything that can runs side by side: the longest path from input to output, and half a millisecond."""
    found = graph(net)
    own = [sum(COST[name] * times for name, times in held.items()) for held in found.classes]
    start = [0.0] * len(found)
    for source, reader in found.edges:
        start[reader] = max(start[reader], start[source] + own[source])
    return 0.5 + max(begun + cost for begun, cost in zip(start, own, strict=True))


def measured(nets: list[NetSpec], noise: float = 0.0, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    return np.array([critical_ms(net) for net in nets]) * np.exp(noise * rng.normal(size=len(nets)))


def small_gcn(**fields: object) -> GCN:
    return GCN(**{"members": 3, "shape": SHAPE, "training": TRAINING, **fields})  # type: ignore[arg-type]


def error(said: Floats, truth: Floats) -> float:
    return float(np.mean(np.abs(said / truth - 1)))


NETS, FRESH = cells(200, 0), cells(300, 1)
TIMES, TRUTH = measured(NETS), measured(FRESH)


@pytest.fixture(scope="module")
def fitted() -> GCN:
    return small_gcn().fit(NETS, TIMES, 1.2 * TIMES + 0.1)


def test_it_learns_what_no_sum_over_operators_says(fitted: GCN) -> None:
    linear = error(Linear.fit(NETS, TIMES).predict(FRESH), TRUTH)
    assert linear > 0.1
    assert error(fitted.predict(FRESH), TRUTH) < 0.5 * linear


@pytest.mark.parametrize("fields", [{"linear": False}, {"shape": Shape(3, 32, directed=False)}], ids=["alone", "mixed"])
def test_other_forms_learn_as_well(fields: dict[str, object]) -> None:
    assert error(small_gcn(**fields).fit(NETS, TIMES).predict(FRESH), TRUTH) < 0.1


def test_networks_of_blocks() -> None:
    nets = [OFA.lower(arch) for arch in sample(OFA, 80, np.random.default_rng(2))]
    times = np.array([sum(value for name, value in totals(net).items() if name.endswith(": count")) for net in nets])
    model = small_gcn(training=Training(epochs=10)).fit(nets[:50], times[:50])
    assert error(model.predict(nets[50:]), times[50:]) < 0.01


def test_equal_seeds_give_equal_predictions() -> None:
    first, again, other = (small_gcn(training=Training(epochs=3), seed=seed).fit(NETS, TIMES) for seed in (1, 1, 2))
    assert first.predict(FRESH).tolist() == again.predict(FRESH).tolist()
    assert first.predict(FRESH).tolist() != other.predict(FRESH).tolist()


def test_the_random_state_of_others_is_left_alone() -> None:
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    expected = torch.rand(1).item(), np.random.rand()  # noqa: NPY002
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    small_gcn(training=Training(epochs=1)).fit(NETS[:30], TIMES[:30])
    assert (torch.rand(1).item(), np.random.rand()) == expected  # noqa: NPY002


def test_predictions_do_not_depend_on_the_company(fitted: GCN) -> None:
    together = fitted.predict(FRESH)
    np.testing.assert_allclose(fitted.predict(FRESH[::-1])[::-1], together, rtol=1e-5)
    alone = [fitted.predict([net])[0] for net in FRESH[:20]]
    np.testing.assert_allclose(alone, together[:20], rtol=1e-5)
    parts = [fitted.predict(FRESH[start : start + 7]) for start in range(0, 70, 7)]
    np.testing.assert_allclose(np.concatenate(parts), together[:70], rtol=1e-5)


def test_the_interval_covers_fresh_networks() -> None:
    fresh = cells(1000, 3)
    for seed in range(3):
        model = small_gcn(seed=seed).fit(NETS, measured(NETS, 0.1, seed))
        prediction = model.estimate(fresh)
        truth = measured(fresh, 0.1, 100 + seed)
        covered = np.mean((truth >= prediction.lower) & (truth <= prediction.upper))
        assert 0.8 < covered < 0.97
        assert np.all((prediction.lower < prediction.median) & (prediction.median < prediction.upper))
        half = model.estimate(fresh, share=0.5)
        assert np.all(half.upper < prediction.upper)
        assert 0.35 < np.mean((truth >= half.lower) & (truth <= half.upper)) < 0.65


def test_the_tail_has_a_model_of_its_own(fitted: GCN) -> None:
    prediction = fitted.estimate(FRESH)
    np.testing.assert_allclose(prediction.p90, 1.2 * prediction.median + 0.1, rtol=0.03)
    without = small_gcn(training=Training(epochs=1)).fit(NETS[:30], TIMES[:30]).estimate(FRESH[:5])
    assert without.p90.tolist() == without.median.tolist()


def test_no_networks_have_no_predictions(fitted: GCN) -> None:
    prediction = fitted.estimate([])
    assert [len(part) for part in vars(prediction).values()] == [0, 0, 0, 0]
    assert fitted.predict([]).shape == (0,)


def test_an_unfitted_one_is_refused() -> None:
    with pytest.raises(InputError, match=r"call fit\(nets, latency_ms\) first"):
        GCN().predict(NETS)


@pytest.mark.parametrize("members", [-1, 0, 1])
def test_an_ensemble_has_members(members: int) -> None:
    with pytest.raises(InputError, match="give 2 or more"):
        GCN(members=members)


@pytest.mark.parametrize(
    ("nets", "times", "p90s"),
    [
        (19, np.ones(19), None),
        (0, np.zeros(0), None),
        (30, np.ones(29), None),
        (30, np.ones(31), None),
        (30, np.r_[np.ones(29), -1], None),
        (30, np.r_[np.ones(29), 0], None),
        (30, np.r_[np.ones(29), np.nan], None),
        (30, np.r_[np.ones(29), np.inf], None),
        (30, np.ones(30), np.ones(29)),
        (30, np.ones(30), np.r_[np.ones(29), np.nan]),
    ],
    ids=["few", "none", "short", "long", "negative", "zero", "nan", "infinite", "short p90", "nan p90"],
)
def test_bad_measurements_are_refused_in_one_line(nets: int, times: Floats, p90s: Floats | None) -> None:
    with pytest.raises(InputError, match="wants 20 networks or more, and a positive number for each") as caught:
        small_gcn().fit(NETS[:nets], times, p90s)
    assert "\n" not in str(caught.value)


def test_a_class_that_it_never_saw_is_named(fitted: GCN) -> None:
    net = Builder((16, 32, 32))
    net.conv("conv", 16, kernel=5, groups=16)
    with pytest.raises(InputError, match=r"network 1 lies outside .* it has a depthwise 5x5, which none of those had"):
        fitted.predict([FRESH[0], net.build()])


def test_a_network_far_larger_is_refused(fitted: GCN) -> None:
    net = Builder((16, 32, 32))
    for number in range(14):
        net.conv(f"conv{number}", 16)
    with pytest.raises(InputError, match="its graph has 15 nodes, theirs have 9 at most"):
        fitted.predict([net.build()])
    net = Builder((64, 32, 32))
    net.conv("wide", 64, kernel=3)
    net.conv("wider", 64, kernel=3)
    with pytest.raises(InputError, match=r"macs: 75\.5 million, where they have 0 to"):
        fitted.predict([net.build()])


def test_as_few_as_twenty_networks() -> None:
    model = small_gcn(members=5).fit(NETS[:20], list(TIMES[:20]))
    most = max(len(graph(net)) for net in NETS[:20])
    known = [net for net in FRESH if len(graph(net)) <= most][:50]
    assert error(model.predict(known), measured(known)) < 0.25


@pytest.mark.parametrize("epochs", [1, 5, 10, 11])
def test_any_number_of_steps(epochs: int) -> None:
    model = small_gcn(training=Training(epochs=epochs, batch=64)).fit(NETS[:30], TIMES[:30])
    assert np.isfinite(model.predict(NETS[:30])).all()


def random_batch(count: int = 6) -> GraphBatch:
    graphs = [graph(net) for net in cells(count, 7)]
    return batch(graphs, sorted({name for one in graphs for held in one.classes for name in held}))


def tensors(graphs: GraphBatch, members: int) -> list[torch.Tensor]:
    return [torch.from_numpy(part).expand(members, *part.shape) for part in vars(graphs).values()]


@pytest.mark.parametrize("directed", [True, False])
def test_a_member_is_as_if_it_were_alone(directed: bool) -> None:
    """In what it says, and in its gradients, beside another member as by itself."""
    graphs, shape = random_batch(), Shape(2, 8, directed)
    both = Ensemble(2, graphs.features.shape[2], shape, 5.0, 0)
    for member in (0, 1):
        alone = Ensemble(1, graphs.features.shape[2], shape, 5.0, 9)
        alone.load_state_dict({name: value[member : member + 1] for name, value in both.state_dict().items()})
        both.zero_grad()
        said, own = both(*tensors(graphs, 2)), alone(*tensors(graphs, 1))
        torch.testing.assert_close(said[member], own[0])
        said.abs().mean(1).sum().backward()
        own.abs().mean(1).sum().backward()
        for one, other in zip(both.parameters(), alone.parameters(), strict=True):
            assert one.grad is not None
            assert other.grad is not None
            torch.testing.assert_close(one.grad[member], other.grad[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("directed", [True, False])
def test_the_order_of_nodes_does_not_matter(directed: bool) -> None:
    graphs = random_batch()
    order = np.random.default_rng(0).permutation(graphs.mask.shape[1])
    moved = GraphBatch(graphs.features[:, order], graphs.edges[:, order][:, :, order], graphs.mask[:, order])
    net = Ensemble(2, graphs.features.shape[2], Shape(3, 16, directed), 5.0, 0)
    np.testing.assert_allclose(predict(net, moved), predict(net, graphs), rtol=1e-4, atol=1e-6)


def test_the_direction_of_edges_matters_where_it_is_told_apart() -> None:
    graphs = random_batch()
    turned = GraphBatch(graphs.features, graphs.edges.transpose(0, 2, 1).copy(), graphs.mask)
    for directed in (True, False):
        net = Ensemble(1, graphs.features.shape[2], Shape(2, 16, directed), 5.0, 0)
        assert np.allclose(predict(net, graphs), predict(net, turned), rtol=1e-5) is not directed


def test_dead_ends_do_not_reach_the_predictor(fitted: GCN) -> None:
    raw = (CONV_3X3, CONV_1X1, NONE, SKIP, NONE, CONV_3X3)
    said = fitted.predict([CELLS.cell(raw), CELLS.cell((NONE, *raw[1:]))])
    assert said[0] == pytest.approx(said[1])


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif how == "no file":
        path.unlink()
        path.mkdir()
    elif how == "other weights":
        path.write_bytes(safetensors.numpy.save({"weight": np.zeros(3)}))
    elif how == "a key less":
        path.write_bytes(data.replace(b"floor", b"flaar"))
    elif how == "version":
        path.write_bytes(data.replace(rb"\"schema\": 1", rb"\"schema\": 2"))


@pytest.mark.parametrize(
    "fields", [{}, {"linear": False, "shape": Shape(1, 8, directed=False)}], ids=["whole", "alone"]
)
def test_a_saved_one_says_the_same_to_the_last_bit(fields: dict[str, object], tmp_path: Path) -> None:
    model = small_gcn(training=Training(epochs=2), seed=4, **fields).fit(NETS[:60], TIMES[:60], 1.2 * TIMES[:60])
    model.save(tmp_path / "gcn.safetensors")
    assert [file.name for file in tmp_path.iterdir()] == ["gcn.safetensors"]
    again = GCN.load(tmp_path / "gcn.safetensors")
    for one, other in zip(vars(again.estimate(NETS)).values(), vars(model.estimate(NETS)).values(), strict=True):
        assert one.tobytes() == other.tobytes()
    settings = ("members", "shape", "training", "linear", "seed")
    assert [getattr(again, name) for name in settings] == [getattr(model, name) for name in settings]
    net = Builder((16, 32, 32))
    net.conv("conv", 16, kernel=5, groups=16)
    with pytest.raises(InputError, match="it has a depthwise 5x5"):
        again.predict([net.build()])
    again.save(str(tmp_path / "again.safetensors"))  # a path as text will do
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "gcn.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("missing", "no graph predictor .*: fit one and `save` it there"),
        ("empty", "is damaged, or no graph predictor"),
        ("cut", "is damaged, or no graph predictor"),
        ("no file", "cannot read .*; make it a readable file"),
        ("other weights", "is damaged, or no graph predictor"),
        ("a key less", "is damaged, or no graph predictor"),
        ("version", "is of version 2, not 1: fit the predictor again"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(fitted: GCN, how: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "gcn.safetensors"
    fitted.save(path)
    damage(path, how)
    with pytest.raises(InputError, match=says) as caught:
        GCN.load(path)
    assert "\n" not in str(caught.value)


def test_what_is_not_fitted_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not fitted"):
        GCN().save(tmp_path / "gcn.safetensors")
    assert not list(tmp_path.iterdir())
