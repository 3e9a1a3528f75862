"""A table as a stage sees it, in memory: it checks that deadlines are what a recovery would find."""

from collections.abc import Callable

from streams.rehearsal.memory import Memory


class TableState(Memory):
    """The table of a rehearsal, with `due`, which reads a deadline out of a value."""

    def __init__(self, due: Callable[[bytes], int]) -> None:
        super().__init__()
        self._due = due

    def put(self, key: bytes, value: bytes, due: int = 0) -> None:
        """Set the value; its deadline must be the one that a recovery would read out of it."""
        assert due == self._due(value), "the deadline is not the value's own"
        super().put(key, value, due)

    def __len__(self) -> int:
        return len(list(self.items()))
