"""Accuracies of sampled subnets, in this process and in several."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import gone_within
from tiny_space import TINY, scrambled

from hwnas.core.genetics import sample, unique
from hwnas.ofa_supernet.data import Split
from hwnas.pipeline.subnets import Asked, Judge, comparable, judged, rows
from hwnas.spaces.ofa_mbv3 import OfaMbv3


@pytest.fixture(scope="module")
def judge() -> Judge:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 8, 8, TINY.in_channels), dtype=np.uint8)
    labels = rng.integers(0, TINY.classes, 40, dtype=np.uint8)
    supernet = scrambled(OfaMbv3("ofa_mbv3/tiny/v1", TINY, TINY.classes, TINY.in_channels)).eval()
    by = SimpleNamespace(mean=[0.5] * TINY.in_channels, std=[0.5] * TINY.in_channels)
    return Judge(supernet, by, images[:16], Split(images, labels), 30)


def test_two_processes_find_what_one_finds(judge: Judge) -> None:
    archs = unique(sample(judge.supernet.space, 8, np.random.default_rng(1)))
    asked = [Asked(arch, draw) for draw, arch in enumerate(archs)]
    alone = dict(judged(judge, asked, 1))
    assert list(alone) == asked
    for one, hits in judged(judge, asked, 2):
        assert np.sum(hits != alone[one]) <= 1  # one image may lie on the edge


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
    assert np.ptp(found - skill) < 0.001 < np.ptp(ease[seen].mean(axis=1))


def test_on_all_images_it_is_the_share_of_hits() -> None:
    hits = np.random.default_rng(0).random((9, 50)) < 0.8
    seen = np.array([rows(draw, 50, 50) for draw in range(9)])
    assert comparable(seen, hits) == pytest.approx(hits.mean(axis=1))


ORPHANS = """
import multiprocessing, sys, time
from concurrent.futures import ProcessPoolExecutor
from hwnas.pipeline import subnets

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), subnets._start_worker, (None,))
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
