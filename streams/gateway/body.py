"""The body of a request: read as far as the limits of size and time go, and its content encoding undone."""

import asyncio
import zlib
from time import monotonic

from schemas.text import charset
from streams.gateway import answers
from streams.gateway.answers import Refusal
from streams.gateway.rsgi import Exchange
from streams.policy.signature import Header

#: How long a body may take to arrive: 420 kB a second for the largest of the default setting.
READ_S = 10.0
#: Larger bodies may take this much memory in all, from their first byte until they are answered. The number of
#: requests bounds what smaller ones take: to keep those out, somebody would have to send all the bytes of this.
SMALL_BYTES = 65_536
LARGE_BYTES = 64 * 1024 * 1024
#: Senders compress a body in one member. What comes in more than these is made to cost time.
MAX_MEMBERS = 16
_SWEEP_S = 0.5
_GZIP = 16 + zlib.MAX_WBITS


class Reader:
    """Reads bodies of at most `limit` bytes, and of LARGE_BYTES together; `release` each when it was answered.

    One task watches over all of them: a timer for each costs too much.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._large = 0
        #: Since when each task reads, the oldest first.
        self._since: dict[asyncio.Task[object], float] = {}
        self._watch: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to cut off what takes longer than READ_S."""
        self._watch = asyncio.create_task(self._cut_slow(), name="bodies")

    async def stop(self) -> None:
        """End what `start` began."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)

    async def read(self, header: Header, exchange: Exchange) -> bytes:
        """The body as it was sent. Refuses with 413 as soon as it is known to be too large, with 408 if it is slow,
        and with 503 if too many are large.
        """
        length = header("content-length")
        size = int(length) if length is not None and length.isdecimal() else None
        if size is not None and size > self.limit:
            raise Refusal(answers.too_large(self.limit))
        task = asyncio.current_task()
        assert task is not None
        self._since[task] = monotonic()
        try:
            return await (exchange() if size is not None and size <= SMALL_BYTES else self._pieces(exchange))
        except asyncio.CancelledError:
            if task in self._since:
                raise
            task.uncancel()
            raise Refusal(answers.TOO_SLOW) from None
        finally:
            self._since.pop(task, None)

    def release(self, size: int) -> None:
        """Give back the memory of a body of so many bytes."""
        if size > SMALL_BYTES:
            self._large -= size

    async def _pieces(self, exchange: Exchange) -> bytes:
        """A body that is large or of unknown length."""
        size, pieces = 0, []
        try:
            async for piece in exchange:
                self.release(size)
                size += len(piece)
                if size > self.limit:
                    size = 0
                    raise Refusal(answers.too_large(self.limit))
                if size > SMALL_BYTES:
                    self._large += size
                    if self._large > LARGE_BYTES:
                        raise Refusal(answers.BUSY)
                pieces.append(piece)
        except BaseException:
            self.release(size)
            raise
        return b"".join(pieces)

    async def _cut_slow(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            began = monotonic() - READ_S
            while self._since:
                task, since = next(iter(self._since.items()))
                if since > began:
                    break
                del self._since[task]
                task.cancel()


def decoded(body: bytes, encoding: str | None, limit: int) -> bytes:
    """The body without its content encoding, gzip or deflate (RFC 9110, section 8.4.1).

    The name of a charset, which Java clients send there, is no encoding. Inflating ends at `limit` bytes. Refuses
    with 413 beyond that, with 415 for another encoding or several, and with 400 for what is not of its encoding, or
    not all of it.
    """
    if encoding is None:
        return body
    name = encoding.strip().lower().removeprefix("x-")
    if name == "gzip":
        found = _inflated(body, _GZIP, limit)
    elif name == "deflate":
        # Some send the bare stream, without the header that belongs to it.
        headed = body[:1] != b"" and body[0] & 0x0F == zlib.DEFLATED and int.from_bytes(body[:2], "big") % 31 == 0
        found = _inflated(body, zlib.MAX_WBITS if headed else -zlib.MAX_WBITS, limit)
    elif name in ("", "identity") or charset(name):
        return body
    else:
        raise Refusal(answers.UNKNOWN_ENCODING)
    if found is None:
        raise Refusal(answers.bad_body("body", f"is not whole or not {name}"))
    return found


def _inflated(body: bytes, wbits: int, limit: int) -> bytes | None:
    """All members of a body, one after the other; None if there are too many, or bytes that are none."""
    size, pieces = 0, []
    for _ in range(MAX_MEMBERS):
        inflater = zlib.decompressobj(wbits)
        try:
            piece = inflater.decompress(body, limit + 1 - size)
        except zlib.error:
            return None
        size += len(piece)
        if size > limit:
            raise Refusal(answers.too_large(limit))
        pieces.append(piece)
        body = inflater.unused_data
        if not body:
            return b"".join(pieces) if inflater.eof else None
    return None
