"""How stages answer a request or command that waits: they pass on its reply address, and the last stage answers it."""

from collections.abc import Iterator, Sequence

import msgspec

from schemas.records import Output
from schemas.topics import REPLIES
from schemas.wire.codec import decode_reply_to, encode
from schemas.wire.command import CommandResult
from schemas.wire.verdict import REPLY, ReplyTo, Verdict

Headers = Sequence[tuple[str, bytes]]


def readdress(headers: Headers, index: int, alerts: int, dedup_key: str) -> Headers:
    """The headers for the `index`-th of `alerts` alerts of a request that came with `headers`."""
    return [
        (REPLY, encode(msgspec.structs.replace(reply_to, index=index, alerts=alerts, dedup_key=dedup_key)))
        for reply_to in _addresses(headers)
    ]


def reply(headers: Headers, deduplicated: bool, incident_id: bytes = b"") -> Iterator[Output]:
    """The verdict for each request that waits for the alert that came with `headers`; nothing if none waits."""
    for reply_to in _addresses(headers):
        yield Output(REPLIES.name, reply_to.address, encode(Verdict(reply_to, deduplicated, incident_id)))


def answer(headers: Headers, incident_id: bytes, result: CommandResult) -> Iterator[Output]:
    """The answer to a command that came with `headers`; nothing if nobody waits for it."""
    for reply_to in _addresses(headers):
        yield Output(REPLIES.name, reply_to.address, encode(Verdict(reply_to, False, incident_id, result)))


def _addresses(headers: Headers) -> Iterator[ReplyTo]:
    for name, value in headers:
        if name == REPLY:
            yield decode_reply_to(value)
