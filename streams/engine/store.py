"""Where a table partition's values live: in memory, or in RocksDB where state outgrows memory.

A store holds what was applied, and the position and changelog offset that go with it.
"""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol, cast

import msgspec
from rocksdict import AccessType, Options, Rdict, WriteBatch

from streams.engine.changelog import Owner, Position

_META = b"__meta__"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, Position, Owner]).decode


class Store(Protocol):
    """One partition. `end` is the last changelog offset applied, -1 for none; `owner` wrote the last flush."""

    position: Position
    end: int
    owner: Owner

    def get(self, key: bytes) -> bytes | None: ...
    def apply(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Take changes (None deletes); they are seen at once and durable after `flushed`."""

    def flushed(self, changes: Mapping[bytes, bytes | None], position: Position, end: int, owner: Owner) -> None:
        """These applied changes are in the changelog up to `end`, together with `position`."""

    def items(self) -> Iterator[tuple[bytes, bytes]]: ...
    def __len__(self) -> int: ...
    def close(self) -> None: ...


class MemoryStore:
    """A dict."""

    def __init__(self) -> None:
        self.position = Position()
        self.end = -1
        self.owner = Owner()
        self._values: dict[bytes, bytes] = {}
        self.get = self._values.get

    def apply(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Take changes; see Store."""
        values = self._values
        for value in changes.values():
            if value is None:
                break
        else:
            values.update(changes)  # type: ignore[arg-type]
            return
        for key, value in changes.items():
            if value is None:
                values.pop(key, None)
            else:
                values[key] = value

    def flushed(self, changes: Mapping[bytes, bytes | None], position: Position, end: int, owner: Owner) -> None:
        """Remember position, end and owner; the values are here already."""
        self.position = position
        self.end = end
        self.owner = owner

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All keys and values."""
        return iter(self._values.items())

    def __len__(self) -> int:
        return len(self._values)

    def close(self) -> None:
        """Nothing to release."""


class RocksStore:
    """RocksDB under `path`. Values, position and changelog offset are written in one batch, so they agree."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        self._db = Rdict(str(path), options, access_type=AccessType.read_write())
        meta = self._db.get(_META)
        self.end, self.position, self.owner = _decode(meta) if meta is not None else (-1, Position(), Owner())
        self._overlay: dict[bytes, bytes | None] = {}
        self._count = sum(1 for _ in self.items())

    def get(self, key: bytes) -> bytes | None:
        """The value, or None."""
        if key in self._overlay:
            return self._overlay[key]
        found: bytes | None = self._db.get(key)
        return found

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
        batch.put(_META, _encode((end, position, owner)))
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
        """Release the files; what no flush carried is forgotten and recovered from the changelog."""
        self._db.close()

    @staticmethod
    def wipe(path: Path) -> None:
        """Remove a partition's files: the changelog is the truth, this is a cache."""
        shutil.rmtree(path, ignore_errors=True)
