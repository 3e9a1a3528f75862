"""Dead letters: which are found, and where the record of each goes back to."""

from collections import Counter
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from schemas.records import Output
from schemas.topics import ALERTS_EVENTS, ALERTS_NORMALIZED, ALERTS_RAW, DEADLETTERS, NOTIFICATIONS, Topic
from schemas.wire.codec import encode
from schemas.wire.deadletter import DeadLetter
from streams.cli._when import moment
from streams.delivery.letters import REPLAY, Found, Place, found_in, mark, matching, place_of, target
from streams.delivery.replay import plan
from streams.engine import Loss
from streams.pipeline import lost
from streams.process.errors import OperatorError
from streams.process.kafka import Kafka
from streams.stages.normalize import dead_letter
from tests.policy.test_rules import ALERT
from tests.sinks.samples import notification

KAFKA = Kafka("127.0.0.1:1", prefix="acme.")


def letter(**fields: Any) -> DeadLetter:
    """A notification that was given up."""
    values = {
        "stage": "notify",
        "reason": "undelivered",
        "error": "unauthorized",
        "topic": NOTIFICATIONS.name,
        "partition": 0,
        "offset": 7,
        "at": 1_000,
        "key": b"default/ops",
        "body": encode(notification()),
    }
    return DeadLetter(**values | fields)


def found(offset: int = 0, replayed_at: int = 0, **fields: Any) -> Found:
    """It on the topic."""
    made = letter(**fields)
    return Found(Place(3, offset), made.at, made, replayed_at)


def record(key: bytes, value: bytes, headers: list[tuple[str, bytes]], offset: int = 5) -> ConsumerRecord[Any, Any]:
    """A record of the topic."""
    return ConsumerRecord(DEADLETTERS.name, 3, offset, 9, 0, key, value, None, len(key), len(value), tuple(headers))


@pytest.mark.parametrize(
    ("fields", "topic"),
    [
        ({}, NOTIFICATIONS),
        ({"stage": "normalize", "topic": "acme.alerts.raw", "body": b"any"}, ALERTS_RAW),
        ({"stage": "normalize", "topic": "acme.alerts.events", "body": b"any"}, ALERTS_EVENTS),
        # Where the alert came in is named, but its body is the record that the stage read.
        ({"stage": "dedup", "topic": "acme.alerts.raw", "body": encode(ALERT)}, ALERTS_NORMALIZED),
    ],
)
def test_a_record_goes_back_to_what_its_stage_reads(fields: dict[str, Any], topic: Topic) -> None:
    """Each stage has its topic; the first one has two, of which the letter names its own, with the prefix."""
    assert target(letter(**fields), KAFKA.ours) is topic


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"last_offset": 9}, "could not be read"),
        ({"stage": "write", "topic": "acme.incidents"}, "ClickHouse refused the row"),
        ({"body": b""}, "no body"),
        ({"stage": "normalize", "topic": "acme.control"}, "'acme.control' is none that alerts come in by"),
        ({"stage": "normalize", "topic": "alerts.raw"}, "is none that alerts come in by"),
        ({"stage": "correlate"}, "no record of alerts.unique"),
        ({"stage": ""}, "no stage"),
        ({"stage": REPLAY}, "no stage"),
    ],
)
def test_what_cannot_go_back_says_why(fields: dict[str, Any], why: str) -> None:
    """Nothing is written to a topic that is not the input of a stage, nor what the stage could not read again."""
    assert why in str(target(letter(**fields), KAFKA.ours))


def test_the_letters_of_stages_are_found_as_they_were_written() -> None:
    """What the stage and the engine write is read back, also when the record's key is no text."""
    made: Output = dead_letter("normalize", "bad_event", ValueError("x\n\x1b[2J"), record(b"\xff\x00", b"{", []), 2_000)
    each = found_in(record(made.key or b"", made.value or b"", list(made.headers)))
    assert (str(each.place), each.at, each.letter.body, each.letter.key) == ("3/5", 2_000, b"{", b"\xff\x00")
    loss = Loss("normalize", "unreadable_batch", "crc", ALERTS_RAW.name, 0, 10, 19, b"")
    made = lost(loss, 3_000)
    each = found_in(record(made.key or b"", made.value or b"", list(made.headers)))
    assert isinstance(target(each.letter, KAFKA.ours), str)


