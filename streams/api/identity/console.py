"""The topic `console` (schemas.wire.console): followed into memory, and written."""

from typing import Protocol, TypeVar

import msgspec
import structlog
from aiokafka import AIOKafkaProducer, ConsumerRecord

from schemas.topics import CONSOLE
from schemas.wire.codec import DecodeError, encode
from schemas.wire.console import Seen, Session, SetupLink, View
from streams.api.later import Later
from streams.process.follow import Follower
from streams.process.kafka import Kafka

log = structlog.get_logger(__name__)

Value = Session | Seen | View | SetupLink
V = TypeVar("V", Session, Seen, View, SetupLink)


class Console:
    """What the topic says, by the ids in its keys."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.seen: dict[str, Seen] = {}
        self.views: dict[str, View] = {}
        self.setups: dict[str, SetupLink] = {}

    def apply(self, key: str, value: bytes | None) -> None:
        """Apply one record; None deletes. Raises DecodeError for a value that is none of its kind."""
        kind, _, name = key.partition("/")
        match kind:
            case "session":
                _apply(self.sessions, Session, name, value)
            case "seen":
                _apply(self.seen, Seen, name, value)
            case "view":
                _apply(self.views, View, name, value)
            case "setup":
                _apply(self.setups, SetupLink, name, value)


def _apply(held: dict[str, V], kind: type[V], name: str, value: bytes | None) -> None:
    if value is None:
        held.pop(name, None)
    else:
        held[name] = msgspec.msgpack.decode(value, type=kind)


class Store(Protocol):
    """Where the state is kept."""

    console: Console

    async def put(self, key: str, value: Value | None) -> None:
        """Write a record, or delete it; returns once `console` has it. Raises aiokafka's errors."""

    def note(self, key: str, value: Value) -> None:
        """Keep a record in `console` now, and write it some time; it may be lost."""


class ConsoleTopic:
    """The store that every process of the API shares. `producer` is started and stopped by the caller."""

    def __init__(self, kafka: Kafka, producer: AIOKafkaProducer) -> None:
        self.console = Console()
        self._name = kafka.name(CONSOLE.name)
        self._producer = producer
        self._later = Later()
        self._follower = Follower(kafka, CONSOLE, self._take)

    async def start(self) -> None:
        """Read the topic, and keep following it. Raises aiokafka's errors."""
        self._follower.follow(await self._follower.catch_up())

    async def stop(self) -> None:
        """Stop following."""
        await self._follower.stop()

    async def put(self, key: str, value: Value | None) -> None:
        """See Store."""
        encoded = None if value is None else encode(value)
        sent = await self._producer.send_and_wait(self._name, encoded, key=key.encode(), partition=0)
        await self._follower.reached(sent.offset)

    def note(self, key: str, value: Value) -> None:
        """See Store."""
        encoded = encode(value)
        self.console.apply(key, encoded)
        self._later(self._producer.send(self._name, encoded, key=key.encode(), partition=0))

    def _take(self, record: ConsumerRecord) -> None:
        key = (record.key or b"").decode("utf-8", "replace")
        try:
            self.console.apply(key, record.value)
        except DecodeError:
            log.warning("console: record refused", kind=key.partition("/")[0])
