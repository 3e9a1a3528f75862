"""A table as a stage sees it, in memory: values, marks, and one deadline a key."""

from collections.abc import Callable, Iterator


class TableState:
    """Implements schemas.records.State; `fired` gives due keys as the engine does, in order of (deadline, key)."""

    def __init__(self, due: Callable[[bytes], int]) -> None:
        self.marks: dict[str, int] = {}
        self._due = due
        self._values: dict[bytes, bytes] = {}
        self._dues: dict[bytes, int] = {}

    def get(self, key: bytes) -> bytes | None:
        """The value, or None."""
        return self._values.get(key)

    def put(self, key: bytes, value: bytes, due: int = 0) -> None:
        """Set the value; its deadline must be the one that a recovery would read out of it."""
        assert due == self._due(value), "the deadline is not the value's own"
        self._values[key] = value
        if due:
            self._dues[key] = due
        else:
            self._dues.pop(key, None)

    def delete(self, key: bytes) -> None:
        """Forget the key and its deadline."""
        self._values.pop(key, None)
        self._dues.pop(key, None)

    def armed(self, now: int) -> bool:
        """Whether something is due by `now`."""
        return any(at <= now for at in self._dues.values())

    def fired(self, now: int) -> list[tuple[bytes, int]]:
        """Take out what is due by `now`."""
        due = sorted((at, key) for key, at in self._dues.items() if at <= now)
        for _, key in due:
            del self._dues[key]
        return [(key, at) for at, key in due]

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All keys and values."""
        return iter(self._values.items())

    def __len__(self) -> int:
        return len(self._values)
