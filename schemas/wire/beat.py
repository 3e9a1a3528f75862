"""What the stage of heartbeats reads, on the topic `heartbeats`."""

from enum import IntEnum

import msgspec

#: The provider of requests that are beats, in RawEvent, and the name in its `headers` of the monitor's id.
HEARTBEAT = "heartbeat"
MONITOR = "monitor"


class Beat(IntEnum):
    """BEAT: a monitor's beat. CONFIGURED: a monitor was added, changed or deleted. PRESENT: a gateway takes beats."""

    BEAT = 1
    CONFIGURED = 2
    PRESENT = 3


class BeatEvent(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One event of a monitor. `at` is the broker's time (ms) at which a beat came in, and 0 for the other kinds, whose
    time is their record's. A PRESENT is of no monitor: `tenant` and `heartbeat` are empty.
    """

    kind: Beat
    tenant: str = ""
    heartbeat: str = ""
    at: int = 0

    @property
    def key(self) -> bytes:
        """The key of the record, and of the monitor in the table."""
        return f"{self.tenant}/{self.heartbeat}".encode()
