"""What the routes work with: one object, made by the process and by tests."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Protocol, TypeVar

from fastapi import Depends, Request

from schemas.control import control_key
from schemas.settings import Settings
from schemas.wire.command import Command, CommandResult
from streams.api.audit import Audit
from streams.api.caller import Identity
from streams.api.identity.console import Store
from streams.api.identity.oidc import Oidc
from streams.api.identity.passwords import Passwords
from streams.api.identity.sessions import Sessions
from streams.api.limits import Limit
from streams.api.model.model import Model
from streams.api.replays import Replays
from streams.control.audit import Actor
from streams.control.secrets import SecretKeys
from streams.control.state import Control
from streams.control.transaction import Plan, transact
from streams.control.write import Change
from streams.history.queries import Query
from streams.process.kafka import Kafka

T = TypeVar("T")
#: How often and after how many seconds a change is looked for in the followed configuration; another change may have
#: replaced it already.
_FOLLOWED_TRIES, _FOLLOWED_S = 200, 0.005


class Submit(Protocol):
    """Sends a person's command; the answer is pending if none comes in time."""

    async def submit(self, command: Command) -> CommandResult: ...


@dataclass(slots=True, kw_only=True)
class Parts:
    """`control` is the followed configuration; `query` asks ClickHouse; `commands` act on incidents.

    `identity` finds callers, of whom `sessions` are those with browsers; `store` has what the processes of the API
    remember together. `model` has the incidents. `limit` is for all requests of a caller, `logins` and `addresses` for
    attempts to log in with one login and from one address.
    """

    settings: Settings
    kafka: Kafka
    keys: SecretKeys
    control: Control
    query: Query
    commands: Submit
    model: Model
    identity: Identity
    audit: Audit
    store: Store
    sessions: Sessions
    replays: Replays
    now: Callable[[], int]
    oidc: Oidc | None = None
    passwords: Passwords = field(default_factory=Passwords)
    limit: Limit = field(default_factory=lambda: Limit(20, 200))
    logins: Limit = field(default_factory=lambda: Limit(1 / 15, 10))
    addresses: Limit = field(default_factory=lambda: Limit(1 / 2, 60))

    async def transact(self, plan: Plan[T], by: Actor) -> T:
        """Change the configuration (streams.control.transaction); `control` has the change when this returns."""
        wanted = Change()

        def noted(control: Control) -> tuple[T, Change]:
            nonlocal wanted
            result, found = plan(control)
            wanted = Change([*found.records], [*found.deletes])
            return result, wanted

        result = await transact(self.kafka, noted, self.keys, by)
        expected = {control_key(record): record for record in wanted.records} | dict.fromkeys(wanted.deletes)
        for _ in range(_FOLLOWED_TRIES):
            if all(self.control.records.get(key) == record for key, record in expected.items()):
                break
            await asyncio.sleep(_FOLLOWED_S)
        return result


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


#: A route's parameter of this type is the process's parts.
PartsOf = Annotated[Parts, Depends(_parts)]
