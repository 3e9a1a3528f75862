"""Notifications and their delivery attempts. Times are milliseconds since 1970 UTC."""

from enum import StrEnum
from typing import Literal

import msgspec

from schemas.fingerprint import digest
from schemas.wire.incident import Incident


class Transition(StrEnum):
    """The change of an incident that a notification reports."""

    TRIGGERED = "triggered"
    ESCALATED = "escalated"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Notification(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """One message to one destination, on `notifications`. The id is stable over retries and replays.

    `mentions` are those of the rules that route to the destination (schemas.control.rule.Mention).
    """

    notification_id: bytes
    tenant: str
    destination: str
    transition: Transition
    queued_at: int
    incident: Incident
    mentions: tuple[str, ...] = ()


def notification_id(incident_id: bytes, version: int, transition: Transition, destination: str) -> bytes:
    """16 bytes, derived from the arguments; `version` is the incident's at the transition. Same message, same id."""
    return digest(incident_id.hex(), str(version), transition, destination)


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
