"""What dispatch sends: a notification to a destination, or the reason why a destination gets none."""

from collections.abc import Sequence
from typing import NamedTuple

from schemas.records import Output
from schemas.topics import NOTIFICATIONS, NOTIFICATIONS_RESULTS
from schemas.wire.codec import encode
from schemas.wire.incident import Incident
from schemas.wire.notification import Delivery, Notification, Outcome, Related, Transition, notification_id

#: What the time brings, not a change of the incident; such messages are numbered.
TIMED = frozenset({Transition.REMINDER, Transition.SLA_BREACH, Transition.UPDATED})


class Notice(NamedTuple):
    """What a user is told of several open incidents: the most severe ones by id, and how many there are in `total`.

    Destinations that were told of all of them at `since` or later hear nothing. `user` is an id or an account.
    """

    tenant: str
    user: str
    note: str
    incident_ids: Sequence[bytes]
    total: int
    since: int


def message(
    incident: Incident,
    transition: Transition,
    destination: str,
    now: int,
    *,
    mentions: tuple[str, ...],
    number: int,
    note: str,
    related: tuple[Related, ...],
    more: int,
) -> Output:
    """The notification; `number` orders those that are about one version of the incident."""
    own = number if transition in TIMED else 0
    notification = Notification(
        notification_id=notification_id(incident.incident_id, incident.version, transition, destination, own),
        tenant=incident.tenant,
        destination=destination,
        transition=transition,
        queued_at=now,
        incident=incident,
        mentions=mentions,
        number=number,
        related=related,
        more=more,
        note=note,
    )
    # All of a destination are on one partition, so that one notifier has them all.
    return Output(NOTIFICATIONS.name, f"{incident.tenant}/{destination}".encode(), encode(notification))


def skipped(incident: Incident, transition: Transition, destination: str, reason: str, now: int) -> Output:
    """The row that says why a destination is not told, or ("") why there is none."""
    row = Delivery(
        tenant=incident.tenant,
        notification_id=notification_id(incident.incident_id, incident.version, transition, destination),
        incident_id=incident.incident_id,
        channel="",
        destination=destination,
        transition=transition,
        attempt=0,
        queued_at=now,
        sent_at=0,
        finished_at=now,
        outcome=Outcome.SUPPRESSED,
        error=reason,
    )
    return Output(NOTIFICATIONS_RESULTS.name, row.notification_id, encode(row))
