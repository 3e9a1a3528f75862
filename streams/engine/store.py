"""Where a table partition's values live: in memory, or in RocksDB where state outgrows memory.

A store holds the applied changes, and the position and changelog offset that belong to them.
"""

import logging
import shutil
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Protocol, cast

import msgspec
from rocksdict import AccessType, Options, Rdict, WriteBatch

from streams.engine.changelog import Owner, Position
from streams.engine.packed import CHUNK_ROWS, PackedTable

#: How many keys all memory stores of a process together should keep in dicts, and the default for one store.
RECENT_KEYS = 262_144
DEFAULT_SHARE = 32_768
#: Keys known to be absent that a store remembers between two calls of `apply`.
_MAX_ABSENT = 10_000
log = logging.getLogger(__name__)
_META = b"__meta__"
_encode = msgspec.msgpack.Encoder().encode

#: Files may be as old as this part of the time that a topic keeps deletions. The rest allows for clock differences
#: and for the time that reading takes.
_SAFE_PART = 0.9


class _Meta(msgspec.Struct, array_like=True):
    """The metadata of the files: see Store, and when they last took a flush, milliseconds (0: unknown)."""

    end: int = -1
    position: Position = Position()
    owner: Owner = Owner()
    flushed_at: int = 0


_decode = msgspec.msgpack.Decoder(_Meta).decode


