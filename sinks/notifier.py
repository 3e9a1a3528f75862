"""The sink that delivers notifications. Every attempt is a row of history, a failed notification a dead letter."""

from collections.abc import Sequence
from typing import Protocol

from schemas import topics
from schemas.records import Output, Record
from schemas.wire.codec import DecodeError, decode_notification, encode
from schemas.wire.deadletter import DeadLetter
from schemas.wire.notification import Delivery, Notification, Outcome


class Delivers(Protocol):
    """The part of sinks.deliver.Deliverer that the notifier uses."""

    async def deliver(self, notification: Notification) -> list[Delivery]: ...


class Notifier:
    """A TaskSink: one delivery per record, in order per destination and incident (the record's key)."""

    max_tasks = 2_000
    #: Seconds: four attempts of 30 s, the pauses between, and the wait for a broken destination, with a margin.
    patience = 600.0

    def __init__(self, deliverer: Delivers) -> None:
        self._deliverer = deliverer

    def order_key(self, record: Record) -> bytes:
        """The record's key: destination and incident."""
        return record.key or b""

    async def perform(self, record: Record) -> Sequence[Output]:
        """Deliver the record's notification; the outputs are its attempts, and a dead letter if it failed."""
        try:
            notification = decode_notification(record.value or b"")
        except DecodeError as error:
            return [_dead_letter(record, "bad_notification", str(error))]
        deliveries = await self._deliverer.deliver(notification)
        key = notification.notification_id
        outputs = [Output(topics.NOTIFICATIONS_RESULTS.name, key, encode(delivery)) for delivery in deliveries]
        if deliveries[-1].outcome == Outcome.FAILED:
            outputs.append(_dead_letter(record, "undelivered", deliveries[-1].error))
        return outputs


def _dead_letter(record: Record, reason: str, error: str) -> Output:
    letter = DeadLetter(
        stage="notify",
        reason=reason,
        error=error,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        at=record.timestamp,
        key=record.key or b"",
        body=record.value or b"",
    )
    return Output(topics.DEADLETTERS.name, letter.key or b"-", letter.body, None, letter.headers())
