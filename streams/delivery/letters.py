"""Dead letters as they are on the topic `deadletters`, and where the record of each can be put back.

A letter that was put back is remembered on the same topic: a mark, which is a letter of stage `replay` without a body,
names the letter's own partition and offset.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from aiokafka import ConsumerRecord

from schemas import topics
from schemas.control import DEFAULT_TENANT
from schemas.topics import DEADLETTERS, Topic
from schemas.wire.codec import (
    DecodeError,
    decode_alert,
    decode_beat,
    decode_incident_change,
    decode_notification,
    decode_raw,
    decode_unique,
)
from schemas.wire.deadletter import DeadLetter
from streams.process.errors import OperatorError
from streams.process.kafka import Kafka
from streams.process.reading import records

#: The stage of a mark.
REPLAY = "replay"
#: What a stage reads, and how: a value that it cannot read would become a dead letter again.
_INPUTS: Mapping[str, tuple[Topic, Callable[[bytes], object]]] = {
    "heartbeats": (topics.HEARTBEATS, decode_beat),
    "dedup": (topics.ALERTS_NORMALIZED, decode_alert),
    "correlate": (topics.ALERTS_UNIQUE, decode_unique),
    "dispatch": (topics.INCIDENTS_CHANGES, decode_incident_change),
    "notify": (topics.NOTIFICATIONS, decode_notification),
}
#: The topics of the first stage, of which a letter names its own; there any bytes may come.
_ENTRANCES = {topic.name: topic for topic in (topics.ALERTS_RAW, topics.ALERTS_EVENTS)}


class Place(NamedTuple):
    """Where a letter is on the topic; its text is its id, `partition/offset`."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}/{self.offset}"


class Found(NamedTuple):
    """A letter, its place, its time, and when it was put back; times are milliseconds since 1970 UTC, 0 for never."""

    place: Place
    at: int
    letter: DeadLetter
    replayed_at: int = 0


Wanted = Callable[[Found], bool]


def place_of(text: str) -> Place:
    """The place that `Place.__str__` wrote. Raises OperatorError for another text."""
    if re.fullmatch(r"[0-9]{1,9}/[0-9]{1,18}", text) is None:
        raise OperatorError(f"{text!r} is no dead letter's id: it is as `stormweir deadletters list` shows it, 3/1204")
    partition, offset = map(int, text.split("/"))
    return Place(partition, offset)


def found_in(record: ConsumerRecord) -> Found:
    """The letter in a record of the topic."""
    letter = DeadLetter.read(record.key, record.value, list(record.headers))
    return Found(Place(record.partition, record.offset), letter.at or record.timestamp, letter)


def matching(
    *, stage: str = "", reason: str = "", since: int = 0, destination: tuple[str, str] | None = None
) -> Wanted:
    """The letters of a stage, with this reason or error, since a time, and of a destination's notifications (its tenant
    and id); what is empty is not looked at.
    """
    key = b"" if destination is None else "/".join(destination).encode()

    def wanted(found: Found) -> bool:
        letter = found.letter
        return (
            found.at >= since
            and stage in ("", letter.stage)
            and reason in ("", letter.reason, letter.error)
            and (not key or (letter.stage == "notify" and letter.key == key))
        )

    return wanted


def mark(found: Found, at: int) -> DeadLetter:
    """The mark of a letter that was put back."""
    return DeadLetter(
        stage=REPLAY,
        reason="replayed",
        error=f"{found.letter.stage}: {found.letter.reason}",
        topic=DEADLETTERS.name,
        partition=found.place.partition,
        offset=found.place.offset,
        at=at,
        key=found.letter.key,
        body=b"",
    )


def target(letter: DeadLetter, ours: Callable[[str], str | None]) -> Topic | str:
    """The topic that the letter's record came from, or why it cannot be put back.

    `ours` gives our name of a topic of Kafka, as letters name it (Kafka.ours).
    """
    if letter.last_offset >= 0:
        return "it is about records that could not be read, and has none"
    if letter.stage == "write":
        return "ClickHouse refused the row; the record itself was used"
    if not letter.body:
        return "it has no body"
    if letter.stage == "normalize":
        return _ENTRANCES.get(ours(letter.topic) or "", f"its topic {letter.topic!r} is none that alerts come in by")
    if letter.stage not in _INPUTS:
        return f"{letter.stage!r} is no stage that reads records"
    topic, decode = _INPUTS[letter.stage]
    try:
        decode(letter.body)
    except DecodeError:
        return f"its body is no record of {topic.name}"
    return topic


def tenant_of(letter: DeadLetter) -> str:
    """Whose record it was; what does not tell is the default tenant's, who runs the installation."""
    if letter.stage == "notify":
        return letter.key.partition(b"/")[0].decode("utf-8", "replace")
    try:
        record: object = _INPUTS[letter.stage][1](letter.body) if letter.stage in _INPUTS else decode_raw(letter.body)
    except DecodeError:
        return DEFAULT_TENANT
    for name in ("alert", "incident"):
        record = getattr(record, name, record)
    return str(getattr(record, "tenant", "") or DEFAULT_TENANT)


async def collect(kafka: Kafka, wanted: Wanted, *, most: int | None = None) -> list[Found]:
    """The letters that are wanted, the newest first, with `replayed_at`; the newest `most` of them, if that is given.

    Raises OperatorError when Kafka fails.
    """
    found: list[Found] = []
    marks: dict[Place, int] = {}
    async for record in records(kafka, DEADLETTERS):
        each = found_in(record)
        letter = each.letter
        if letter.stage == REPLAY:
            marks[Place(letter.partition, letter.offset)] = letter.at
        elif wanted(each):
            found.append(each)
            if most is not None and len(found) >= 2 * most + 1_000:
                found = _newest(found, most)
    return [each._replace(replayed_at=marks.get(each.place, 0)) for each in _newest(found, most)]


def _newest(found: list[Found], most: int | None) -> list[Found]:
    return sorted(found, key=lambda each: (each.at, each.place), reverse=True)[:most]
