"""Training draws only what its stage allows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.ofa_supernet.recipe import Stage
from hwnas.ofa_supernet.sampling import StageSampler
from hwnas.spaces.ofa_mbv3 import OfaMbv3


def some(options: tuple[int, ...]) -> st.SearchStrategy[list[int] | None]:
    return st.none() | st.lists(st.sampled_from(options), min_size=1, unique=True)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_only_allowed_options(tiny_space: OfaMbv3, data: st.DataObject, seed: int) -> None:
    layout, rng = tiny_space.layout, np.random.default_rng(seed)
    keys = ("kernels", "expansions", "depths", "resolutions")
    drawn = {key: data.draw(some(getattr(layout, key)), label=key) for key in keys}
    sampler = StageSampler(tiny_space, Stage(name="s", epochs=1, learning_rate=0.1, **drawn))
    allowed = {key[:-1]: set(drawn[key] or getattr(layout, key)[-1:]) for key in keys[:3]}
    for _ in range(20):
        resolution = sampler.resolution(rng)
        assert layout.resolutions[resolution] in (drawn["resolutions"] or layout.resolutions)
        arch = sampler.draw(rng, resolution)
        genes = np.array([arch.genes], dtype=np.int16)
        assert arch.genes[0] == resolution
        np.testing.assert_array_equal(tiny_space.canonical(genes), genes)
        values = zip(tiny_space.choices[1:], tiny_space.values(arch)[1:], tiny_space.active(genes)[0, 1:], strict=True)
        for choice, value, active in values:
            assert not active or value in allowed[choice.name.rsplit(".", 1)[1]]


def test_every_allowed_option_is_drawn(tiny_space: OfaMbv3) -> None:
    stage = Stage(name="s", epochs=1, learning_rate=0.1, kernels=[3, 7], expansions=[2, 3], depths=[1, 2])
    sampler, rng = StageSampler(tiny_space, stage), np.random.default_rng(0)
    genes = np.array([sampler.draw(rng, 0).genes for _ in range(200)])
    for gene, choice in enumerate(tiny_space.choices[1:], 1):
        wanted = {"kernel": {0, 2}, "expansion": {1, 2}, "depth": {0, 1}}[choice.name.rsplit(".", 1)[1]]
        skipped = {0} if "block1" in choice.name else set()
        assert set(genes[:, gene]) == wanted | skipped


@pytest.mark.parametrize("bias", [0.0, 2.0])
def test_resolutions_follow_their_bias(tiny_space: OfaMbv3, bias: float) -> None:
    stage = Stage(name="s", epochs=1, learning_rate=0.1, resolutions=[6, 11], resolution_bias=bias)
    sampler, rng = StageSampler(tiny_space, stage), np.random.default_rng(0)
    drawn = np.array([sampler.resolution(rng) for _ in range(3000)])
    assert set(drawn) == {0, 2}
    weights = np.array([6.0, 11.0]) ** -bias
    assert abs(np.mean(drawn == 0) - weights[0] / weights.sum()) < 0.03


def test_extremes_have_their_share(tiny_space: OfaMbv3) -> None:
    options = {"kernels": [3, 5, 7], "expansions": [2, 3], "depths": [1, 2]}
    stage = Stage(name="s", epochs=1, learning_rate=0.1, extremes=0.5, **options)
    sampler, rng = StageSampler(tiny_space, stage), np.random.default_rng(0)
    drawn = [sampler.draw(rng, 1).genes[1:] for _ in range(1000)]
    genes = [
        [1, *(choice.options.index(pick(options[choice.name.rsplit(".", 1)[1] + "s"])) for choice in choices)]
        for pick, choices in ((min, tiny_space.choices[1:]), (max, tiny_space.choices[1:]))
    ]
    for arch in tiny_space.canonical(np.array(genes, dtype=np.int16)):
        assert abs(drawn.count(tuple(arch[1:].tolist())) / 1000 - 0.25) < 0.05


def test_equal_generators_equal_draws(tiny_space: OfaMbv3) -> None:
    sampler = StageSampler(tiny_space, Stage(name="s", epochs=1, learning_rate=0.1, kernels=[3, 5, 7]))
    first, again = (
        [sampler.draw(rng, 1) for _ in range(20)] for rng in (np.random.default_rng(5), np.random.default_rng(5))
    )
    assert first == again
