"""How a waiting message ends: pure transactions over the notifier's table, with the rows they write to history.

Each notification ends with one row that is not `retry`. While a message was under way a newer notification may have
joined it: then only what was sent ends, and the newer one goes on waiting.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from schemas import topics
from schemas.fingerprint import digest
from schemas.records import Output, State
from schemas.wire.codec import encode
from schemas.wire.deadletter import DeadLetter
from schemas.wire.incident import Status
from schemas.wire.notification import Delivery, Notification, Outcome, Transition, notification_id
from sinks.outbox.table import Earlier, Heard, Place, Table, Waiting

#: How long it is remembered what a destination was told: of a resolved incident, and of another.
KEEP_RESOLVED_MS = topics.DAY_MS
KEEP_OPEN_MS = 30 * topics.DAY_MS

#: Changes the table and gives the records to send.
Work = Callable[[State], Iterable[Output]]


class Attempt(NamedTuple):
    """What is known of one attempt. `sent_at` 0 means that nothing was sent; `reason` is "" when all is well."""

    channel: str
    sent_at: int
    finished_at: int
    http_status: int = 0
    reason: str = ""


class Sent(NamedTuple):
    """A message as it was when it was taken out."""

    place: Place
    waiting: Waiting


def delivered(sent: Sent, attempt: Attempt, handle: str) -> Work:
    """The destination has it; `handle` is the vendor's, "" to keep the one that is known."""

    def work(state: State) -> Iterator[Output]:
        table = Table(state)
        _hear(table, sent, handle, attempt.finished_at)
        yield from _end(table, sent, Outcome.DELIVERED, attempt)

    return work


def reaching(sent: Sent, recipients: tuple[str, ...]) -> Sent:
    """The message, once these recipients have it too."""
    reached = (*sent.waiting.reached, *recipients)
    return sent._replace(waiting=msgspec.structs.replace(sent.waiting, reached=reached))


def retried(sent: Sent, attempt: Attempt, next_at: int) -> Work:
    """The attempt failed and is made again at `next_at`, for all whom it did not reach."""

    def work(state: State) -> Iterator[Output]:
        table = Table(state)
        yield _row(_delivery(sent.waiting.newest, Outcome.RETRY, attempt, sent.waiting.attempts + 1))
        waiting = table.waiting(sent.place)
        if waiting is not None:
            attempts = sent.waiting.attempts + 1
            same = waiting.newest.notification_id == sent.waiting.newest.notification_id
            reached = sent.waiting.reached if same else ()
            again = msgspec.structs.replace(waiting, attempts=attempts, next_at=next_at, reached=reached)
            table.wait(sent.place, again)

    return work


def given_up(sents: Sequence[Sent], attempt: Attempt, fallback: str | None) -> Work:
    """These messages are dead letters; with `fallback` that destination is told instead.

    One that reached some of its recipients counts as delivered, with the reason why it did not reach the others: as a
    dead letter it would be sent to all of them again.
    """

    def work(state: State) -> Iterator[Output]:
        table = Table(state)
        for sent in sents:
            notification = sent.waiting.newest
            if sent.waiting.reached:
                _hear(table, sent, "", attempt.finished_at)
                yield from _end(table, sent, Outcome.DELIVERED, attempt)
                continue
            yield from _end(table, sent, Outcome.FAILED, attempt)
            yield _dead_letter(sent.waiting, attempt)
            if fallback is not None and fallback != notification.destination:
                yield queued(_to(notification, fallback, attempt.finished_at))

    return work


def skipped(sents: Sequence[Sent], channel: str, reason: str, now: int) -> Work:
    """Nothing is sent, for `reason`."""

    def work(state: State) -> Iterator[Output]:
        table = Table(state)
        for sent in sents:
            yield from _end(table, sent, Outcome.SUPPRESSED, Attempt(channel, 0, now, 0, reason))

    return work


def summarised(sents: Sequence[Sent], own_id: bytes | None, attempt: Attempt) -> Work:
    """A summary told all of these. With `own_id` its own row is written too, which names no incident."""

    def work(state: State) -> Iterator[Output]:
        table = Table(state)
        if own_id is not None:
            row = _delivery(sents[0].waiting.newest, Outcome.DELIVERED, attempt, 1)
            yield _row(msgspec.structs.replace(row, notification_id=own_id, incident_id=bytes(16)))
        for sent in sents:
            _hear(table, sent, "", attempt.finished_at)
            yield from _end(table, sent, Outcome.SUPPRESSED, attempt._replace(reason="digest"))

    return work


