"""The body of a request, as far as the limit goes."""

from schemas.signature import Header
from streams.gateway.answers import Refusal, too_large
from streams.gateway.rsgi import Exchange


async def read(header: Header, exchange: Exchange, limit: int) -> bytes:
    """The whole body. Refuses one of more than `limit` bytes, as soon as that is known."""
    length = header("content-length")
    if length is not None and length.isdecimal():
        if int(length) > limit:
            raise Refusal(too_large(limit))
        return await exchange()
    size, pieces = 0, []
    async for piece in exchange:
        size += len(piece)
        if size > limit:
            raise Refusal(too_large(limit))
        pieces.append(piece)
    return b"".join(pieces)
