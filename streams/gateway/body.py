"""The body of a request: read within the limits of size and time, and its content encoding undone."""

import asyncio
import zlib
from time import monotonic

from schemas.text import charset
from streams.gateway import answers
from streams.gateway.answers import Refusal
from streams.gateway.rsgi import Exchange
from streams.policy.signature import Header

#: How many seconds a body may take to arrive: 420 kB a second for the largest body of the default setting.
READ_S = 10.0
#: Bodies of more than SMALL_BYTES may take LARGE_BYTES of memory in all, from their first byte until they are answered.
#: The number of open requests bounds the memory of smaller bodies. An attacker who wants to keep large bodies out must
#: really send LARGE_BYTES.
SMALL_BYTES = 65_536
LARGE_BYTES = 64 * 1024 * 1024
#: Senders compress a body as one member. A body of more members than this is meant to waste CPU time.
MAX_MEMBERS = 16
_SWEEP_S = 0.5
_GZIP = 16 + zlib.MAX_WBITS


class Reader:
    """Reads bodies of at most `limit` bytes each; large ones may take LARGE_BYTES together.

    Call `release` for each body when it was answered. One task cuts off all slow bodies: a timer for each costs too
    much.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._large = 0
        #: The time since which each task reads, the oldest first.
        self._since: dict[asyncio.Task[object], float] = {}
        self._watch: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to cut off bodies that take longer than READ_S."""
        self._watch = asyncio.create_task(self._cut_slow(), name="bodies")

    async def stop(self) -> None:
        """Stop what `start` began."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)

    async def read(self, header: Header, exchange: Exchange) -> bytes:
        """The body as it was sent.

        Refuses with 413 as soon as the body is known to be too large, with 408 if it is too slow, and with 503 if large
        bodies take too much memory.
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
        """Give back the memory of a body of `size` bytes."""
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

    The name of a charset, which Java clients send there, is not an encoding. Inflating ends at `limit` bytes. Refuses
    with 413 beyond that, with 415 for another encoding or several, and with 400 for a body that is not in its encoding
    or is cut off.
    """
    if encoding is None:
        return body
    name = encoding.strip().lower().removeprefix("x-")
    if name == "gzip":
        found = _inflated(body, _GZIP, limit)
    elif name == "deflate":
        # Some senders send the raw deflate stream, without the zlib header.
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
    """All members of a body, one after the other; None for too many members, and for invalid or missing bytes."""
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