class Store(Protocol):
    """One partition. `end` is the last changelog offset applied, -1 for none; `owner` wrote the last flush."""

    position: Position
    end: int
    owner: Owner

    def get(self, key: bytes) -> bytes | None: ...
    def peek(self, key: bytes) -> bytes | None:
        """As `get`, but a key that was not read or written lately may be missing."""

    def read(self, key: bytes) -> bytes | None:
        """As `get`, but the key does not count as used."""

    def apply(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Take changes (None deletes); they are visible at once and durable after `flushed`."""

    def flushed(self, changes: Mapping[bytes, bytes | None], position: Position, end: int, owner: Owner) -> None:
        """Note that these applied changes are in the changelog up to `end`, together with `position`."""

    def items(self) -> Iterator[tuple[bytes, bytes]]: ...
    def __len__(self) -> int: ...
    def close(self) -> None: ...


class _Recent(dict[bytes, bytes]):
    """The dict of recent keys: a missing key is moved here if the packed table has it.

    A hit costs as much as in any dict; only a miss runs Python code. `absent` has keys found in neither.
    """

    __slots__ = ("_packed", "absent")

    def __init__(self, packed: PackedTable) -> None:
        super().__init__()
        self._packed = packed
        self.absent: set[bytes] = set()

    def __missing__(self, key: bytes) -> bytes | None:
        if not self._packed.count:
            return None
        value = self._packed.take(key)
        if value is not None:
            self[key] = value
        elif len(self.absent) < _MAX_ABSENT:
            self.absent.add(key)
        return value


class MemoryStore:
    """Up to `share` recently used keys in a dict, all others in a packed table; each key is in one of them.

    Keys that a storm uses stay in the dict. When the dict is full, the keys of one group after the other are packed.
    Each call packs about as many keys as it added, so that no call takes long.
    """

    def __init__(self, share: int = DEFAULT_SHARE) -> None:
        self.position = Position()
        self.end = -1
        self.owner = Owner()
        self._share = share
        # A group has half a chunk of recent keys on average, and a whole chunk when its turn comes.
        self._groups = 1 << (max(share * 2 // CHUNK_ROWS, 1) - 1).bit_length()
        self._packed = PackedTable(self._groups)
        self._recent = _Recent(self._packed)
        #: Without packed keys a plain look-up is enough, and a miss runs no Python code.
        self.get: Callable[[bytes], bytes | None] = self._recent.get
        self.peek: Callable[[bytes], bytes | None] = self._recent.get
        #: The recent keys in the order in which they came, then by group once there are many, and the number of those
        #: in groups; all include keys that were deleted since.
        self._queue: deque[bytes] = deque()
        self._arrived: defaultdict[int, list[bytes]] = defaultdict(list)
        self._arrivals = 0
        self._noted = 0
        self._turn = 0

    def read(self, key: bytes) -> bytes | None:
        """The value; a packed key stays packed. See Store."""
        value = dict.get(self._recent, key)
        return self._packed.get(key) if value is None and self._packed.count else value

    def apply(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Take changes; see Store."""
        recent, packed = self._recent, self._packed
        # Keys that came into the dict since the last call were read from the packed table.
        unpacked = len(recent) - self._noted
        self._note(unpacked)
        before = len(recent)
        for value in changes.values():
            if value is None:
                before -= self._delete([key for key, value in changes.items() if value is None])
                recent.update((key, value) for key, value in changes.items() if value is not None)
                break
        else:
            recent.update(changes)  # type: ignore[arg-type]
        arrived = len(recent) - before
        if arrived:
            if packed.count:
                for key in islice(reversed(recent), arrived):
                    if key not in recent.absent:
                        packed.take(key)
            self._note(arrived)
        self._pack(unpacked + arrived)
        recent.absent.clear()
        self._noted = len(recent)

    def flushed(self, changes: Mapping[bytes, bytes | None], position: Position, end: int, owner: Owner) -> None:
        """Remember position, end and owner; the values are in the store already."""
        self.position = position
        self.end = end
        self.owner = owner

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All keys and values, the recent ones last."""
        return chain(self._packed.items(), self._recent.items())

    def __len__(self) -> int:
        return len(self._recent) + self._packed.count

    def close(self) -> None:
        """Nothing to release."""

    def _delete(self, keys: list[bytes]) -> int:
        """Remove keys. Return how many of them were in the dict."""
        recent, packed = self._recent, self._packed
        gone = 0
        for key in keys:
            if recent.pop(key, None) is not None:
                gone += 1
            elif packed.count:
                packed.take(key)
        return gone

    def _note(self, count: int) -> None:
        """Remember the `count` keys that came into the dict last: they are at its end.

        A table whose keys fit the dict does no more. Else the keys that came before are sorted into groups, some in
        each call, faster than keys arrive.
        """
        if not count:
            return
        queue, recent = self._queue, self._recent
        queue.extend(islice(reversed(recent), count))
        if len(queue) <= self._share and len(recent) <= self._share:
            return
        arrived, mask, next_key = self._arrived, self._groups - 1, queue.popleft
        portion = min(len(queue), 2 * count + CHUNK_ROWS)
        for _ in range(portion):
            key = next_key()
            arrived[hash(key) & mask].append(key)
        self._arrivals += portion

    def _pack(self, arrived: int) -> None:
        """Reduce the dict to its share, or do only a part of this if much is to be done."""
        recent = self._recent
        for _ in range(2 + arrived // 8):
            if len(recent) <= self._share and self._arrivals <= 2 * self._share:
                break
            turn = self._turn
            self._turn = (turn + 1) % self._groups
            keys = self._arrived.pop(turn, ())
            self._arrivals -= len(keys)
            if len(recent) > self._share:
                # A deleted key is not in the dict, and a key that came twice is in it once.
                rows = [(key, value) for key in keys if (value := recent.pop(key, None)) is not None]
                self.get = recent.__getitem__
                self._packed.add(turn, [key for key, _ in rows], [value for _, value in rows])
            else:
                self._arrived[turn] = present = [key for key in dict.fromkeys(keys) if key in recent]
                self._arrivals += len(present)


class RocksStore:
    """RocksDB under `path`. Values, position and changelog offset are written in one batch, so they agree."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        self._clock = clock
        self._db = Rdict(str(path), options, access_type=AccessType.read_write())
        kept = self._db.get(_META)
        meta = _decode(kept) if kept is not None else _Meta()
        self.end, self.position, self.owner = meta.end, meta.position, meta.owner
        self._flushed_at = meta.flushed_at
        self._overlay: dict[bytes, bytes | None] = {}
        self._count = sum(1 for _ in self.items())

    @classmethod
    def reopen(cls, path: Path, kept_ms: int, clock: Callable[[], float]) -> "RocksStore":
        """The partition's files if they can be brought up to date, else empty ones, with the reason in the log.

        `kept_ms` is how long the changelog keeps deletions (its `delete.retention.ms`). The files do not have the
        deletions after their last flush. If Kafka has compacted such a deletion away, the key would stay in the files
        for good. Offsets do not show this, since compaction leaves gaps anywhere.
        """
        try:
            store = cls(path, clock)
            if store.catches_up(kept_ms):
                return store
            store.close()
            log.warning(
                "%s has taken no flush for too long (deletions are kept %d s): it is rebuilt from the changelog",
                path,
                kept_ms // 1000,
            )
        except Exception:
            log.exception("%s cannot be used: it is rebuilt from the changelog", path)
        cls.wipe(path)
        return cls(path, clock)

    def catches_up(self, kept_ms: int) -> bool:
        """Whether every deletion since the last flush is still in a changelog that keeps them for `kept_ms`."""
        return self.end < 0 or 0 <= self._clock() * 1000 - self._flushed_at < kept_ms * _SAFE_PART

    def get(self, key: bytes) -> bytes | None:
        """The value, or None."""
        if key in self._overlay:
            return self._overlay[key]
        found: bytes | None = self._db.get(key)
        return found

    peek = read = get

    def apply(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Take changes; they stay in memory until the flush that carries them."""
        for key, value in changes.items():
            self._count += (value is not None) - (self.get(key) is not None)
            self._overlay[key] = value

    def flushed(self, changes: Mapping[bytes, bytes | None], position: Position, end: int, owner: Owner) -> None:
        """Write the flush's changes with its position; newer ones of the same key stay in memory."""
        self.position = position
        self.end = end
        self.owner = owner
        batch = WriteBatch(raw_mode=True)
        for key, value in changes.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
            if self._overlay.get(key, b"") is value:
                del self._overlay[key]
        self._flushed_at = int(self._clock() * 1000)
        batch.put(_META, _encode(_Meta(end, position, owner, self._flushed_at)))
        self._db.write(batch)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All keys and values."""
        overlay = self._overlay
        for key, value in cast(Iterator[tuple[bytes, bytes]], self._db.items()):
            if key != _META and key not in overlay:
                yield key, value
        for key, fresh in list(overlay.items()):
            if fresh is not None:
                yield key, fresh

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        """Release the files; changes without a flush are dropped and recovered from the changelog."""
        self._db.close()

    @staticmethod
    def wipe(path: Path) -> None:
        """Remove a partition's files: they are a cache of the changelog."""
        shutil.rmtree(path, ignore_errors=True)
