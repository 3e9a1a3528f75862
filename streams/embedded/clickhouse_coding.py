"""HTTP content codings of bodies: lz4, zstd, gzip, deflate. The size of a decoded body is limited."""

import gzip
import sys
import zlib
from collections.abc import Callable
from typing import Any

import lz4.frame

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: A decompressor has `decompress(data, max_length)`, `eof` and `unused_data`.
_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": zstd.ZstdDecompressor,
    "gzip": lambda: zlib.decompressobj(wbits=zlib.MAX_WBITS | 16),
    "deflate": zlib.decompressobj,
}
_COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "lz4": lz4.frame.compress,
    "zstd": zstd.compress,
    "gzip": lambda body: gzip.compress(body, compresslevel=1),
    "deflate": lambda body: zlib.compress(body, level=1),
}


class CodingError(ValueError):
    """A body that is not in its coding, or a coding that is not offered."""


class TooLargeError(CodingError):
    """A body that grows beyond the limit."""


def decode(body: bytes, coding: str, limit: int) -> bytes:
    """Undo `coding` (empty or `identity`: nothing to undo). Raises CodingError, TooLargeError over `limit` bytes."""
    if coding in {"", "identity"}:
        return body
    if coding not in _DECOMPRESSORS:
        raise CodingError(f"Content-Encoding {coding!a} is none of {', '.join(_DECOMPRESSORS)}")
    parts: list[bytes] = []
    room = limit + 1
    while body and room > 0:  # a body may be several frames, one after another
        decompressor = _DECOMPRESSORS[coding]()
        try:
            part = decompressor.decompress(body, room)
        except (RuntimeError, EOFError, zlib.error, zstd.ZstdError) as error:
            raise CodingError(f"the body is not {coding}: {error}") from None
        room -= len(part)
        if room > 0 and not decompressor.eof:
            raise CodingError(f"the {coding} body ends too early")
        parts.append(part)
        body = decompressor.unused_data
    if room <= 0:
        raise TooLargeError(f"the body is larger than {limit} bytes")
    return b"".join(parts)


def accepted(header: str) -> str:
    """The first coding of an `Accept-Encoding` header that is offered here, else empty."""
    offered = (name.partition(";")[0].strip().lower() for name in header.split(","))
    return next((name for name in offered if name in _COMPRESS), "")


def encode(body: bytes, coding: str) -> bytes:
    """Apply a coding that `accepted` returned."""
    return _COMPRESS[coding](body)
