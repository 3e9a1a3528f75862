"""A monitor in the table of heartbeats."""

import msgspec

from schemas.wire.alert import Severity


class Entry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Times are milliseconds of the brokers' clocks, 0 for none; `period` is milliseconds.

    `since` is the last beat, or when the monitor was armed. It is missing at `due`. `missing_since` is the deadline
    that has passed, and `service` and `severity` are then those of the open alert.
    """

    tenant: str
    heartbeat: str
    period: int
    since: int
    last_beat: int
    due: int
    missing_since: int = 0
    service: str = ""
    severity: Severity = Severity.CRITICAL


pack = msgspec.msgpack.Encoder().encode
unpack = msgspec.msgpack.Decoder(Entry).decode


def due(value: bytes) -> int:
    """When the monitor of this value is missing, 0 if it is already."""
    return unpack(value).due
