"""Fixtures: the tiny space, a supernet of it, a few images."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from tiny_space import TINY, scrambled

from hwnas.ofa_supernet.network import OfaSupernet
from hwnas.spaces.ofa_mbv3 import OfaMbv3


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Tiny tensors are slower on two threads, and sums on one are the same everywhere."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny_space() -> OfaMbv3:
    return OfaMbv3("ofa_mbv3/tiny/v1", TINY, TINY.classes, TINY.in_channels)


@pytest.fixture
def supernet(tiny_space: OfaMbv3) -> OfaSupernet:
    return scrambled(tiny_space)


@pytest.fixture
def images() -> torch.Tensor:
    """5 images, 1 x 8 x 8."""
    return torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))
