"""The alert: one canonical event, and the raw request it came from.

Times are integers, milliseconds since 1970 UTC; 0 means "not given". On topics a struct travels as a
MessagePack array in field order (docs/adr/0004), so fields are only ever appended.
"""

from enum import IntEnum
from typing import Literal

import msgspec


class Severity(IntEnum):
    """Four values, in ascending order; a trigger without a severity is `error` (fail open)."""

    INFO = 1
    WARNING = 2
    ERROR = 3
    CRITICAL = 4


#: The urgency that rules decided, "" if they left it to the severity.
RuledUrgency = Literal["", "high", "low"]


class Action(IntEnum):
    """What the event says about its key."""

    TRIGGER = 1
    ACKNOWLEDGE = 2
    RESOLVE = 3


class RawEvent(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A request as the gateway accepted it, on `alerts.raw`.

    `body` is the request's body without its content encoding, converted to UTF-8 if another charset was declared.
    `mapping` is the field mapping at the time of acceptance (schemas.control.FieldMapping.wire), empty for the default;
    records older than this field have none and are read with the default. `installation` stands for the sender's
    installation where keys of alerts count inside one only, else it is empty (streams.gateway.senders.installation).
    """

    tenant: str
    service: str
    integration: str
    provider: str
    event_id: bytes
    received_at: int
    body: bytes
    headers: dict[str, str] = {}
    mapping: bytes = b""
    installation: str = ""


class Alert(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """One canonical event, on `alerts.normalized`.

    `fingerprint` is 16 bytes (see schemas.fingerprint); `details` is JSON text; `event_id` is a UUIDv7.
    The `origin_` fields name the record on `alerts.raw` or `alerts.events` and the alert's index inside its body.
    `integration` is in the form shown to people (schemas.control.shown_sender), and "" for `alerts.events`.
    `starts_at` and `ends_at` are for people, and never far in the future. The last three fields decide the order of
    events; they are times of the sender's clock, unchanged, or 0 if the sender does not give them: `sent_at` is when
    this event happened, `began_at` the start that trigger and resolve of one episode share, `ended_at` its end.
    """

    tenant: str
    service: str
    integration: str
    provider: str
    event_id: bytes
    dedup_key: str
    fingerprint: bytes
    action: Action
    severity: Severity
    summary: str
    source: str
    component: str = ""
    group: str = ""
    class_: str = ""
    labels: dict[str, str] = {}
    details: bytes = b""
    links: list[dict[str, str]] = []
    starts_at: int = 0
    ends_at: int = 0
    received_at: int = 0
    origin_topic: str = ""
    origin_partition: int = 0
    origin_offset: int = 0
    origin_index: int = 0
    sent_at: int = 0
    began_at: int = 0
    ended_at: int = 0


class UniqueAlert(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An output of dedup, on `alerts.unique`: an alert, or (alert None) only counts of folded repeats.

    `via` is the offset on `alerts.normalized` (partition `via_partition`), -1 for counts alone. `repeats` is the
    total number of repeats of this fingerprint since it opened, so applying a record twice changes nothing.
    `severity` is the highest so far, after rules; `labels`, `routes` and `rule` (ids, comma-separated) were added by
    the rules. `timed` marks an alert that was held and then released by a timer: its `via` is not an offset but a
    number that grows with each firing in its partition. The key of its record is its scope (schemas.fingerprint);
    alerts with one `correlation_key` may form one incident. `urgency` (high, low) and `service` are what rules changed
    them to, "" for unchanged. `ended` says why the key ended without a resolve, for counts alone.
    """

    via_partition: int
    via: int
    fingerprint: bytes
    repeats: int
    last_seen: int
    severity: Severity
    alert: Alert | None = None
    labels: dict[str, str] = {}
    routes: list[str] = []
    rule: str = ""
    timed: bool = False
    correlation_key: bytes = b""
    urgency: RuledUrgency = ""
    service: str = ""
    ended: str = ""
