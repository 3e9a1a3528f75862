"""The event stream of a tenant's incidents: one shared list of the newest events, which every client reads at its pace.

Changes wait at most a quarter of a second and leave as one event, an incident once. What people act on (opened, another
status or severity) leaves before counts. A client that reads too slowly, or comes back too late, finds that events are
missing and gets `reset`: it must read its list again. So memory does not depend on the number of clients.

Format of events: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from os import urandom

import msgspec

from schemas.fingerprint import uuid_text
from schemas.wire.incident import Incident as WireIncident
from streams.api.incident import Incident
from streams.api.model.store import Applied
from streams.api.times import iso, moment

#: Seconds between two events of a tenant.
PERIOD_S = 0.25
#: Incidents in one event, the rest waits for the next.
MAX_CHANGED = 250
#: Changes that people act on that may wait; with more of them, everybody must read anew.
MAX_WAITING = 5_000
#: Events that are kept for clients that come back: one minute, if there is always something new.
KEPT = 240
KEPT_BYTES = 16 * 1024 * 1024
#: Events of before that a new client gets: it may have read its list a moment ago.
_OVERLAP = 8


class Feed:
    """One tenant's events. Used on one event loop."""

    def __init__(self) -> None:
        #: Numbers of another feed, or of a process of before, mean nothing here.
        self._name = urandom(4).hex()
        self._kept: deque[bytes] = deque()
        self._bytes = 0
        self._last = 0
        self._news: dict[bytes, WireIncident] = {}
        self._counted: dict[bytes, WireIncident] = {}
        self._gone: dict[str, None] = {}
        self._arrived = asyncio.Event()

    def put(self, incident: WireIncident, *, news: bool) -> None:
        """Add the newest state of an incident."""
        key = incident.incident_id
        if news or key in self._news:
            self._counted.pop(key, None)
            self._news[key] = incident
        else:
            self._counted[key] = incident

    def remove(self, key: str) -> None:
        """An incident, by its id in hex, is not kept any more."""
        raw = bytes.fromhex(key)
        self._news.pop(raw, None)
        self._counted.pop(raw, None)
        self._gone[uuid_text(raw)] = None

    def flush(self, as_of: int) -> None:
        """Make an event of what waits, if something does. `as_of` is in milliseconds since 1970 UTC."""
        if len(self._news) > MAX_WAITING or len(self._gone) > MAX_WAITING:
            self.reset()
            return
        changed = list(self._take())
        if not changed and not self._gone:
            return
        incidents = ",".join(Incident.of(incident).model_dump_json() for incident in changed)
        gone = msgspec.json.encode(list(self._gone)).decode()
        self._gone.clear()
        data = f'{{"as_of":"{iso(moment(as_of))}","changed":[{incidents}],"gone":{gone}}}'
        self._last += 1
        event = f"id: {self._name}-{self._last}\nevent: incidents\ndata: {data}\n\n".encode()
        self._kept.append(event)
        self._bytes += len(event)
        while len(self._kept) > KEPT or self._bytes > KEPT_BYTES:
            self._bytes -= len(self._kept.popleft())
        self._wake()

    def reset(self) -> None:
        """Forget all events: every client must read its list again."""
        for waiting in (self._news, self._counted, self._gone, self._kept):
            waiting.clear()
        self._bytes = 0
        self._last += 1
        self._wake()

    def place(self, event_id: str | None) -> int:
        """The number of the event after which a client goes on, by the id of the last event that it has seen.

        -1 is a place of which nothing is known.
        """
        if event_id is None:
            return max(self._last - len(self._kept), self._last - _OVERLAP)
        name, _, number = event_id.partition("-")
        known = name == self._name and number.isdecimal() and int(number) <= self._last
        return int(number) if known else -1

    def after(self, place: int) -> tuple[list[bytes], int]:
        """The events after a place, `reset` if some of them are not kept, and the place after them."""
        missed = place < self._last - len(self._kept)
        if missed:
            return [f"id: {self._name}-{self._last}\nevent: reset\ndata: {{}}\n\n".encode()], self._last
        seen = len(self._kept) - (self._last - place)
        return list(islice(self._kept, seen, None)), self._last

    async def wait(self, place: int, seconds: float) -> None:
        """Return when there is an event after the place, or after so many seconds."""
        if self._last > place:
            return
        arrived = self._arrived
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await arrived.wait()

    def _take(self) -> Iterator[WireIncident]:
        room = MAX_CHANGED
        for waiting in (self._news, self._counted):
            for key in list(islice(waiting, room)):
                yield waiting.pop(key)
                room -= 1

    def _wake(self) -> None:
        self._arrived.set()
        self._arrived = asyncio.Event()


class Feeds:
    """The feeds of all tenants."""

    def __init__(self) -> None:
        self._feeds: dict[str, Feed] = {}

    def of(self, tenant: str) -> Feed:
        """The tenant's feed."""
        feed = self._feeds.get(tenant)
        if feed is None:
            feed = self._feeds[tenant] = Feed()
        return feed

    def take(self, applied: Applied) -> None:
        """Add what a batch changed."""
        for incident in applied.news:
            self.of(incident.tenant).put(incident, news=True)
        for incident in applied.counted:
            self.of(incident.tenant).put(incident, news=False)
        for tenant, key in applied.gone:
            self.of(tenant).remove(key)

    def flush(self, as_of: int) -> None:
        """Make the next event of each tenant."""
        for feed in self._feeds.values():
            feed.flush(as_of)

    def reset(self) -> None:
        """The incidents are read anew: so must every client."""
        for feed in self._feeds.values():
            feed.reset()
