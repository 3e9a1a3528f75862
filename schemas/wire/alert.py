"""The alert: one canonical event, and the raw request it came from.

Times are integers, milliseconds since 1970 UTC; 0 means "not given". On topics a struct travels as a
MessagePack array in field order (docs/adr/0004), so fields are only ever appended.
"""

from enum import IntEnum

import msgspec


class Severity(IntEnum):
    """Four values, ordered; a trigger that names none is `error` (fail open)."""

    INFO = 1
    WARNING = 2
    ERROR = 3
    CRITICAL = 4


class Action(IntEnum):
    """What the event says about its key."""

    TRIGGER = 1
    ACKNOWLEDGE = 2
    RESOLVE = 3


class RawEvent(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A request as the gateway accepted it, on `alerts.raw`.

    `body` is what was sent, without its content encoding and in UTF-8 if it was declared in another charset.
    `mapping` is the field mapping it was accepted under (schemas.control.FieldMapping.wire), empty for the default
    one; of a record older than this field nobody knows it, and the default counts. `installation` is that of the
    integration, empty where it is that of its key.
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
    The origin names the record on `alerts.raw` or `alerts.events` and the place inside its body. `integration`
    is as people are shown it (schemas.control.shown_sender), and "" for `alerts.events`.
    `starts_at` and `ends_at` are for people, and never far in the future. Order is decided by the sender's own
    clock, as it was sent: `sent_at` is when this event happened there, `began_at` and `ended_at` are the start
    that trigger and resolve of one episode share, and its end. 0 where the sender's times say no such thing.
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
    """What passes dedup, on `alerts.unique`: an alert, or (alert None) only counts of folded repeats.

    `via` is the offset on `alerts.normalized` (partition `via_partition`), -1 for counts alone; `repeats`
    is the number of repeats of this fingerprint since it opened, a total, so applying it twice is once.
    `severity` is the highest so far, after rules; `labels`, `routes` and `rule` (ids, comma-separated) are what
    the rules added. An alert that was held and released by a timer has `timed`: `via` is then not an offset, but
    a number that grows with each firing in its partition.
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
