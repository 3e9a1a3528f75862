"""The application on parts that a test chooses, called over ASGI as each of the roles."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2
import pytest
from argon2 import PasswordHasher
from fastapi import Request

from schemas.control import control_key, dump
from schemas.control.record import AnyRecord
from schemas.settings import Settings
from schemas.wire.audit import AuditRecord
from schemas.wire.codec import encode
from schemas.wire.command import Command, CommandEnd, CommandResult
from streams.api.app import application
from streams.api.audit import Audit
from streams.api.caller import Caller
from streams.api.identity.console import Console, Value
from streams.api.identity.passwords import Passwords
from streams.api.identity.sessions import Sessions
from streams.api.model.model import FILE, Model
from streams.api.parts import Parts
from streams.api.replays import Replays
from streams.api.roles import Role
from streams.control.audit import Actor, audit_of
from streams.control.secrets import NO_KEYS
from streams.control.state import Control
from streams.control.transaction import Plan
from streams.control.write import values_of
from streams.process.kafka import Kafka

T = TypeVar("T")
#: With parameters far too weak for anything but tests.
_PASSWORDS = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


class Known:
    """An identity for tests: the header `X-Caller: tenant/role` is the caller."""

    async def caller(self, request: Request) -> Caller | None:
        """The caller that the header names."""
        tenant, _, role = request.headers.get("x-caller", "").partition("/")
        return Caller(tenant, f"a-{role}", role, Role.of(role), f"a-{role}") if role else None


class Memory:
    """The store of one test; `now` is the clock of everything, ms UTC."""

    def __init__(self) -> None:
        self.console = Console()
        self.audit: list[AuditRecord] = []
        self.now = 1_795_000_000_000

    async def put(self, key: str, value: Value | None) -> None:
        """Apply it."""
        self.console.apply(key, None if value is None else encode(value))

    def note(self, key: str, value: Value) -> None:
        """Apply it."""
        self.console.apply(key, encode(value))

    async def keep(self, entry: AuditRecord) -> None:
        """Keep a record of the audit."""
        self.audit.append(entry)


@dataclass(slots=True, kw_only=True)
class Offline(Parts):
    """Parts whose configuration is in memory only."""

    memory: Memory

    async def transact(self, plan: Plan[T], by: Actor) -> T:
        """Apply the change, and keep its audit."""
        result, wanted = plan(self.control)
        self.memory.audit += audit_of(wanted, self.control.records, by, self.memory.now)
        for key, value in values_of(wanted, self.keys).items():
            assert self.control.apply(key, value) is None
        return result


class Sent:
    """Commands that were submitted; all are done."""

    def __init__(self) -> None:
        self.commands: list[Command] = []

    async def submit(self, command: Command) -> CommandResult:
        """Keep the command."""
        self.commands.append(command)
        return CommandResult(end=CommandEnd.DONE, version=2, status="acknowledged", title="disk full")


def parts(*records: AnyRecord, rows: Mapping[str, list[dict[str, Any]]] | None = None, **more: Any) -> Offline:
    """Parts without Kafka and ClickHouse: these records, and for each SQL text its rows."""
    memory = Memory()
    control = Control()
    for record in records:
        assert control.apply(control_key(record), dump(record)) is None

    async def query(sql: str, _: Mapping[str, object]) -> list[dict[str, Any]]:
        return (rows or {}).get(sql, [])

    settings = Settings()
    made: dict[str, Any] = {
        "settings": settings,
        "kafka": Kafka.of(settings),
        "keys": NO_KEYS,
        "control": control,
        "query": query,
        "commands": Sent(),
        "model": Model(Kafka.of(settings), settings.data_dir / FILE),
        "identity": Known(),
        "audit": Audit(memory.keep, lambda: memory.now),
        "store": memory,
        "replays": Replays(settings),
        "sessions": Sessions(memory, lambda: memory.now),
        "now": lambda: memory.now,
        "passwords": _PASSWORDS,
        "memory": memory,
    }
    return Offline(**{**made, **more})


Client = httpx2.AsyncClient
MakeClient = Callable[..., Awaitable[Client]]


@pytest.fixture
async def client() -> AsyncIterator[MakeClient]:
    """`await client(parts, "admin")`: a client that calls as this role of the tenant `default`."""
    async with AsyncExitStack() as stack:

        async def make(made: Parts, role: str = "admin", tenant: str = "default") -> Client:
            transport = httpx2.ASGITransport(app=application(made), raise_app_exceptions=False)
            headers = {"X-Caller": f"{tenant}/{role}"} if role else {}
            return await stack.enter_async_context(
                Client(transport=transport, base_url="http://stormweir/api/v1", headers=headers)
            )

        yield make
