"""The notifier's table: per destination and incident, what waits to be told, and what was told last; per destination,
its latest status.

Keys have the 16 bytes of the destination after the kind, those about an incident then its 16 bytes. The value of a
waiting message has in front what couriers need to line it up, so that they decode nothing else before its turn.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from schemas.fingerprint import digest
from schemas.records import State
from schemas.wire.notification import DestinationStatus, Notification

_WAITING, _HEARD, _STATUS = b"w", b"h", b"s"
#: The length of what is in front of an encoded value: its kind, then a time; for a waiting message more.
_TIMED = 9
_FRONT = 18


class Place(NamedTuple):
    """A destination (`destination_key`) and an incident's id, 16 bytes each."""

    destination: bytes
    incident: bytes


class Earlier(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A notification that a newer one of the same incident replaces while both wait."""

    notification_id: bytes
    transition: str
    queued_at: int


class Waiting(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """What waits to be told: the newest notification, and the earlier ones that it replaces, oldest first.

    `since` is when the first of them was queued, `next_at` when it may be tried (0: at once), both in milliseconds.
    `attempts` were made already, and the recipients in `reached` have the newest one. `partition` and `offset` are
    those of the newest one's record.
    """

    newest: Notification
    earlier: tuple[Earlier, ...]
    since: int
    attempts: int
    next_at: int
    partition: int
    offset: int
    redelivery: bool = False
    reached: tuple[str, ...] = ()


class Heard(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The place of the newest message that was told (Notification.place), and the vendor's handle of the first one.

    Forgotten at `until`.
    """

    version: int
    handle: str
    until: int
    number: int = 0


class Front(NamedTuple):
    """The beginning of a waiting message's value."""

    since: int
    next_at: int
    urgent: bool


_encode = msgspec.msgpack.Encoder().encode
_decode_waiting = msgspec.msgpack.Decoder(Waiting).decode
_decode_heard = msgspec.msgpack.Decoder(Heard).decode
_decode_status = msgspec.msgpack.Decoder(DestinationStatus).decode


def destination_key(tenant: str, destination: str) -> bytes:
    """16 bytes that stand for a destination."""
    return digest(tenant, destination)


def place_of(notification: Notification) -> Place:
    """The place of a notification's incident and destination."""
    key = destination_key(notification.tenant, notification.destination)
    return Place(key, notification.incident.incident_id)


def due(value: bytes) -> int:
    """When an entry is to be forgotten, milliseconds; 0 for one that stays."""
    return int.from_bytes(value[1:_TIMED], "big") if value[:1] == _HEARD else 0


def waiting_place(key: bytes) -> Place | None:
    """The place of a waiting message's key, None for another key."""
    return Place(key[1:17], key[17:]) if key[:1] == _WAITING else None


def front(value: bytes) -> Front:
    """The beginning of a waiting message's value."""
    return Front(int.from_bytes(value[1:9], "big"), int.from_bytes(value[9:17], "big"), value[17] == 1)


class Table:
    """The entries, over one partition's state."""

    def __init__(self, state: State) -> None:
        self._state = state

    def waiting(self, place: Place) -> Waiting | None:
        """What waits at this place."""
        value = self._state.get(_WAITING + place.destination + place.incident)
        return _decode_waiting(value[_FRONT:]) if value is not None else None

    def front(self, place: Place) -> Front | None:
        """The beginning of what waits at this place."""
        value = self._state.get(_WAITING + place.destination + place.incident)
        return front(value) if value is not None else None

    def wait(self, place: Place, waiting: Waiting) -> None:
        """Have it wait at this place."""
        urgent = waiting.newest.incident.urgency == "high"
        times = waiting.since.to_bytes(8, "big") + waiting.next_at.to_bytes(8, "big")
        value = _WAITING + times + bytes([urgent]) + _encode(waiting)
        self._state.put(_WAITING + place.destination + place.incident, value)

    def leave(self, place: Place) -> None:
        """Nothing waits at this place any more."""
        self._state.delete(_WAITING + place.destination + place.incident)

    def heard(self, place: Place) -> Heard | None:
        """What the destination was told of the incident."""
        value = self._state.get(_HEARD + place.destination + place.incident)
        return _decode_heard(value[_TIMED:]) if value is not None else None

    def hear(self, place: Place, heard: Heard) -> None:
        """Remember what the destination was told."""
        value = _HEARD + heard.until.to_bytes(8, "big") + _encode(heard)
        self._state.put(_HEARD + place.destination + place.incident, value, heard.until)

    def status(self, destination: bytes) -> DestinationStatus | None:
        """The status that was reported last of this destination."""
        value = self._state.get(_STATUS + destination)
        return _decode_status(value[1:]) if value is not None else None

    def report(self, destination: bytes, status: DestinationStatus) -> None:
        """Remember the status, for the courier after a restart."""
        self._state.put(_STATUS + destination, _STATUS + _encode(status))

    def forget(self, key: bytes) -> None:
        """Forget the entry with this key."""
        self._state.delete(key)

    def everything_waiting(self) -> Iterator[tuple[Place, Front]]:
        """The places where something waits."""
        for key, value in self._state.items():
            place = waiting_place(key)
            if place is not None:
                yield place, front(value)
