"""Verdicts are kept for good, and those of another device count for nothing."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.core.arch import Arch
from hwnas.core.metrics import Measurement
from hwnas.pipeline.verdicts import JOURNAL, Verdict, Verdicts

DEVICE = {"device": "local", "cpu": "abacus", "usable_cores": [0, 1], "governor": None}
TIMES = st.lists(st.floats(0.001, 1e4), min_size=1, max_size=5)
VERDICTS = st.builds(
    Verdict,
    arch=st.builds(Arch, st.sampled_from(["a/v1", "b/v1"]), st.lists(st.integers(0, 9), max_size=4).map(tuple)),
    limit_ms=st.floats(0.001, 1e4),
    measurement=TIMES.map(lambda values: Measurement(np.array(values), bursts=(len(values),))),
    date=st.just("2026-01-01T00:00:00+00:00"),
    device=st.just(DEVICE),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(VERDICTS, max_size=4))
def test_round_trip(kept: list[Verdict]) -> None:
    with TemporaryDirectory() as folder:
        journal = Verdicts(Path(folder), DEVICE)
        for verdict in kept:
            journal.keep(verdict)
        read = Verdicts(Path(folder), DEVICE)
        for space in ("a/v1", "b/v1"):
            assert [v.to_json() for v in read.of_space(space)] == [v.to_json() for v in journal.of_space(space)]
        assert read.missed(1.0) == {verdict.arch for verdict in kept if verdict.p90_ms > 1.0}
        assert Verdicts(Path(folder), {**DEVICE, "cpu": "slide rule"}).missed(1e-9) == frozenset()


def test_figures() -> None:
    verdict = Verdict(Arch("a/v1", (1,)), 2.0, Measurement(np.arange(1.0, 12.0)), "", DEVICE)
    assert (verdict.median_ms, verdict.p90_ms, verdict.holds) == (6.0, 10.0, False)
    assert Verdict(Arch("a/v1", (1,)), 10.0, verdict.measurement, "", DEVICE).holds
    assert all(1 <= low <= high <= 11 for low, high in verdict.intervals.values())


@pytest.mark.parametrize(
    "change", [{"samples_ms": []}, {"samples_ms": None}, {"arch": 1}, {"limit_ms": "x"}, {"device": 3}, "text", None]
)
def test_a_line_that_is_no_verdict_is_passed_over(change: object, tmp_path: Path) -> None:
    whole = Verdict(Arch("a/v1", (1,)), 1.0, Measurement(np.array([2.0])), "", DEVICE).to_json()
    other = {**whole, **change} if isinstance(change, dict) else change
    (tmp_path / JOURNAL).write_text("".join(json.dumps(line) + "\n" for line in (other, whole)) + '{"arch": {"sp')
    assert len(Verdicts(tmp_path, DEVICE).of_space("a/v1")) == 1
