"""Sessions: a random value in a cookie, of which the topic has the hash. They end at once when they are revoked."""

import asyncio
from collections.abc import Callable, Iterator
from typing import NamedTuple

import structlog
from aiokafka.errors import KafkaError

from schemas.topics import DAY_MS, HOUR_MS, MINUTE_MS
from schemas.wire.console import Seen, Session
from streams.api.identity.console import Store
from streams.control.accounts import hash_of, new_secret_token

log = structlog.get_logger(__name__)

#: A session ends after so long without a request, and after so long in any case.
IDLE_MS = 12 * HOUR_MS
LONGEST_MS = 7 * DAY_MS
_SEEN_MS = MINUTE_MS
#: The characters of a session's hash by which it is named; they tell nothing about the cookie.
_ID_LENGTH = 16
_SWEEP_S = 3600
_AGENT = 200


class Active(NamedTuple):
    """A session that has not ended. Times are ms UTC."""

    hash: str
    session: Session
    seen_at: int

    @property
    def id(self) -> str:
        """How it is named."""
        return self.hash[:_ID_LENGTH]

    @property
    def expires_at(self) -> int:
        """When it ends if there is no further request."""
        return min(self.seen_at + IDLE_MS, self.session.created_at + LONGEST_MS)


class Sessions:
    """The sessions of `store`; `now` is the clock, ms UTC."""

    def __init__(self, store: Store, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now

    async def begin(self, account: str, tenant: str, address: str, agent: str) -> str:
        """Make a session, and return the cookie's value."""
        value = new_secret_token("sws")
        session = Session(account=account, tenant=tenant, created_at=self._now(), address=address, agent=agent[:_AGENT])
        await self._store.put(f"session/{hash_of(value)}", session)
        self.see(account)
        return value

    def find(self, value: str) -> Active | None:
        """The session of this cookie's value, None if it has ended."""
        key = hash_of(value)
        session = self._store.console.sessions.get(key)
        return None if session is None else self._active(key, session)

    def of(self, tenant: str) -> Iterator[Active]:
        """The tenant's sessions."""
        for key, session in [*self._store.console.sessions.items()]:
            if session.tenant == tenant and (active := self._active(key, session)) is not None:
                yield active

    async def end(self, active: Active) -> None:
        """End it, in every process."""
        await self._store.put(f"session/{active.hash}", None)

    async def end_all(self, tenant: str, account: str, but: Active | None = None) -> None:
        """End every session of an account, `but` one."""
        for active in self.of(tenant):
            if active.session.account == account and (but is None or active.hash != but.hash):
                await self.end(active)

    def see(self, *ids: str) -> None:
        """Remember that a session, an account or a token was used now; at most once a minute."""
        now = self._now()
        for name in ids:
            if now - self.seen_at(name) >= _SEEN_MS:
                self._store.note(f"seen/{name}", Seen(at=now))

    def seen_at(self, name: str) -> int:
        """When it was last used, ms UTC, 0 for never."""
        seen = self._store.console.seen.get(name)
        return 0 if seen is None else seen.at

    async def sweep(self) -> None:
        """Delete what has ended, each hour, for ever: every process does, as a second deletion does no harm."""
        while True:
            try:
                await self.delete_ended()
            except (KafkaError, OSError) as error:
                log.warning("ended sessions stay until later", error=type(error).__name__)
            await asyncio.sleep(_SWEEP_S)

    async def delete_ended(self) -> None:
        """Delete sessions that have ended, what is remembered of them, and links that can no longer be taken."""
        console, now = self._store.console, self._now()
        for key, session in [*console.sessions.items()]:
            if self._active(key, session) is None:
                await self._store.put(f"session/{key}", None)
        for name, link in [*console.setups.items()]:
            if link.expires_at <= now:
                await self._store.put(f"setup/{name}", None)
        known = {key[:_ID_LENGTH] for key in console.sessions}
        for name, seen in [*console.seen.items()]:
            if name not in known and seen.at <= now - 60 * DAY_MS:
                await self._store.put(f"seen/{name}", None)

    def _active(self, key: str, session: Session) -> Active | None:
        seen_at = max(session.created_at, self.seen_at(key[:_ID_LENGTH]))
        active = Active(key, session, seen_at)
        return active if self._now() < active.expires_at else None
