"""The event stream: what changes in the list of incidents, as it changes."""

import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse

from streams.api.caller import Caller, CallerOf
from streams.api.model.model import Model
from streams.api.parts import Parts, PartsOf
from streams.api.problems import ProblemError
from streams.api.times import iso, moment

router = APIRouter()

#: Seconds between two pings; at each one the caller must still be one.
PING_S = 15.0
_RETRY_MS = 2_000
_HEADERS = {"X-Accel-Buffering": "no"}


class EventStream(StreamingResponse):
    """An answer that goes on until the client leaves."""

    media_type = "text/event-stream"


@router.get("/stream", response_class=EventStream, responses={200: {"content": {"text/event-stream": {}}}})
async def follow_incidents(
    parts: PartsOf, caller: CallerOf, request: Request, last_event_id: Annotated[str | None, Header()] = None
) -> EventStream:
    """Server-sent events: `incidents` with what changed, `reset` if everything must be read again, and `ping`."""
    return EventStream(_events(parts, caller, request, last_event_id), headers=_HEADERS)


async def _events(parts: Parts, caller: Caller, request: Request, last_event_id: str | None) -> AsyncIterator[bytes]:
    feed = parts.model.feeds.of(caller.tenant)
    place = feed.place(last_event_id)
    yield f"retry: {_RETRY_MS}\n\n".encode() + _ping(parts.model)
    next_ping = time.monotonic() + PING_S
    while True:
        events, place = feed.after(place)
        for event in events:
            yield event
        now = time.monotonic()
        if now >= next_ping:
            if not await _is_still(parts, caller, request):
                return
            yield _ping(parts.model)
            next_ping = now + PING_S
        await feed.wait(place, next_ping - now)


async def _is_still(parts: Parts, caller: Caller, request: Request) -> bool:
    """Whether the request would be let in now: the session is not revoked, the role and the tenant are the same."""
    try:
        found = await parts.identity.caller(request)
    except ProblemError:
        return False
    return found is not None and (found.tenant, found.id, found.role) == (caller.tenant, caller.id, caller.role)


def _ping(model: Model) -> bytes:
    return f'event: ping\ndata: {{"as_of":"{iso(moment(model.as_of))}"}}\n\n'.encode()
