"""What the engine cannot read, send or keep, and what it says of it: a dead letter by reference or an error."""

from typing import NamedTuple

UNREADABLE = "unreadable_batch"
TOO_LARGE = "output_too_large"


class Loss(NamedTuple):
    """Offsets `first` to `last` of a partition, both included, that `agent` could not read, or one of which gave an
    output that could not be sent. `key` is that output's.
    """

    agent: str
    reason: str
    error: str
    topic: str
    partition: int
    first: int
    last: int
    key: bytes = b""


class OutputTooLargeError(Exception):
    """The topic takes no record of this size; sizes in bytes, `limit` 0 where it is not known."""

    reason = TOO_LARGE

    def __init__(self, topic: str, size: int, limit: int) -> None:
        super().__init__(f"{topic} takes no record of {size} bytes" + (f": at most {limit}" if limit else ""))


class StateTooLargeError(Exception):
    """A table's changelog takes no value of this size; sizes in bytes."""

    reason = "state_too_large"

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"a value of {size} bytes cannot be kept: at most {limit}")


def reason(error: Exception) -> str:
    """A short code: the error's own `reason`, else its type."""
    return str(getattr(error, "reason", type(error).__name__))


def describe(error: Exception) -> str:
    """An error on one line."""
    return f"{type(error).__name__}: {error}"
