"""The body of a request: read as far as the limits of size and time go, and its content encoding undone."""

import asyncio
import zlib
from time import monotonic

from streams.gateway import answers
from streams.gateway.answers import Refusal
from streams.gateway.rsgi import Exchange
from streams.policy.signature import Header

#: How long a body may take to arrive: 100 kB a second for the largest of the default setting.
READ_S = 10.0
#: Senders compress a body in one member. What comes in more than these is made to cost time.
MAX_MEMBERS = 16
_SWEEP_S = 0.5
_GZIP = 16 + zlib.MAX_WBITS


class Reader:
    """Reads bodies of at most `limit` bytes. One task watches over all of them: a timer for each costs too much."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
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
        """The body as it was sent. Refuses with 413 as soon as it is known to be too large, with 408 if it is slow."""
        length = header("content-length")
        known = length is not None and length.isdecimal()
        if known and int(length or 0) > self.limit:
            raise Refusal(answers.too_large(self.limit))
        task = asyncio.current_task()
        assert task is not None
        self._since[task] = monotonic()
        try:
            return await (exchange() if known else self._pieces(exchange))
        except asyncio.CancelledError:
            if task in self._since:
                raise
            task.uncancel()
            raise Refusal(answers.TOO_SLOW) from None
        finally:
            self._since.pop(task, None)

    async def _pieces(self, exchange: Exchange) -> bytes:
        """A body of unknown length."""
        size, pieces = 0, []
        async for piece in exchange:
            size += len(piece)
            if size > self.limit:
                raise Refusal(answers.too_large(self.limit))
            pieces.append(piece)
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

    Inflating ends at `limit` bytes. Refuses with 413 beyond that, with 415 for another encoding or several, and
    with 400 for what is not of its encoding, or not all of it.
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
    elif name in ("", "identity"):
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
