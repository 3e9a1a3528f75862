"""The types of a stage's input, output and state. Record and State are protocols: the engine implements them."""

from collections.abc import Iterator, MutableMapping, Sequence
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


#: The header of a record that an operator puts on its topic again: it counts although one like it was processed.
AGAIN_HEADER = "redeliver"


def is_again(record: Record) -> bool:
    """Whether an operator put the record on its topic again."""
    return any(name == AGAIN_HEADER for name, _ in record.headers)


class Output(NamedTuple):
    """One record to send. `partition` None: chosen by the key. `value` None deletes the key on a compacted topic."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None
    headers: Sequence[tuple[str, bytes]] = ()


class State(Protocol):
    """One partition of a table, owned by one stage. Keys and values are bytes; a value is never None.

    `marks` holds per lane (sender and its partition) the last sequence number processed, so that a record that a
    crashed sender wrote twice is counted once. State and marks become durable together with the source position.
    """

    marks: MutableMapping[str, int]

    def get(self, key: bytes) -> bytes | None: ...
    def put(self, key: bytes, value: bytes, due: int = 0) -> None:
        """Set the value. `due` (milliseconds, 0 for never) is the time at which the stage's `on_due` gets this key; it
        replaces an earlier one. A key has one deadline, and it must equal what the table's `due` reads from the value.
        """

    def delete(self, key: bytes) -> None:
        """Remove the key and its deadline."""

    def items(self) -> Iterator[tuple[bytes, bytes]]: ...
