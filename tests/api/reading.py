"""A read model in a folder of the test, fed with records instead of a topic."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.topics import INCIDENTS
from schemas.wire.alert import Severity
from schemas.wire.codec import encode
from schemas.wire.incident import Incident, Status
from streams.api.model.model import Model
from streams.api.model.store import Store
from streams.process.kafka import Kafka

NOW = 1_795_000_000_000


@dataclass(frozen=True, slots=True)
class Record:
    """A record of the topic `incidents`."""

    key: bytes | None
    value: bytes | None
    offset: int = 0
    partition: int = 0
    timestamp: int = NOW
    topic: str = INCIDENTS.name
    headers: tuple[tuple[str, bytes], ...] = ()


def incident(number: int = 1, **changes: Any) -> Incident:
    """The incident with this number, which opened so many seconds after NOW."""
    values: dict[str, Any] = {
        "tenant": "default",
        "incident_id": number.to_bytes(16, "big"),
        "version": 1,
        "status": Status.OPEN,
        "severity": Severity.ERROR,
        "service": "web",
        "title": f"disk {number} is full",
        "dedup_key": f"disk/{number}",
        "correlation_key": number.to_bytes(16, "big"),
        "opened_at": NOW + number * 1000,
        "acknowledged_at": 0,
        "resolved_at": 0,
        "last_alert_at": NOW + number * 1000,
        "alert_count": 1,
        "repeat_count": 0,
        "member_count": 1,
    }
    return Incident(**(values | changes))


def records(*incidents: Incident) -> list[Record]:
    """A record of each."""
    return [Record(each.incident_id, encode(each)) for each in incidents]


def gone(incident_id: bytes) -> Record:
    """The record that deletes an incident."""
    return Record(incident_id, None)


class Fed(Model):
    """A read model without its thread: `feed` takes the place of the topic."""

    def __init__(self, path: Path) -> None:
        super().__init__(Kafka("127.0.0.1:1"), path)
        self.store = Store(path)
        self._current.set()

    def feed(self, batch: Iterable[Record], as_of: int = NOW) -> None:
        """Apply the records as one transaction."""
        self.take(self.store.apply(batch, {0: 1}, NOW), as_of, 0)


@asynccontextmanager
async def reading(folder: Path, *incidents: Incident) -> AsyncIterator[Fed]:
    """A model with these incidents."""
    model = Fed(folder / "api" / "incidents.sqlite")
    model.feed(records(*incidents))
    try:
        yield model
    finally:
        await model.stop()
        model.store.close()
