"""`alerts.events` as producers write it who mean it well: foreign envelopes, zero times, seconds, text nearly right."""

import json
from typing import Any

import msgspec
import pytest

from schemas.topics import ALERTS_EVENTS, ALERTS_NORMALIZED
from schemas.wire.alert import Alert
from schemas.wire.codec import decode_alert
from schemas.wire.deadletter import DeadLetter
from schemas.wire.events import AlertEvent, encode_avro
from streams.stages.configuration import Nothing
from streams.stages.normalize import Normalize
from tests.stages.path import Rec

EVENT = {"service": "s", "dedup_key": "k", "summary": "x"}
PLAIN = json.dumps(EVENT).encode()
NOW = 1_793_966_900_000


def normalized(*values: bytes | None) -> tuple[list[Alert], list[DeadLetter]]:
    """What the stage makes of records with these values."""
    records = [Rec(ALERTS_EVENTS.name, 0, n, NOW, None, value) for n, value in enumerate(values)]
    outputs = list(Normalize(Nothing()).events(None, records, NOW))
    alerts = [decode_alert(out.value or b"") for out in outputs if out.topic == ALERTS_NORMALIZED.name]
    letters = [DeadLetter.read(out.key, out.value, list(out.headers)) for out in outputs if out.headers]
    return alerts, letters


def test_a_foreign_envelope_is_a_dead_letter_that_names_it() -> None:
    """Case 35: Confluent's format and Connect's envelope have reasons of their own, a BOM is read over, a tombstone
    is no event, and the records behind are taken.
    """
    connect = json.dumps({"schema": {"type": "struct", "fields": []}, "payload": EVENT}).encode()
    alerts, letters = normalized(
        b"\0\0\0\0*" + PLAIN, b"\0\0\0\0*\x02s\x02k", connect, None, b"", b"\xef\xbb\xbf" + PLAIN, PLAIN
    )
    assert [alert.origin_offset for alert in alerts] == [5, 6]
    assert [(letter.offset, letter.reason) for letter in letters] == [
        (0, "confluent_wire_format"),
        (1, "confluent_wire_format"),
        (2, "connect_envelope"),
        (4, "empty"),
    ]
    assert "the schema id 42, JSON" in letters[0].error
    assert "Avro or Protobuf" in letters[1].error
    assert "schemas.enable=false" in letters[2].error


def at(value: Any, name: str = "ends_at") -> Alert | str:
    """The alert of a resolve with this time, or the error of its dead letter."""
    alerts, letters = normalized(json.dumps({**EVENT, "action": "resolve", name: value}).encode())
    return alerts[0] if alerts else letters[0].error


@pytest.mark.parametrize("none", ["0001-01-01T00:00:00Z", "1960-01-01T00:00:00Z", -62_135_596_800, 0, None])
def test_a_time_before_1970_is_no_time(none: Any) -> None:
    """Case 05: Go's zero time is "not yet", as text and as a number."""
    found = at(none)
    assert isinstance(found, Alert)
    assert (found.ends_at, found.sent_at, found.ended_at) == (0, 0, 0)


@pytest.mark.parametrize("time", [1_793_966_880, 1_793_966_880.0, 1_793_966_880_000, "2026-11-06T12:08:00+00:00"])
def test_seconds_and_milliseconds_are_told_apart(time: Any) -> None:
    """Case 05: a number below 100,000,000,000 is seconds; both name the same moment."""
    found = at(time)
    assert isinstance(found, Alert)
    assert (found.ends_at, found.ended_at) == (1_793_966_880_000, 1_793_966_880_000)
    if isinstance(time, int):
        avro = encode_avro(msgspec.convert({**EVENT, "starts_at": 1_793_966_880_000}, AlertEvent))
        assert normalized(avro)[0][0].starts_at == 1_793_966_880_000


@pytest.mark.parametrize("wrong", [1_793_966_880_000_000, "yesterday", "2026-11-06T12:08:00"])
@pytest.mark.parametrize("name", ["starts_at", "ends_at"])
def test_what_is_no_time_is_a_dead_letter_that_names_the_field(wrong: Any, name: str) -> None:
    """Microseconds, words and a time without an offset."""
    assert str(at(wrong, name)).startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("value", "summary"),
    [
        (b'{"service":"s","dedup_key":"k","summary":"half \\ud83d","details":{"v":NaN}}', "half \ufffd"),
        (b'{"service":"s","dedup_key":"k","summary":"Ger\xe4t","details":{"v":null}}', "Gerät"),
        (b'{"service":"s","dedup_key":"k","summary":"x","details":{"v":null,"t":"\xe4"}}', "x"),
        (PLAIN.decode().encode("utf-16"), "x"),
    ],
)
def test_text_that_is_nearly_right_is_read(value: bytes, summary: str) -> None:
    """Cases 25 and 40 by Kafka: the alert counts, and its details can be read by everybody."""
    (alert,), letters = normalized(value)
    assert (alert.summary, letters) == (summary, [])
    assert json.loads(alert.details or b"{}").get("v") is None
