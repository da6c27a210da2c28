"""Frames survive a round trip, and damage never passes unseen."""

import io
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwnas.devices import runner
from hwnas.devices.runner import frames
from hwnas.devices.runner.serve import Runner
from hwnas.devices.runner.serve import serve as answer_all

scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=20)
headers = st.dictionaries(st.text(max_size=10), scalars | st.lists(scalars, max_size=3), max_size=4)


@given(headers, st.binary(max_size=200))
def test_round_trip(header, body):
    assert runner.read_frame(io.BytesIO(runner.encode_frame(header, body)).read) == (header, body)


@given(headers, st.binary(max_size=50), st.integers(1, 7))
def test_round_trip_from_dribbling_stream(header, body, step):
    stream = io.BytesIO(runner.encode_frame(header, body))
    assert runner.read_frame(lambda size: stream.read(min(size, step))) == (header, body)


@given(headers, st.binary(max_size=50), st.data())
def test_a_flipped_bit_is_seen(header, body, data):
    frame = bytearray(runner.encode_frame(header, body))
    bit = data.draw(st.integers(0, 8 * len(frame) - 1))
    frame[bit // 8] ^= 1 << bit % 8
    with pytest.raises((runner.FrameError, runner.ClosedError)):
        runner.read_frame(io.BytesIO(bytes(frame)).read)


@given(headers, st.binary(max_size=50), st.integers(0, 8 * frames.LENGTHS.size - 1))
def test_a_damaged_length_is_seen_before_anything_is_waited_for(header, body, bit):
    frame = bytearray(runner.encode_frame(header, body))
    frame[bit // 8] ^= 1 << bit % 8
    stream = io.BytesIO(bytes(frame))
    with pytest.raises(runner.StreamError):
        runner.read_frame(stream.read)
    assert stream.tell() == frames.PREFIX_SIZE


@given(headers, st.binary(max_size=50), st.data())
def test_a_cut_is_the_end_of_the_stream(header, body, data):
    frame = runner.encode_frame(header, body)
    cut = data.draw(st.integers(0, len(frame) - 1))
    with pytest.raises(runner.ClosedError):
        runner.read_frame(io.BytesIO(frame[:cut]).read)


@given(st.binary(min_size=frames.PREFIX_SIZE, max_size=64).filter(lambda data: not data.startswith(frames.MAGIC)))
def test_garbage_is_out_of_step(data):
    with pytest.raises(runner.StreamError):
        runner.read_frame(io.BytesIO(data).read)


@pytest.mark.parametrize("text", [b"[]", b"{", b"\xff"])
def test_a_header_that_is_no_object(text):
    lengths = frames.LENGTHS.pack(frames.MAGIC, len(text), 0)
    frame = lengths + frames.CHECKSUMS.pack(zlib.crc32(lengths), frames._checksum(text, b"")) + text
    with pytest.raises(runner.FrameError):
        runner.read_frame(io.BytesIO(frame).read)


def serve(data: bytes) -> tuple[int, list[runner.Frame]]:
    out = io.BytesIO()
    status = answer_all(io.BytesIO(data).read, out, Runner())
    out.seek(0)
    answers = []
    while out.tell() < len(out.getvalue()):
        answers.append(runner.read_frame(out.read))
    return status, answers


def test_a_damaged_frame_is_answered_and_the_next_one_served():
    damaged = runner.encode_frame({"do": "probe"}, b"body")[:-1] + b"?"
    status, answers = serve(damaged + runner.encode_frame({"do": "quit"}))
    assert status == 0
    assert [answer["ok"] for answer, _ in answers] == [False, True]
    assert "checksum" in answers[0][0]["error"]


def test_out_of_step_ends_the_runner():
    status, answers = serve(b"GET / HTTP/1.1\r\n\r\n" + runner.encode_frame({"do": "quit"}))
    assert status == 2
    assert [answer["ok"] for answer, _ in answers] == [False]


@given(headers)
def test_no_request_kills_the_runner(header):
    status, answers = serve(runner.encode_frame(header) + runner.encode_frame({"do": "quit"}))
    assert status == 0
    assert len(answers) == 2
    assert json.dumps(answers[0][0])
