"""Notifications and their delivery attempts. Times are milliseconds since 1970 UTC."""

from enum import StrEnum
from typing import Literal

import msgspec

from schemas.fingerprint import digest
from schemas.wire.alert import Severity
from schemas.wire.incident import Incident, Status

#: Incidents that a message names beside its own; the rest are counted.
MAX_RELATED = 20


class Transition(StrEnum):
    """What a notification reports: a change of the incident, or that it is still open, or was not handled in time."""

    TRIGGERED = "triggered"
    ESCALATED = "escalated"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    UNACKNOWLEDGED = "unacknowledged"
    REMINDER = "reminder"
    SLA_BREACH = "sla_breach"
    UPDATED = "updated"


class Change(StrEnum):
    """What became of another incident of a message since the message before, in the order in which it is told."""

    NEW = "new"
    ESCALATED = "escalated"
    #: Opened and resolved, or resolved and opened again.
    FLAPPED = "flapped"
    RESOLVED = "resolved"
    OPEN = "open"


class Related(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """Another incident that a message names."""

    incident_id: bytes
    title: str
    severity: Severity
    status: Status
    service: str
    change: Change


class Notification(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """One message to one destination, on `notifications`. The id is stable over retries and replays.

    `mentions` are those of the rules that route to the destination (schemas.control.rule.Mention). `number` grows with
    each message that nothing but the time caused: it orders messages about one version of the incident. `related` are
    the other incidents that the message tells of, at most MAX_RELATED, and `more` is how many others there are.
    `note` says in a sentence why it is sent, if that is not the incident itself.
    """

    notification_id: bytes
    tenant: str
    destination: str
    transition: Transition
    queued_at: int
    incident: Incident
    mentions: tuple[str, ...] = ()
    number: int = 0
    related: tuple[Related, ...] = ()
    more: int = 0
    note: str = ""

    @property
    def place(self) -> tuple[int, int]:
        """Where it is in the order of the messages about its incident."""
        return self.incident.version, self.number


def notification_id(
    incident_id: bytes, version: int, transition: Transition, destination: str, number: int = 0
) -> bytes:
    """16 bytes, derived from the arguments; `version` is the incident's at the transition. Same message, same id.

    `number` is of messages that the time caused, and 0 for a change of the incident.
    """
    timed = (str(number),) if number else ()
    return digest(incident_id.hex(), str(version), transition, destination, *timed)


class Outcome(StrEnum):
    """How one delivery attempt ended."""

    DELIVERED = "delivered"
    RETRY = "retry"
    FAILED = "failed"
    SUPPRESSED = "suppressed"


class Delivery(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """One attempt, on `notifications.results`. `error` is a short reason by Stormweir, never the answer's body.

    Attempt 0 is none: the notification was not sent, and `error` says why. `destination` is "" if there was none.
    """

    tenant: str
    notification_id: bytes
    incident_id: bytes
    channel: str
    destination: str
    transition: Transition
    attempt: int
    queued_at: int
    sent_at: int
    finished_at: int
    outcome: Outcome
    http_status: int = 0
    error: str = ""


class DestinationStatus(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """How a destination does, on `destinations.status` (compacted), in JSON. Times are 0 for never.

    `state` is `active`, `inactive` (disabled: what waits is kept) or `error`, with the reason of the last failure;
    `waiting` incidents wait, about since `oldest`.
    """

    waiting: int
    oldest: int
    state: Literal["active", "inactive", "error"]
    reason: str = ""
    last_used: int = 0
