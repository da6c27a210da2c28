"""Accuracies of sampled subnets, in this process and in several."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from processes import gone_within
from tiny_space import TINY, scrambled

from hwnas.core.genetics import sample, unique
from hwnas.ofa_supernet.data import Split
from hwnas.pipeline.subnets import Judge, judged
from hwnas.spaces.ofa_mbv3 import OfaMbv3


@pytest.fixture(scope="module")
def judge() -> Judge:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 8, 8, TINY.in_channels), dtype=np.uint8)
    labels = rng.integers(0, TINY.classes, 40, dtype=np.uint8)
    supernet = scrambled(OfaMbv3("ofa_mbv3/tiny/v1", TINY, TINY.classes, TINY.in_channels)).eval()
    by = SimpleNamespace(mean=[0.5] * TINY.in_channels, std=[0.5] * TINY.in_channels)
    return Judge(supernet, by, images[:16], Split(images, labels))


def test_two_processes_find_what_one_finds(judge: Judge) -> None:
    archs = list(unique(sample(judge.supernet.space, 8, np.random.default_rng(1))))
    alone = dict(judged(judge, archs, 1))
    assert list(alone) == archs
    assert dict(judged(judge, archs, 2)) == pytest.approx(alone, abs=1 / 40)  # one image may lie on the edge


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
