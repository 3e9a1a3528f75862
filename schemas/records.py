"""What a stage takes and gives: records in, outputs out, and the state between them, as shapes only."""

from collections.abc import Mapping, MutableMapping, Sequence
from typing import NamedTuple, Protocol


class Record(Protocol):
    """One Kafka record as it was fetched. `timestamp` is milliseconds since 1970 UTC."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class Output(NamedTuple):
    """One record to send. `partition` None means by key; a compacted topic's `value` None deletes."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None
    headers: Sequence[tuple[str, bytes]] = ()


class State(Protocol):
    """One partition of a table, owned by one stage. Keys and values are bytes; a value is never None.

    `marks` remembers per lane (sender and its partition) the last sequence number taken in, so that
    what a crashed sender wrote twice is counted once. Everything here is durable with the position.
    """

    marks: MutableMapping[str, int]

    def get(self, key: bytes) -> bytes | None: ...
    def put(self, key: bytes, value: bytes, due: int = 0) -> None:
        """Set the value. `due` (milliseconds, 0 for never) is when the stage's `on_due` gets this key, in place of
        any earlier one: a key has one deadline, and it is the one that the table's `due` reads out of the value.
        """

    def delete(self, key: bytes) -> None:
        """Forget the key and its deadline."""

    def items(self) -> Mapping[bytes, bytes]: ...
