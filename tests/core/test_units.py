"""Quantities as people type them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwnas.core.errors import InputError
from hwnas.core.units import parse_bytes, parse_count, parse_latency_ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2ms", 2.0),
        (" 2 ms ", 2.0),
        ("800us", 0.8),
        ("800µs", 0.8),
        ("0.03s", 30.0),
        (".5ms", 0.5),
        ("1e3us", 1.0),
        ("250000ns", 0.25),
    ],
)
def test_latency(text: str, ms: float) -> None:
    assert math.isclose(parse_latency_ms(text), ms)


@pytest.mark.parametrize(
    ("text", "size"), [("4MB", 4e6), ("4MiB", 4194304), ("512KiB", 524288), ("3kB", 3e3), ("7B", 7), ("1GB", 1e9)]
)
def test_bytes(text: str, size: float) -> None:
    assert math.isclose(parse_bytes(text), size)


@pytest.mark.parametrize(("text", "count"), [("600M", 6e8), ("25k", 25e3), ("12", 12), ("1.5G", 1.5e9), ("2B", 2e9)])
def test_count(text: str, count: float) -> None:
    assert math.isclose(parse_count(text), count)


@pytest.mark.parametrize(
    "text", ["", "2", "ms", "2 m", "2MB", "-2ms", "0ms", "nanms", "infs", "1e999s", "2ms2", "two ms"]
)
def test_what_is_no_time_is_one_line(text: str) -> None:
    with pytest.raises(InputError, match="is not a latency") as caught:
        parse_latency_ms(text)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@given(st.floats(1e-3, 1e6), st.sampled_from(["us", "ms", "s"]))
def test_what_is_printed_reads_back(value: float, unit: str) -> None:
    factor = {"us": 1e-3, "ms": 1.0, "s": 1e3}[unit]
    assert math.isclose(parse_latency_ms(f"{value!r}{unit}"), value * factor, rel_tol=1e-12)


@given(st.text())
def test_any_text_parses_or_is_refused(text: str) -> None:
    for parse in (parse_latency_ms, parse_bytes, parse_count):
        try:
            assert parse(text) > 0
        except InputError as error:
            assert len(str(error).splitlines()) == 1


def test_a_number_is_no_latency():
    with pytest.raises(InputError, match="write it like 2ms"):
        parse_latency_ms(2.0)
