"""The stage that reads `notifications`: each one joins what waits for its destination and incident."""

from collections.abc import Iterator, Sequence

import msgspec

from schemas.records import Output, Record, State, is_again
from schemas.wire.codec import decode_notification
from schemas.wire.notification import MAX_RELATED, Notification
from sinks.outbox.settle import superseded
from sinks.outbox.table import Earlier, Table, Waiting, place_of

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
            yield from _join(table, notification, record, is_again(record))

    def on_due(self, state: State, due: Sequence[tuple[bytes, int]], now: int) -> Iterator[Output]:
        """Forget what destinations were told of incidents that are over."""
        table = Table(state)
        for key, _ in due:
            table.forget(key)
        return iter(())


def _join(table: Table, notification: Notification, record: Record, again: bool) -> Iterator[Output]:
    place = place_of(notification)
    heard = table.heard(place)
    if heard is not None and notification.place <= (heard.version, heard.number) and not again:
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
    if notification.place <= newest.place:
        return
    earlier = (*waiting.earlier, Earlier(newest.notification_id, newest.transition, newest.queued_at))
    if len(earlier) > MAX_EARLIER:
        yield superseded(notification, earlier[0], notification.queued_at)
        earlier = earlier[1:]
    joined = msgspec.structs.replace(
        waiting,
        newest=_naming(notification, newest),
        earlier=earlier,
        partition=record.partition,
        offset=record.offset,
        reached=(),
    )
    table.wait(place, joined)


def _naming(newer: Notification, older: Notification) -> Notification:
    """The newer one, which also says what only the older one said: nobody heard of it yet."""
    if not newer.note and older.note:
        newer = msgspec.structs.replace(newer, note=older.note)
    if not (older.related or older.more):
        return newer
    named = {each.incident_id for each in newer.related}
    related = (*newer.related, *(each for each in older.related if each.incident_id not in named))
    more = max(newer.more, older.more) + len(related[MAX_RELATED:])
    return msgspec.structs.replace(newer, related=related[:MAX_RELATED], more=more)
