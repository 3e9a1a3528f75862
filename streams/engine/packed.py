"""A table of bytes in little memory: rows are in compressed chunks, and four bytes of the key find a row.

A dict uses more memory for objects and slots than small values take. Here keys are spread over groups by their hash,
and a group stores its rows in chunks of a few dozen, each compressed as a whole: rows of one table resemble each other.
"""

from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from lz4.block import compress, decompress

#: Rows of a rewritten chunk. More rows compress better, fewer are read faster.
CHUNK_ROWS = 32
#: The tag of a row that was taken; no key has this tag.
_GONE = bytes(4)
_OTHER = b"\1\1\1\1"


class _Group:
    """The rows of keys whose hashes have the same low bits: chunks, and the number of each chunk's first row."""

    __slots__ = ("chunks", "rows", "starts")

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.starts: list[int] = []
        #: The number of rows, without those that were taken.
        self.rows = 0


class PackedTable:
    """Keys and values, added many at a time and taken one by one. A key in the table must not be added again.

    `groups` is a power of two. Lookups cost more when a group has more than a few hundred rows.
    """

    def __init__(self, groups: int) -> None:
        self.count = 0
        self._mask = groups - 1
        self._groups: defaultdict[int, _Group] = defaultdict(_Group)
        #: By group: four bytes a row. Kept apart from the groups, because most keys looked up are not in the table.
        self._tags = [bytearray() for _ in range(groups)]

    def add(self, number: int, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Add rows to the group `number`, which is `hash(key) % groups` of each key.

        Python's hash is keyed per process, so a sender cannot choose keys that fall into one group.
        """
        if keys:
            _append(self._groups[number], self._tags[number], keys, values)
            self.count += len(keys)

    def take(self, key: bytes) -> bytes | None:
        """Remove a key. Return its value, or None if it is not in the table."""
        number = hash(key) & self._mask
        at, value = self._find(number, key)
        if value is not None:
            group, tags = self._groups[number], self._tags[number]
            tags[at : at + 4] = _GONE
            group.rows -= 1
            self.count -= 1
            if group.rows * 8 < len(tags):
                _rewrite(group, tags)
        return value

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, None if it is not in the table."""
        return self._find(hash(key) & self._mask, key)[1]

    def _find(self, number: int, key: bytes) -> tuple[int, bytes | None]:
        """Where the key's tag is among its group's, and the value; None if the key is not in the table."""
        tags, tag = self._tags[number], _tag(key)
        at = tags.find(tag)
        while at >= 0:
            group = self._groups[number]
            if not at & 3 and (value := _value(group, len(tags) >> 2, at >> 2, key)) is not None:
                return at, value
            at = tags.find(tag, at + 1)
        return at, None

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All keys and values."""
        for number, group in self._groups.items():
            yield from _rows(group, self._tags[number])


def _tag(key: bytes) -> bytes:
    """The key's last four bytes, which differ between keys that end in a fingerprint."""
    tag = key[-4:]
    return tag if tag != _GONE and len(tag) == 4 else _OTHER


def _append(group: _Group, tags: bytearray, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
    """Add one chunk: the lengths of all keys and of all values (32 bits each), all keys, all values."""
    lengths = array("I", map(len, keys)).tobytes() + array("I", map(len, values)).tobytes()
    group.starts.append(len(tags) >> 2)
    group.chunks.append(compress(b"".join((lengths, *keys, *values))))
    tags += b"".join(map(_tag, keys))
    group.rows += len(keys)


def _value(group: _Group, rows: int, row: int, key: bytes) -> bytes | None:
    """The value at `row` of the group's `rows` rows, None if that row has another key."""
    starts = group.starts
    number = bisect_right(starts, row) - 1
    first = starts[number]
    count = (starts[number + 1] if number + 1 < len(starts) else rows) - first
    row -= first
    chunk: bytes = decompress(group.chunks[number])
    lengths = memoryview(chunk)[: 8 * count].cast("I")
    key_at = 8 * count + sum(lengths[:row])
    if lengths[row] != len(key) or not chunk.startswith(key, key_at):
        return None
    value_at = 8 * count + sum(lengths[: count + row])
    return chunk[value_at : value_at + lengths[count + row]]


def _rows(group: _Group, tags: bytearray) -> Iterator[tuple[bytes, bytes]]:
    """The rows of a group that were not taken."""
    marks = memoryview(bytes(tags)).cast("I")
    bounds = pairwise([*group.starts, len(marks)])
    for packed, (first, end) in zip(list(group.chunks), bounds, strict=True):
        count = end - first
        chunk: bytes = decompress(packed)
        lengths = memoryview(chunk)[: 8 * count].cast("I")
        key_at = 8 * count
        value_at = key_at + sum(lengths[:count])
        for mark, key_length, value_length in zip(marks[first:end], lengths[:count], lengths[count:], strict=True):
            if mark:
                yield chunk[key_at : key_at + key_length], chunk[value_at : value_at + value_length]
            key_at += key_length
            value_at += value_length


def _rewrite(group: _Group, tags: bytearray) -> None:
    """Rebuild the group without the rows that were taken; called when these are more than half."""
    rows = list(_rows(group, tags))
    group.chunks, group.starts, group.rows = [], [], 0
    tags.clear()
    for start in range(0, len(rows), CHUNK_ROWS):
        keys, values = zip(*rows[start : start + CHUNK_ROWS], strict=True)
        _append(group, tags, keys, values)
