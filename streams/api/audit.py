"""The audit of what changes no configuration: commands, log-ins, refusals (streams.control.audit has the rest)."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from aiokafka import AIOKafkaProducer

from schemas.fingerprint import uuid7
from schemas.topics import AUDIT
from schemas.wire.audit import AuditRecord
from schemas.wire.codec import encode
from streams.api.later import Later
from streams.control.audit import Actor, shown_json
from streams.process.kafka import Kafka


class Put(Protocol):
    """Where records of the audit go."""

    async def __call__(self, entry: AuditRecord) -> None: ...


class Audit:
    """Writes the audit through `put`; `now` is the clock, ms UTC."""

    def __init__(self, put: Put, now: Callable[[], int]) -> None:
        self._put = put
        self._now = now
        self._later = Later()

    async def add(
        self,
        tenant: str,
        by: Actor,
        action: str,
        kind: str,
        id: str,  # noqa: A002 - the record's field
        *,
        outcome: str = "done",
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None:
        """Write what was done: `action` is a verb in the past. The values hold no secret. Raises aiokafka's errors."""
        now = self._now()
        await self._put(
            AuditRecord(
                tenant=tenant,
                audit_id=uuid7(now),
                at=now,
                actor=by.name,
                action=action,
                kind=kind,
                id=id,
                outcome=outcome,
                before=shown_json(before),
                after=shown_json(after),
                address=by.address,
            )
        )

    def refused(self, tenant: str, by: Actor, operation: str, outcome: str) -> None:
        """Write, some time, that somebody was not let do something."""
        self._later(self.add(tenant, by, operation, "", "", outcome=outcome))


class AuditTopic:
    """Puts records on the topic `audit`. `producer` is started and stopped by the caller."""

    def __init__(self, kafka: Kafka, producer: AIOKafkaProducer) -> None:
        self._name = kafka.name(AUDIT.name)
        self._producer = producer

    async def __call__(self, entry: AuditRecord) -> None:
        """See Put."""
        await self._producer.send_and_wait(self._name, encode(entry), key=entry.tenant.encode())