def test_a_record_by_hand_is_a_letter_too() -> None:
    """Without headers its time is the record's, and it stays."""
    each = found_in(record(b"k", b"v", []))
    assert (each.at, each.letter.stage) == (9, "")
    assert plan(KAFKA, [each]).letters == []


def test_a_mark_names_the_letter_and_survives_the_topic() -> None:
    """What is written is read back as the place of the letter."""
    written = mark(found(offset=12), 5_000)
    read = found_in(record(written.key, written.body, written.headers())).letter
    assert (read.stage, Place(read.partition, read.offset), read.at, read.body) == (REPLAY, Place(3, 12), 5_000, b"")


def test_letters_are_put_back_once_and_in_their_order() -> None:
    """The oldest first; those that were put back, or cannot be, are counted by their reasons."""
    letters = [
        found(4, at=30),
        found(1, at=10),
        found(2, at=20, replayed_at=99),
        found(3, at=20, stage="write"),
    ]
    planned = plan(KAFKA, letters)
    assert [each.place.offset for each, _ in planned.letters] == [1, 4]
    assert planned.by_topic == Counter({NOTIFICATIONS.name: 2})
    assert sorted(planned.stay.values()) == [1, 1]
    assert planned.stay["it was put back already"] == 1
    assert [each.place.offset for each, _ in plan(KAFKA, letters, again=True).letters] == [1, 2, 4]


@pytest.mark.parametrize(
    ("choice", "offsets"),
    [
        ({}, [0, 1, 2, 3]),
        ({"stage": "normalize"}, [2]),
        ({"reason": "unauthorized"}, [0, 3]),
        ({"reason": "undelivered"}, [0, 1, 3]),
        ({"since": 20}, [1, 2]),
        ({"destination": ("default", "ops")}, [0, 1]),
        ({"destination": ("default", "ops"), "reason": "timeout"}, [1]),
    ],
)
def test_letters_are_chosen(choice: dict[str, Any], offsets: list[int]) -> None:
    """By stage, by reason or error, by time, and by destination; an alert with such a key is no notification."""
    letters = [
        found(0, at=10),
        found(1, at=20, error="timeout"),
        found(2, at=30, stage="normalize", reason="bad_event", error="no JSON"),
        found(3, at=15, key=b"acme/ops"),
    ]
    assert [each.place.offset for each in letters if matching(**choice)(each)] == offsets


@pytest.mark.parametrize("text", ["", "3", "3/", "/4", "-1/4", "3/4/5", "3/x", "٣/4", "3/" + "9" * 40])
def test_an_id_that_is_none_is_refused(text: str) -> None:
    """Only what `list` shows is an id."""
    with pytest.raises(OperatorError, match="is no dead letter's id"):
        place_of(text)


def test_an_id_is_read_as_it_is_shown() -> None:
    """There and back."""
    assert place_of(str(Place(3, 1204))) == Place(3, 1204)


def test_times_are_ago_or_dates() -> None:
    """Minutes, hours and days ago differ as they should; a date without a zone is UTC; the rest names the option."""
    assert moment("--since", "2026-11-26T13:00") == moment("--since", "2026-11-26T14:00+01:00") == 1_795_698_000_000
    gap = moment("--since", "1h") - moment("--since", "7d")
    assert abs(gap - (7 * 24 - 1) * 3_600_000) < 60_000
    for text in ("", "yesterday", "5", "5w", "99999999999d"):
        with pytest.raises(OperatorError, match="--since: so long ago"):
            moment("--since", text)