def superseded(newer: Notification, earlier: Earlier, now: int) -> Output:
    """The row of a notification that a newer one of the same incident replaced."""
    row = Delivery(
        tenant=newer.tenant,
        notification_id=earlier.notification_id,
        incident_id=newer.incident.incident_id,
        channel="",
        destination=newer.destination,
        transition=Transition(earlier.transition),
        attempt=0,
        queued_at=earlier.queued_at,
        sent_at=0,
        finished_at=now,
        outcome=Outcome.SUPPRESSED,
        error="superseded",
    )
    return _row(row)


def queued(notification: Notification) -> Output:
    """The record of a notification: all of a destination are on one partition, so that one notifier has them all."""
    key = f"{notification.tenant}/{notification.destination}".encode()
    return Output(topics.NOTIFICATIONS.name, key, encode(notification))


def summary_id(sents: Sequence[Sent]) -> bytes:
    """16 bytes that stand for a summary of these messages; the same messages give the same."""
    return digest(*sorted(sent.waiting.newest.notification_id.hex() for sent in sents))


def _end(table: Table, sent: Sent, outcome: Outcome, attempt: Attempt) -> Iterator[Output]:
    """The rows of everything that was sent; what joined since then goes on waiting."""
    place, was = sent
    for earlier in was.earlier:
        yield superseded(was.newest, earlier, attempt.finished_at)
    attempts = was.attempts + 1 if attempt.sent_at else was.attempts
    yield _row(_delivery(was.newest, outcome, attempt, attempts))
    now = table.waiting(place)
    if now is None or now.newest.notification_id == was.newest.notification_id:
        table.leave(place)
        return
    ended = {was.newest.notification_id, *(earlier.notification_id for earlier in was.earlier)}
    rest = tuple(earlier for earlier in now.earlier if earlier.notification_id not in ended)
    since = rest[0].queued_at if rest else now.newest.queued_at
    table.wait(place, msgspec.structs.replace(now, earlier=rest, since=since, attempts=0, next_at=0, redelivery=False))


def _hear(table: Table, sent: Sent, handle: str, now: int) -> None:
    incident = sent.waiting.newest.incident
    known = table.heard(sent.place)
    keep = KEEP_RESOLVED_MS if incident.status == Status.RESOLVED else KEEP_OPEN_MS
    version, number = max(sent.waiting.newest.place, (known.version, known.number) if known is not None else (0, 0))
    kept = handle or (known.handle if known is not None else "")
    table.hear(sent.place, Heard(version, kept, now + keep, number))


def _row(row: Delivery) -> Output:
    return Output(topics.NOTIFICATIONS_RESULTS.name, row.notification_id, encode(row))


def _delivery(notification: Notification, outcome: Outcome, attempt: Attempt, number: int) -> Delivery:
    return Delivery(
        tenant=notification.tenant,
        notification_id=notification.notification_id,
        incident_id=notification.incident.incident_id,
        channel=attempt.channel,
        destination=notification.destination,
        transition=notification.transition,
        attempt=number,
        queued_at=notification.queued_at,
        sent_at=attempt.sent_at,
        finished_at=attempt.finished_at,
        outcome=outcome,
        http_status=attempt.http_status,
        error=attempt.reason,
    )


def _dead_letter(waiting: Waiting, attempt: Attempt) -> Output:
    letter = DeadLetter(
        stage="notify",
        reason="undelivered",
        error=attempt.reason,
        topic=topics.NOTIFICATIONS.name,
        partition=waiting.partition,
        offset=waiting.offset,
        at=attempt.finished_at,
        key=f"{waiting.newest.tenant}/{waiting.newest.destination}".encode(),
        body=encode(waiting.newest),
    )
    return Output(topics.DEADLETTERS.name, letter.key, letter.body, None, letter.headers())


def _to(notification: Notification, destination: str, now: int) -> Notification:
    """The same news for another destination."""
    incident = notification.incident
    own = notification_id(
        incident.incident_id, incident.version, notification.transition, destination, notification.number
    )
    return msgspec.structs.replace(notification, notification_id=own, destination=destination, queued_at=now)
