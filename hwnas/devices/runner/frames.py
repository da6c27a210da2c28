"""Frames: how a request or an answer travels over a byte stream.

A frame is::

    magic "HWN1" | header length u32 | body length u32 | crc32 u32 of these | crc32 u32 of the rest | header | body

all big-endian; the header is one JSON object, the body raw bytes. The lengths have a checksum of their own, so that
nobody waits for bytes that a damaged length promises.
"""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any, Callable, Dict, List, Tuple

MAGIC = b"HWN1"
LENGTHS = struct.Struct(">4sII")
CHECKSUMS = struct.Struct(">II")
PREFIX_SIZE = LENGTHS.size + CHECKSUMS.size
MAX_HEADER = 1 << 22
MAX_BODY = 1 << 30
Frame = Tuple[Dict[str, Any], bytes]


class FrameError(ValueError):
    """The checksum or the header of a frame is wrong; the next frame may still be read."""


class StreamError(FrameError):
    """The stream is out of step: nothing after this can be read."""


class ClosedError(EOFError):
    """The other side closed the stream."""


def encode_frame(header: Dict[str, Any], body: bytes = b"") -> bytes:
    """One frame as bytes."""
    text = json.dumps(header).encode()
    if len(text) > MAX_HEADER or len(body) > MAX_BODY:
        raise ValueError(f"frame too large: header {len(text)}, body {len(body)} bytes")
    lengths = LENGTHS.pack(MAGIC, len(text), len(body))
    return lengths + CHECKSUMS.pack(zlib.crc32(lengths), _checksum(text, body)) + text + body


def read_frame(read: Callable[[int], bytes]) -> Frame:
    """Read one frame; `read(n)` returns at most n bytes, none at the end of the stream.

    Raises:
        ClosedError: the stream ended, between frames or inside one.
        StreamError: no frame begins here, or its lengths are damaged.
        FrameError: this frame is damaged, but was read to its end.
    """
    prefix = _exactly(read, PREFIX_SIZE)
    magic, header_size, body_size = LENGTHS.unpack_from(prefix)
    lengths_checksum, checksum = CHECKSUMS.unpack_from(prefix, LENGTHS.size)
    if magic != MAGIC or zlib.crc32(prefix[: LENGTHS.size]) != lengths_checksum:
        raise StreamError("no frame begins here")
    if header_size > MAX_HEADER or body_size > MAX_BODY:
        raise StreamError(f"a frame is too large: header {header_size}, body {body_size} bytes")
    text = _exactly(read, header_size)
    body = _exactly(read, body_size)
    if _checksum(text, body) != checksum:
        raise FrameError("the checksum of a frame is wrong")
    try:
        header = json.loads(text)
    except ValueError as error:
        raise FrameError("the header of a frame is not JSON") from error
    if not isinstance(header, dict):
        raise FrameError("the header of a frame is not an object")
    return header, body


def _checksum(header: bytes, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(header))


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    parts: List[bytes] = []
    while size:
        part = read(size)
        if not part:
            raise ClosedError("the stream ended")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
