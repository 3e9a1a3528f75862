"""The read model as the routes use it: one object, on the event loop of the API."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import structlog

from schemas.wire.incident import Incident, Status
from streams.api.model.feed import PERIOD_S, Feeds
from streams.api.model.follow import Follower
from streams.api.model.pages import (
    Facets,
    Filter,
    Order,
    Page,
    Place,
    Searches,
    narrowed,
    read_facets,
    read_incident,
    read_page,
)
from streams.api.model.store import Applied, is_lost
from streams.api.problems import ProblemError
from streams.process.kafka import Kafka

T = TypeVar("T")

log = structlog.get_logger(__name__)

FILE = "api/incidents.sqlite"
_READERS = 2
#: Incidents that are read at once where all are read.
_PAGE = 500
_BUSY_S = 5.0
_CACHE_KIB = 16 * 1024


class Model:
    """The incidents that are on the topic: those that are not resolved, and those resolved within the retention.

    `as_of` is the time up to which it has everything, in milliseconds since 1970 UTC, `lag` how many records of the
    topic are not read yet, None if that is not known. Nothing is read or written before `start`.
    """

    def __init__(self, kafka: Kafka, path: Path) -> None:
        self.feeds = Feeds()
        self.as_of = 0
        self.lag: int | None = None
        self._path = path
        self._follower = Follower(kafka, path, self._heard, self._renewed)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="incidents-read")
        self._local = threading.local()
        #: Counts the files: a reader connects again to a new one.
        self._file = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._current = asyncio.Event()
        self._waiting: dict[bytes, set[asyncio.Event]] = {}
        self._flusher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return once it has all that was on the topic. Waits for Kafka."""
        self._loop = asyncio.get_running_loop()
        self._flusher = asyncio.create_task(self._flush(), name="feeds")
        self._follower.start()
        await self._current.wait()

    async def stop(self) -> None:
        """Stop following."""
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.gather(self._flusher, return_exceptions=True)
        await asyncio.to_thread(self._follower.stop)
        self._readers.shutdown()

    async def page(self, which: Filter, order: Order, after: Place | None, limit: int) -> tuple[Page, Facets]:
        """A page and the counts at one moment. Raises ProblemError while the file is made again."""

        def read(db: sqlite3.Connection) -> tuple[Page, Facets]:
            db.execute("BEGIN")
            try:
                found = narrowed(db, which, self._local.searches)
                return read_page(db, found, order, after, limit), read_facets(db, found)
            finally:
                db.execute("ROLLBACK")

        return await self._read(read)

    async def working(self, tenant: str, matches: Callable[[Incident], bool]) -> list[Incident]:
        """The tenant's incidents that are not resolved and match, in the order of work.

        `matches` is called in another thread. Raises ProblemError while the file is made again.
        """
        which = Filter(tenant, statuses=[Status.OPEN, Status.ACKNOWLEDGED])

        def read(db: sqlite3.Connection) -> list[Incident]:
            found: list[Incident] = []
            after: Place | None = None
            db.execute("BEGIN")
            try:
                while True:
                    page = read_page(db, which, "priority", after, _PAGE)
                    found += filter(matches, page.incidents)
                    after = page.next
                    if after is None:
                        return found
            finally:
                db.execute("ROLLBACK")

        return await self._read(read)

    async def find(self, tenant: str, incident_id: bytes) -> Incident | None:
        """The tenant's incident with this id. Raises ProblemError while the file is made again."""
        return await self._read(lambda db: read_incident(db, tenant, incident_id))

    async def shows(self, tenant: str, incident_id: bytes, version: int, seconds: float) -> bool:
        """Whether the incident is shown in this version or a later one, at the latest after so many seconds."""
        changed = asyncio.Event()
        self._waiting.setdefault(incident_id, set()).add(changed)
        try:
            async with asyncio.timeout(seconds):
                while True:
                    found = await self.find(tenant, incident_id)
                    if found is not None and found.version >= version:
                        return True
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            return False
        finally:
            waiting = self._waiting[incident_id]
            waiting.discard(changed)
            if not waiting:
                del self._waiting[incident_id]

    def take(self, applied: Applied, as_of: int, lag: int | None) -> None:
        """What a batch changed is in the file now."""
        self.as_of, self.lag = as_of, lag
        if not self._current.is_set():
            # Nobody has a list yet that these would change.
            if lag == 0:
                self._current.set()
            return
        self.feeds.take(applied)
        if self._waiting:
            for incident in (*applied.news, *applied.counted):
                for changed in self._waiting.get(incident.incident_id, ()):
                    changed.set()

    def renew(self) -> None:
        """The file is another one now."""
        self._file += 1
        self.feeds.reset()

    def _heard(self, applied: Applied, as_of: int, lag: int | None) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(lambda: self.take(applied, as_of, lag))

    def _renewed(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.renew)

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(PERIOD_S)
            self.feeds.flush(self.as_of)

    async def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        file = self._file

        def run() -> T:
            if getattr(self._local, "file", None) != file:
                self._local.db, self._local.searches = _connected(self._path), Searches()
                self._local.file = file
            return read(self._local.db)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, run)
        except sqlite3.Error as error:
            log.warning("the list of incidents cannot be read", reason=str(error))
            if is_lost(error):
                self._follower.renew()
            raise ProblemError(503, "the list of incidents is read again", headers={"Retry-After": "2"}) from None


def _connected(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=_BUSY_S)
    db.execute("PRAGMA query_only = true")
    db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    return db
