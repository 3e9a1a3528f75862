"""The stage that reads `notifications`: each one joins what waits for its destination and incident."""

from collections.abc import Iterator, Sequence

import msgspec

from schemas.records import Output, Record, State
from schemas.wire.codec import decode_notification
from schemas.wire.notification import Notification
from sinks.outbox.settle import superseded
from sinks.outbox.table import Earlier, Table, Waiting, place_of

#: The header of a notification that an operator sends again: it is sent although the destination has heard it.
REDELIVER = "redeliver"
#: Earlier notifications that one waiting message keeps; the oldest one beyond them ends as superseded at once.
MAX_EARLIER = 50


class Intake:
    """A stage: notifications wait in the table, newer ones of one incident in place of older ones.

    A copy of a notification that waits or was told already changes nothing: the stage before sends copies after a kill.
    """

    def __call__(self, state: State, records: Sequence[Record], now: int) -> Iterator[Output]:
        """Take each record in. Raises DecodeError for a record that is not a notification."""
        table = Table(state)
        for record in records:
            notification = decode_notification(record.value or b"")
            again = any(name == REDELIVER for name, _ in record.headers)
            yield from _join(table, notification, record, again)

    def on_due(self, state: State, due: Sequence[tuple[bytes, int]], now: int) -> Iterator[Output]:
        """Forget what destinations were told of incidents that are over."""
        table = Table(state)
        for key, _ in due:
            table.forget(key)
        return iter(())


def _join(table: Table, notification: Notification, record: Record, again: bool) -> Iterator[Output]:
    place = place_of(notification)
    heard = table.heard(place)
    if heard is not None and notification.incident.version <= heard.version and not again:
        return
    waiting = table.waiting(place)
    if waiting is None:
        fresh = Waiting(
            newest=notification,
            earlier=(),
            # What is sent again has its whole time again, however old it is.
            since=record.timestamp if again else notification.queued_at,
            attempts=0,
            next_at=0,
            partition=record.partition,
            offset=record.offset,
            redelivery=again,
        )
        table.wait(place, fresh)
        return
    newest = waiting.newest
    if notification.incident.version <= newest.incident.version:
        return
    earlier = (*waiting.earlier, Earlier(newest.notification_id, newest.transition, newest.queued_at))
    if len(earlier) > MAX_EARLIER:
        yield superseded(notification, earlier[0], notification.queued_at)
        earlier = earlier[1:]
    joined = msgspec.structs.replace(
        waiting, newest=notification, earlier=earlier, partition=record.partition, offset=record.offset, reached=()
    )
    table.wait(place, joined)
