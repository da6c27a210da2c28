"""Accuracies of sampled subnets, in this process and in several."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import gone_within
from tiny_space import TINY, scrambled

from hwnas.core.genetics import sample, unique
from hwnas.core.progress import silent
from hwnas.ofa_supernet.data import Split
from hwnas.ofa_supernet.recipe import PredictorRecipe
from hwnas.pipeline import spread
from hwnas.pipeline.judge import Asked, Judge, rows
from hwnas.pipeline.subnets import comparable, measure_subnets
from hwnas.spaces.ofa_mbv3 import OfaMbv3


@pytest.fixture(scope="module")
def judge() -> Judge:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 8, 8, TINY.in_channels), dtype=np.uint8)
    labels = rng.integers(0, TINY.classes, 40, dtype=np.uint8)
    supernet = scrambled(OfaMbv3("ofa_mbv3/tiny/v1", TINY, TINY.classes, TINY.in_channels)).eval()
    by = SimpleNamespace(mean=[0.5] * TINY.in_channels, std=[0.5] * TINY.in_channels)
    return Judge(supernet, by, images[:16], Split(images, labels), 30)


def test_two_processes_find_what_one_finds(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    archs = unique(sample(judge.supernet.space, 8, np.random.default_rng(1)))
    asked = [Asked(arch, draw) for draw, arch in enumerate(archs)]
    alone = dict(spread.local(judge, asked))
    assert list(alone) == asked
    monkeypatch.setattr(spread, "WORTH_A_PROCESS", 2)
    for one, hits in spread.local(judge, asked):
        np.testing.assert_array_equal(hits, alone[one])


def test_a_subnet_sees_its_own_images(judge: Judge) -> None:
    arch = judge.supernet.space.smallest
    everything = np.zeros(40, dtype=np.bool_)
    everything[rows(7, 40, 40)] = replace(judge, images=40).hits(Asked(arch, 7))
    assert judge.hits(Asked(arch, 3)).tolist() == everything[rows(3, 30, 40)].tolist()


@given(st.integers(0, 2**32 - 1))
def test_easy_images_make_no_subnet_better(seed: int) -> None:
    rng = np.random.default_rng(seed)
    skill, ease = rng.uniform(-0.05, 0.05, 60), rng.random(400)
    seen = np.array([rows(draw, 100, 400) for draw in range(60)])
    found = comparable(seen, skill[:, None] + ease[seen])
    assert 5 * np.std(found - skill) < np.std(ease[seen].mean(axis=1))


def test_on_all_images_it_is_the_share_of_hits() -> None:
    hits = np.random.default_rng(0).random((9, 50)) < 0.8
    seen = np.array([rows(draw, 50, 50) for draw in range(9)])
    assert comparable(seen, hits) == pytest.approx(hits.mean(axis=1))


class Fake:
    """Stands for `spread.local`: hits by the genes and images alone, and a count of what was asked."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.asked: list[Asked] = []
        self.stop_after = stop_after

    def __call__(self, judge: Judge, asked: list[Asked]) -> Iterator[tuple[Asked, np.ndarray]]:
        for one in asked:
            if len(self.asked) == self.stop_after:
                raise KeyboardInterrupt
            self.asked.append(one)
            skill = np.mean(one.arch.genes) / 4
            seen = rows(one.draw, judge.images, len(judge.held_out))
            yield one, (seen * 37 % 101) / 101 < 0.5 + skill


@pytest.fixture
def made(tmp_path, judge: Judge) -> SimpleNamespace:
    recipe = SimpleNamespace(predictor=PredictorRecipe(subnets=40, images=100, searched=0.4), seed=3)
    return SimpleNamespace(path=tmp_path, space=judge.supernet.space, recipe=recipe, weights_sha256=lambda: "weights")


def measured(made: SimpleNamespace, judge: Judge, fake: Fake) -> tuple:
    images = np.zeros((400, 8, 8, TINY.in_channels), dtype=np.uint8)
    split = Split(images, np.zeros(400, dtype=np.uint8))
    batch, accuracies = measure_subnets(made, judge.supernet, {"predictor": split, "calibration": split}, fake, silent)
    return batch.genes.tolist(), accuracies.tolist()


@pytest.mark.parametrize("stop_after", [5, 24, 30, 35])
def test_a_stopped_measuring_goes_on_where_it_was(made, judge, tmp_path, stop_after: int) -> None:
    (tmp_path / "subnets.jsonl").write_text('{"genes": [0], "accuracy": 0.5, "images": 100, "weights": "weights"}\n')
    stopped = Fake(stop_after)
    with pytest.raises(KeyboardInterrupt):
        measured(made, judge, stopped)
    going_on = Fake()
    found = measured(made, judge, going_on)
    assert len(stopped.asked + going_on.asked) == len(set(stopped.asked + going_on.asked)) == 40
    (tmp_path / "subnets.jsonl").unlink()
    assert measured(made, judge, Fake()) == found


def test_without_searches_all_are_random(made, judge) -> None:
    made.recipe.predictor = PredictorRecipe(subnets=30, images=100, searched=0)
    genes, accuracies = measured(made, judge, Fake())
    assert len(genes) == len(accuracies) == 30


ORPHANS = """
import multiprocessing, sys, time
from concurrent.futures import ProcessPoolExecutor
from hwnas.pipeline import spread

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), spread._start_worker, (None,))
    pool.submit(time.sleep, 0).result()
    print(*pool._processes, flush=True)
    time.sleep(60)
"""


def test_a_killed_parent_leaves_no_worker(tmp_path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(ORPHANS)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        assert gone_within(worker, 10)
