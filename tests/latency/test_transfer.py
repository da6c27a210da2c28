"""Few-shot transfer on synthetic devices: sums over operators with random weights, of what each of them runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy.stats import spearmanr

from hwnas import spaces
from hwnas.core.additive import BlockIndex
from hwnas.core.arch import ArchBatch
from hwnas.core.count import macs
from hwnas.core.errors import InputError
from hwnas.core.genetics import sample
from hwnas.core.metrics import Floats
from hwnas.core.net import NetSpec
from hwnas.latency.op_features import VIEWS, View, totals
from hwnas.latency.transfer import Prior, Source, Transfer
from hwnas.spaces.nasbench201 import NasBench201

CELLS = NasBench201()
OFA = spaces.load("ofa_mbv3/small/v1")
CLASSES = ("conv 3x3", "conv 1x1", "avg_pool 3x3", "add", "act")
"""Zeros take no time; they are too rare for ten networks to tell."""
Synthetic = Callable[[Sequence[NetSpec]], Floats]


def cells(count: int, seed: int) -> list[NetSpec]:
    """As they are written: many have dead edges."""
    return [CELLS.cell(tuple(map(int, row))) for row in np.random.default_rng(seed).integers(0, 5, (count, 6))]


def device(seed: int, view: View) -> Synthetic:
    """A positive weight for each class of operator, one for each multiply-accumulate, and what a call costs, in ms."""
    rng = np.random.default_rng(seed)
    launch, work = dict(zip(CLASSES, rng.lognormal(0, 0.7, len(CLASSES)), strict=True)), rng.lognormal(0, 0.5) / 20

    def of(name: str, value: float) -> float:
        kind, measure = name.split(": ")
        return value * float({"count": launch.get(kind, 0.0), "macs": work}.get(measure, 0.0))

    return lambda nets: np.array([0.2 + sum(of(*item) for item in totals(net, view).items()) for net in nets])


def view_of(seed: int) -> View:
    return VIEWS[seed % 2]


POOL, FRESH = cells(150, 0), cells(300, 1)
NEW = [100, 101, 102, 103, 104]
"""Seeds of devices that no prior has seen."""


@pytest.fixture(scope="module")
def prior() -> Prior:
    """Of eight devices; every second one runs only what is read."""
    return Prior.learn([Source(POOL, device(seed, view_of(seed))(POOL)) for seed in range(8)])


def told(prior: Prior, new: Synthetic, rows: Sequence[int], noise: float = 0.0) -> Transfer:
    nets = [POOL[row] for row in rows]
    return prior.fit(nets, new(nets) * np.exp(noise * np.random.default_rng(0).normal(size=len(rows))))


def off(said: Floats, truth: Floats) -> float:
    """Root of the mean square, over the mean: what the choice is to lower."""
    return float(np.sqrt(np.mean((said - truth) ** 2)) / truth.mean())


def test_ten_measurements_rank_what_is_new(prior: Prior) -> None:
    chosen, ranks = prior.choose(POOL, 10), []
    for seed in range(100, 115):
        new = device(seed, view_of(seed))
        said, truth = told(prior, new, chosen).predict(FRESH), new(FRESH)
        ranks.append(spearmanr(said, truth).statistic)
        assert off(said, truth) < 0.15
    assert np.mean(ranks) > 0.98
    assert min(ranks) > 0.95


@pytest.mark.parametrize("seed", NEW)
def test_they_tell_what_the_device_runs(prior: Prior, seed: int) -> None:
    model = told(prior, device(seed, view_of(seed)), prior.choose(POOL, 10))
    assert model.shares.sum() == pytest.approx(1)
    shares = dict.fromkeys(VIEWS, 0.0)
    for one, share in zip(model.models, model.shares, strict=True):
        if len(one.columns.views) == 1:
            shares[one.columns.views[0]] += share
    assert shares[view_of(seed)] > 100 * shares[view_of(seed + 1)]


@pytest.mark.parametrize(("count", "noise"), [(4, 0.0), (4, 0.1), (10, 0.1)])
def test_chosen_networks_tell_more_than_random_ones(prior: Prior, count: int, noise: float) -> None:
    """Ten without noise tell so few weights nearly exactly, whichever ten they are."""
    chosen, rng = prior.choose(POOL, count), np.random.default_rng(0)
    draws = [rng.permutation(len(POOL))[:count].tolist() for _ in range(8)]
    best, random = [], []
    for seed in NEW:
        new = device(seed, view_of(seed))
        truth = new(FRESH)
        best.append(off(told(prior, new, chosen, noise).predict(FRESH), truth))
        random += [off(told(prior, new, rows, noise).predict(FRESH), truth) for rows in draws]
    assert np.mean(best) < 0.9 * np.mean(random)


def test_the_choice_never_repeats_and_goes_on_where_it_was(prior: Prior) -> None:
    chosen = prior.choose(POOL, 40)
    assert len(set(chosen)) == 40
    assert prior.choose(POOL, 7) == chosen[:7]
    assert sorted(prior.choose(POOL[:12], 99)) == list(range(12))
    assert prior.choose(POOL, 0) == []
    assert prior.choose([], 10) == []


def test_the_interval_narrows_with_measurements(prior: Prior) -> None:
    chosen = prior.choose(POOL, 40)
    for seed in NEW[:2]:
        new = device(seed, view_of(seed))
        predictions = [told(prior, new, chosen[:count], 0.03).estimate(FRESH) for count in (2, 5, 12, 40)]
        widths = [float(np.mean(each.upper - each.lower)) for each in predictions]
        assert widths == sorted(widths, reverse=True)
        assert widths[0] > 2 * widths[-1]
        for each in predictions:
            assert np.all((each.lower >= 0) & (each.lower <= each.median) & (each.median <= each.upper))


def test_no_latency_is_below_a_share_of_the_least_measured(prior: Prior) -> None:
    """A sum for the smallest may well come out negative."""
    chosen, asked = prior.choose(POOL, 10), cells(400, 9)
    raised = 0
    for seed in NEW:
        new = device(seed, "read")
        prediction, floor = told(prior, new, chosen).estimate(asked), 0.2 * new([POOL[row] for row in chosen]).min()
        assert prediction.median.min() >= floor * (1 - 1e-12)
        assert np.all((prediction.lower >= 0) & (prediction.lower <= prediction.median))
        assert np.all(prediction.median <= prediction.upper)
        raised += int(np.isclose(prediction.median, floor).sum())
    assert raised


def test_the_interval_covers_new_networks(prior: Prior) -> None:
    covered = []
    for seed in range(100, 120):
        new = device(seed, view_of(seed))
        prediction, truth = told(prior, new, prior.choose(POOL, 10), 0.05).estimate(FRESH), new(FRESH)
        covered.append(np.mean((truth >= prediction.lower) & (truth <= prediction.upper)))
    assert 0.8 < np.mean(covered) <= 1


def test_faster_machines_differ_by_a_factor_alone(prior: Prior) -> None:
    nets = [POOL[row] for row in prior.choose(POOL, 10)]
    times = device(100, "read")(nets)
    first, second = prior.fit(nets, times).estimate(FRESH), prior.fit(nets, 1000 * times).estimate(FRESH)
    for one, other in zip(vars(first).values(), vars(second).values(), strict=True):
        np.testing.assert_allclose(1000 * one, other, rtol=1e-9)


def test_the_tail_of_the_new_device(prior: Prior) -> None:
    nets = [POOL[row] for row in prior.choose(POOL, 10)]
    times = device(101, "read")(nets)
    prediction = prior.fit(nets, times, 1.2 * times + 0.1).estimate(FRESH)
    np.testing.assert_allclose(prediction.p90, 1.2 * prediction.median + 0.1, rtol=0.05)
    without = prior.fit(nets, times).estimate(FRESH)
    assert without.p90.tolist() == without.median.tolist()


def test_no_networks_have_no_predictions(prior: Prior) -> None:
    prediction = told(prior, device(100, "read"), [0, 1, 2]).estimate([])
    assert [len(part) for part in vars(prediction).values()] == [0, 0, 0, 0]


def test_tables_serve_as_known_devices() -> None:
    """Sums over blocks, each with an error of its own, of ofa_mbv3/small/v1."""
    index = BlockIndex(OFA)
    batch, fresh = sample(OFA, 100, np.random.default_rng(0)), sample(OFA, 100, np.random.default_rng(1))

    def table(seed: int) -> Callable[[ArchBatch], Floats]:
        rng = np.random.default_rng(seed)
        per_mac, per_operator = rng.lognormal(0, 0.5) / 1e8, rng.lognormal(0, 0.5) / 100
        rows = [per_mac * macs(net) + per_operator * len(net.ops) for net in index.nets]
        return index.additive(np.array(rows) * rng.lognormal(0, 0.1, len(rows)))

    nets = [OFA.lower(arch) for arch in batch]
    prior = Prior.learn([Source(nets, table(seed)(batch)) for seed in range(6)])
    chosen = prior.choose(nets, 10)
    for seed in NEW[:3]:
        model = prior.fit([nets[row] for row in chosen], table(seed)(batch)[chosen])
        said, truth = model.predict([OFA.lower(arch) for arch in fresh]), table(seed)(fresh)
        assert spearmanr(said, truth).statistic > 0.97
        assert off(said, truth) < 0.1


def test_known_devices_may_have_other_networks() -> None:
    sources = [Source(part, device(seed, "read")(part)) for seed, part in enumerate((POOL[:60], POOL[50:120]))]
    model = told(Prior.learn(sources), device(100, "read"), range(30))
    assert spearmanr(model.predict(FRESH), device(100, "read")(FRESH)).statistic > 0.97


@pytest.mark.parametrize(
    ("count", "times"),
    [
        (19, np.ones(19)),
        (30, np.ones(29)),
        (30, np.r_[np.ones(29), 0]),
        (30, np.r_[np.ones(29), np.nan]),
        (30, np.r_[np.ones(29), np.inf]),
    ],
    ids=["few", "short", "zero", "nan", "infinite"],
)
def test_bad_known_devices_are_refused_in_one_line(count: int, times: Floats) -> None:
    good = Source(POOL, device(0, "read")(POOL))
    with pytest.raises(InputError, match="each known device needs 20 networks and a positive latency") as caught:
        Prior.learn([good, Source(POOL[:count], times)])
    assert "\n" not in str(caught.value)


def test_no_known_device_is_refused() -> None:
    with pytest.raises(InputError, match="profile one, and give its table or measurements"):
        Prior.learn([])


@pytest.mark.parametrize(
    ("count", "times", "p90s"),
    [
        (0, [], None),
        (3, [1.0, 2.0], None),
        (2, [1.0, -2.0], None),
        (2, [1.0, float("nan")], None),
        (2, [1.0, 2.0], np.ones(3)),
        (2, [1.0, 2.0], np.array([1.0, np.nan])),
    ],
    ids=["none", "short", "negative", "nan", "long p90", "nan p90"],
)
def test_bad_measurements_are_refused_in_one_line(
    prior: Prior, count: int, times: list[float], p90s: Floats | None
) -> None:
    with pytest.raises(InputError, match="a few networks and a positive latency for each") as caught:
        prior.fit(POOL[:count], times, p90s)
    assert "\n" not in str(caught.value)
