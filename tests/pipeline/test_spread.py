"""Where subnets are measured makes no difference to what is found."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny_space import TINY, scrambled

from hwnas.core.errors import InputError
from hwnas.core.genetics import sample, unique
from hwnas.ofa_supernet.data import Split
from hwnas.pipeline import spread
from hwnas.pipeline.judge import Asked, Judge
from hwnas.spaces.ofa_mbv3 import OfaMbv3


@pytest.fixture(scope="module")
def judge() -> Judge:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 8, 8, TINY.in_channels), dtype=np.uint8)
    supernet = scrambled(OfaMbv3("ofa_mbv3/tiny/v1", TINY, TINY.classes, TINY.in_channels)).eval()
    by = SimpleNamespace(mean=[0.5] * TINY.in_channels, std=[0.5] * TINY.in_channels)
    return Judge(supernet, by, images[:16], Split(images, rng.integers(0, 4, 40, dtype=np.uint8)), 30)


@pytest.fixture
def local_ray() -> Iterator[None]:
    yield
    import ray

    ray.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_a_ray_cluster_finds_what_one_process_finds(judge: Judge, local_ray: None) -> None:
    archs = unique(sample(judge.supernet.space, 6, np.random.default_rng(1)))
    asked = [Asked(arch, draw) for draw, arch in enumerate(archs)]
    alone = dict(spread.local(judge, asked))
    found = dict(spread.over_ray("local")(judge, asked))
    assert found.keys() == alone.keys()
    for one, hits in found.items():
        np.testing.assert_array_equal(hits, alone[one])
    assert list(spread.over_ray("local")(judge, [])) == []


@pytest.mark.slow
def test_no_cluster_is_one_line(judge: Judge, local_ray: None) -> None:
    asked = [Asked(judge.supernet.space.smallest, 0)]
    with pytest.raises(InputError, match=r"no Ray cluster answers at 127\.0\.0\.1:9: start one, or name local"):
        list(spread.over_ray("127.0.0.1:9")(judge, asked))


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any, **named: Any) -> Any:
        if name == "ray":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(InputError, match=r"needs Ray: run 'pip install hwnas\[ray\]'"):
        spread.over_ray("local")
