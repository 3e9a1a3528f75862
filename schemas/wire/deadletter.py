"""Dead letters: records that could not be used, with the reason in the headers and the original bytes as the value."""

from typing import NamedTuple

Headers = list[tuple[str, bytes]]


class DeadLetter(NamedTuple):
    """One record for the topic `deadletters`. `at` is milliseconds since 1970 UTC; `reason` a short code.

    `row` is the failed row's number in a record of several rows, else 0.
    With `last_offset` -1 the letter is about the one record at `offset`; otherwise it is about the records from
    `offset` to `last_offset`, both included, and has no body.
    """

    stage: str
    reason: str
    error: str
    topic: str
    partition: int
    offset: int
    at: int
    key: bytes
    body: bytes
    row: int = 0
    last_offset: int = -1

    def headers(self) -> Headers:
        """The Kafka headers that carry everything but key and body."""
        headers = [
            ("stage", self.stage.encode()),
            ("reason", self.reason.encode()),
            ("error", self.error[:1000].encode("utf-8", "replace")),
            ("topic", self.topic.encode()),
            ("partition", str(self.partition).encode()),
            ("offset", str(self.offset).encode()),
            ("at", str(self.at).encode()),
            ("row", str(self.row).encode()),
        ]
        if self.last_offset >= 0:
            headers.append(("last_offset", str(self.last_offset).encode()))
        return headers

    @classmethod
    def read(cls, key: bytes | None, value: bytes | None, headers: Headers) -> "DeadLetter":
        """The inverse of `headers()`; a record without these headers (written by hand) gets empty fields."""
        found = dict(headers)

        def text(name: str) -> str:
            return found.get(name, b"").decode("utf-8", "replace")

        def number(name: str, default: int = 0) -> int:
            digits = text(name)
            return int(digits) if digits.isdigit() else default

        return cls(
            stage=text("stage"),
            reason=text("reason"),
            error=text("error"),
            topic=text("topic"),
            partition=number("partition"),
            offset=number("offset"),
            at=number("at"),
            key=key or b"",
            body=value or b"",
            row=number("row"),
            last_offset=number("last_offset", -1),
        )
