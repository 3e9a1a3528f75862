"""The changelog's wire format: atomic flushes, fenced owners, and how a reader replays them.

A flush is `__own__, changes..., __pos__`. It is one record batch if it fits, else several, each of which begins
with an `__own__` with the next chunk number. A reader applies a flush when its `__pos__` arrives, so state
and source position always belong together. `__own__` names the owner (fence, generation): a flush below the
highest owner seen comes from a zombie and is ignored. Compaction keeps the newest record of every key and so
may keep a record that readers ignored; such keys are *disputed* and the owner writes them again.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

import msgspec

OWN = b"__own__"
POS = b"__pos__"


class Owner(NamedTuple):
    """The writer of a flush: `fence` is one above the highest recovered, `generation` is the consumer group's."""

    fence: int = 0
    generation: int = -1


class Time(msgspec.Struct, array_like=True, frozen=True):
    """The partition's time at a position (see clock.Clock), and which deadlines have fired by then.

    All deadlines below (`due`, `key`), ordered by deadline and key, have fired; `marks` has each feeder's marked time.
    """

    now: int = 0
    due: int = 1
    key: bytes = b""
    marks: dict[str, int] = {}


class Position(msgspec.Struct, array_like=True, frozen=True):
    """What a flush makes durable beside the changes: `offset` is the last source offset in the state (-1 none).

    `stream_time` is unused now; in earlier versions it was the newest time seen on any clock.
    `topic_id` is the id of the source topic that `offset` belongs to, "" if it is unknown.
    """

    offset: int = -1
    stream_time: int = 0
    marks: dict[str, int] = {}
    time: Time = Time()
    topic_id: str = ""


class Change(Protocol):
    """One changelog record."""

    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


class Target(Protocol):
    """The store that takes replayed changes, with the position, last offset and owner of its last flush."""

    position: Position
    end: int
    owner: Owner

    def apply(self, changes: Mapping[bytes, bytes | None]) -> None: ...
    def flushed(self, changes: Mapping[bytes, bytes | None], position: Position, end: int, owner: Owner) -> None: ...


_encode = msgspec.msgpack.Encoder().encode
_decode_owner = msgspec.msgpack.Decoder(tuple[int, int, int]).decode
_decode_position = msgspec.msgpack.Decoder(Position).decode


def own_record(owner: Owner, chunk: int) -> bytes:
    """The value of `__own__`."""
    return _encode((owner.fence, owner.generation, chunk))


def pos_record(position: Position) -> bytes:
    """The value of `__pos__`."""
    return _encode(position)


class Replay:
    """Applies one changelog partition to a store, flush by flush.

    `disputed` collects keys whose newest record must not count (written by a zombie, or in an incomplete flush).
    """

    def __init__(self, target: Target) -> None:
        self.highest = target.owner
        self.disputed: set[bytes] = set()
        self.end = target.end
        self._target = target
        self._pending: dict[bytes, bytes | None] = {}
        self._in_flush = False
        self._ignoring = False

    def read(self, records: Iterable[Change]) -> None:
        """Take records in offset order. Records at or below `end` were applied before and are skipped."""
        loose: dict[bytes, bytes | None] = {}
        for record in records:
            offset, key, value = record.offset, record.key, record.value
            if offset <= self.end or key is None:
                continue
            self.end = offset
            if key == OWN and value is not None:
                self._own(value)
            elif key == POS and value is not None:
                if not self._ignoring:
                    loose.update(self._pending)
                    self._target.apply(loose)
                    self._target.flushed(loose, _decode_position(value), offset, self.highest)
                    loose = {}
                    self.disputed.difference_update(self._pending)
                    self._pending = {}
                self._in_flush = self._ignoring = False
            elif self._ignoring:
                self.disputed.add(key)
            elif self._in_flush:
                self._pending[key] = value
            else:
                loose[key] = value
        if loose:
            # Changes that compaction left outside a flush are durable already; their position is still to come.
            target = self._target
            target.apply(loose)
            target.flushed(loose, target.position, target.end, target.owner)

    def finish(self) -> None:
        """End the replay at the end of the log: the keys of an unfinished flush become disputed."""
        self.disputed.update(self._pending)
        self._pending = {}
        self._in_flush = self._ignoring = False

    def _own(self, value: bytes) -> None:
        fence, generation, chunk = _decode_owner(value)
        owner = Owner(fence, generation)
        if owner < self.highest:
            self._ignoring = True
            return
        self._ignoring = False
        self.highest = owner
        if chunk == 0:
            self.disputed.update(self._pending)
            self._pending = {}
        self._in_flush = True
