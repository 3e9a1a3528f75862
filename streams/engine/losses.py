"""Records, outputs and values that the engine cannot read, send or keep: a dead letter by reference, or an error."""

from typing import NamedTuple

UNREADABLE = "unreadable_batch"
TOO_LARGE = "output_too_large"


class Loss(NamedTuple):
    """Offsets `first` to `last` of a partition, both included. `agent` could not read them, or could not send an
    output of one of them; then `key` is the output's key.
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
