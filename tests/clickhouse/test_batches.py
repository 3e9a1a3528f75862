"""Records become batches, without an engine: which rows, which bytes, which token."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.topics import (
    ALERTS_HISTORY,
    AUDIT,
    CHANGES,
    DEADLETTERS,
    INCIDENTS,
    INCIDENTS_EVENTS,
    NOTIFICATIONS_RESULTS,
    REJECTIONS,
    WRITTEN_TOPICS,
)
from schemas.wire.alert import Severity
from schemas.wire.codec import encode
from schemas.wire.deadletter import DeadLetter
from schemas.wire.rows import pack_row
from sinks.clickhouse.batches import form
from sinks.clickhouse.tables import TABLES
from tests.clickhouse.samples import (
    NOW,
    Record,
    alert_row,
    audit,
    change,
    delivery,
    history,
    incident,
    incident_event,
    rejection,
)

ALERTS = TABLES[ALERTS_HISTORY.name]


def values(packed: bytes, count: int) -> list[object]:
    """The column values of one packed row."""
    header = b"\xdc" + count.to_bytes(2, "big")
    found: list[object] = msgspec.msgpack.decode(header + packed)
    return found


def test_every_written_topic_has_a_table() -> None:
    """None is forgotten and none invented."""
    assert set(TABLES) == {topic.name for topic in WRITTEN_TOPICS}


@pytest.mark.parametrize(
    ("topic", "value", "name"),
    [
        (INCIDENTS.name, encode(incident()), "incidents"),
        (INCIDENTS_EVENTS.name, encode(incident_event()), "incident_events"),
        (NOTIFICATIONS_RESULTS.name, encode(delivery()), "deliveries"),
        (CHANGES.name, encode(change(links=[{"href": "https://example.com/", "text": "build"}])), "change_events"),
        (REJECTIONS.name, encode(rejection()), "rejections"),
        (AUDIT.name, encode(audit()), "audit"),
    ],
)
def test_a_record_becomes_one_row_with_its_place(topic: str, value: bytes, name: str) -> None:
    """The row has as many values as the table columns, and ends with the record's topic, partition, offset."""
    table = TABLES[topic]
    assert table.name == name
    (row,), error = table.rows(Record(topic, value, offset=7, partition=2))
    assert error is None
    assert row.lane == ""
    assert values(row.data, len(table.columns))[-3:] == [topic, 2, 7]


def test_a_tombstone_is_no_row() -> None:
    """A deleted incident writes nothing and is no error."""
    assert TABLES[INCIDENTS.name].rows(Record(INCIDENTS.name, None)) == ((), None)


def test_tombstones_between_incidents_are_skipped() -> None:
    """What was forgotten on the compacted topic leaves the others' rows as they are, and is no error."""
    values = [encode(incident(version=1)), None, encode(incident(version=2)), None]
    records = [Record(INCIDENTS.name, value, n) for n, value in enumerate(values)]
    batch = form(TABLES[INCIDENTS.name], "", records, {})
    assert (len(batch), batch.errors, batch.places) == (2, [], [(0, 0), (2, 0)])
    assert (batch.first_offset, batch.last_offset) == (0, 3)


def test_rows_of_an_older_version_get_the_severity_they_ended_with() -> None:
    """A block that a worker without `severity_raw` wrote is still on the topic after an upgrade; so are those without
    the sender's times.
    """
    row = alert_row(0, severity=Severity.INFO, severity_raw=Severity.CRITICAL, sent_ms=0, began_ms=0, ended_ms=0)
    old = pack_row(row)[:-4]
    record = Record(ALERTS_HISTORY.name, msgspec.msgpack.encode(["dedup", 0, [7], [old]]))
    (packed,), error = ALERTS.rows(record)
    assert error is None
    assert packed.data == pack_row(msgspec.structs.replace(row, severity_raw=Severity.INFO))
    later = Record(ALERTS_HISTORY.name, msgspec.msgpack.encode(["dedup", 0, [7], [pack_row(row)[:-3]], 28]))
    assert ALERTS.rows(later).rows[0].data == pack_row(row)
    for values in (3, 26, 40):
        other = Record(ALERTS_HISTORY.name, msgspec.msgpack.encode(["dedup", 0, [7], [bytes(values)], values]))
        assert ALERTS.rows(other).error is not None
    cut = Record(ALERTS_HISTORY.name, msgspec.msgpack.encode(["dedup", 0, [7], [old[:-1]]]))
    assert ALERTS.rows(cut).error is not None


def test_one_row_alone_is_a_record_of_its_topic() -> None:
    """The row of a block keeps its stage, partition and offset; what is one row anyway stays as it is."""
    block = history(3, [(10, alert_row(10)), (11, alert_row(11)), (12, alert_row(12))], "correlate", 2)
    alone = ALERTS.alone(block, 1)
    assert ALERTS.rows(Record(ALERTS_HISTORY.name, alone)).rows == [ALERTS.rows(block).rows[1]]
    value = encode(incident())
    assert TABLES[INCIDENTS.name].alone(Record(INCIDENTS.name, value), 0) == value


def test_a_dead_letter_names_the_failed_record() -> None:
    """Its place is the failed record's; written by hand, without our headers, it is its own."""
    table = TABLES[DEADLETTERS.name]
    letter = DeadLetter("normalize", "bad_json", "no", "alerts.raw", 3, 9, NOW, b"k", b"\xff", row=5)
    record = Record(DEADLETTERS.name, b"\xff", 4, key=b"k", headers=letter.headers())
    (row,), _ = table.rows(record)
    assert row.data == pack_row_of(letter)
    (row,), _ = table.rows(Record(DEADLETTERS.name, None, 4, 1))
    assert values(row.data, len(table.columns)) == [NOW, "", "", "", b"", b"", DEADLETTERS.name, 1, 4, 0, 4]


def test_a_dead_letter_by_reference_names_the_last_record_too() -> None:
    """The letter of a batch that nobody can read has no body, and is read back as it was written."""
    table = TABLES[DEADLETTERS.name]
    letter = DeadLetter("dedup", "unreadable_batch", "no", "alerts.normalized", 3, 9, NOW, b"", b"", last_offset=25)
    assert DeadLetter.read(b"", b"", letter.headers()) == letter
    (row,), _ = table.rows(Record(DEADLETTERS.name, b"", 4, headers=letter.headers()))
    assert values(row.data, len(table.columns))[-5:] == ["alerts.normalized", 3, 9, 0, 25]


def pack_row_of(letter: DeadLetter) -> bytes:
    fields = (letter.at, letter.stage, letter.reason, letter.error, letter.key, letter.body)
    place = (letter.topic, letter.partition, letter.offset, letter.row, letter.offset)
    return b"".join(msgspec.msgpack.encode(v) for v in (*fields, *place))


@pytest.mark.parametrize("topic", [topic.name for topic in WRITTEN_TOPICS])
@given(value=st.one_of(st.none(), st.binary(max_size=200)), header=st.binary(max_size=30))
def test_no_record_raises(topic: str, value: bytes | None, header: bytes) -> None:
    """Whatever lies on a topic is rows or an error that quotes nothing of it."""
    names = ("stage", "topic", "partition", "offset", "at")
    record = Record(topic, value, headers=[(name, header) for name in names])
    rows, error = TABLES[topic].rows(record)
    assert error is None or (not rows and topic in error)


def test_ids_of_a_wrong_length_are_an_error() -> None:
    """ClickHouse would refuse the whole batch for ever; one record is refused instead."""
    value = encode(incident(incident_id=b"short"))
    assert TABLES[INCIDENTS.name].rows(Record(INCIDENTS.name, value)).error is not None


def test_a_block_whose_parts_do_not_fit_is_an_error() -> None:
    """A history block has one offset per row."""
    value = msgspec.msgpack.encode(["dedup", 0, [1, 2], [b"x"]])
    assert ALERTS.rows(Record(ALERTS_HISTORY.name, value)).error is not None


def test_a_batch_is_the_rows_of_its_records() -> None:
    """Rows keep their order; the token names table, topic, partition and offsets; undecodable records are told."""
    rows = [alert_row(n) for n in range(3)]
    records = [history(10, [(0, rows[0]), (1, rows[1])]), Record(ALERTS.topic, b"?", 11), history(12, [(2, rows[2])])]
    batch = form(ALERTS, "", records, {})
    assert b"".join(batch.rows) == b"".join(pack_row(row) for row in rows)
    assert len(batch) == 3
    assert batch.token(0, 3) == "alerts:alerts.history:0:10-12"
    assert batch.places == [(10, 0), (10, 1), (12, 0)]
    assert batch.marks == {"dedup/0": 2}
    assert [offset for offset, _ in batch.errors] == [11]


def test_a_token_names_the_topic_that_was_read_and_the_rows_that_are_sent() -> None:
    """A topic made anew has other tokens for the same offsets; parts of a batch have their own, the same every time."""
    records = [history(n, [(n, alert_row(n))]) for n in range(4)]
    old, new = form(ALERTS, "a1", records, {}), form(ALERTS, "b2", records, {})
    assert old.token(0, 4) == "alerts:alerts.history:a1:0:0-3"
    assert new.token(0, 4) == "alerts:alerts.history:b2:0:0-3"
    assert old.token(0, 2) == "alerts:alerts.history:a1:0:0-3:0.0-1.0"
    assert len({old.token(start, stop) for start in range(4) for stop in range(start + 1, 5)}) == 10


def test_the_same_records_are_the_same_batch() -> None:
    """After a crash the range is formed again to the byte; the given marks stay as they are."""
    records = [history(n, [(n, alert_row(n, labels={"b": "1", "a": "2"}))]) for n in range(20)]
    marks = {"dedup/0": 4}
    assert form(ALERTS, "", records, marks) == form(ALERTS, "", records, marks)
    assert marks == {"dedup/0": 4}


def test_what_a_crashed_worker_wrote_twice_is_dropped() -> None:
    """Offsets at or below their lane's mark are dropped; lanes do not touch each other."""
    first, second = alert_row(1), alert_row(2)
    records = [
        history(0, [(1, first), (2, second)]),
        history(1, [(1, first), (2, second), (3, alert_row(3))]),  # replayed, with another cut
        history(2, [(1, alert_row(1))], partition=1),
        history(3, [(2, alert_row(2))], stage="correlate"),
    ]
    batch = form(ALERTS, "", records, {"correlate/0": 2})
    assert len(batch) == 4
    assert batch.marks == {"dedup/0": 3, "dedup/1": 1}


def test_rows_of_one_offset_stay_together() -> None:
    """One input record may end in several rows; all of them count, once."""
    block = [(5, alert_row(5, 0)), (5, alert_row(5, 1))]
    batch = form(ALERTS, "", [history(0, block), history(1, block)], {})
    assert len(batch) == 2
    assert len(form(ALERTS, "", [history(2, block)], batch.marks)) == 0


def test_a_batch_of_several_partitions_is_refused() -> None:
    """A token is for one range of one partition of one topic."""
    with pytest.raises(ValueError, match="one partition"):
        form(ALERTS, "", [Record(ALERTS.topic, b"", 0, 0), Record(ALERTS.topic, b"", 0, 1)], {})
    with pytest.raises(ValueError, match=r"alerts\.history"):
        form(ALERTS, "", [Record(ALERTS.topic, b"", 0, 0), Record(INCIDENTS.name, b"", 0, 0)], {})


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=8),
    cuts=st.lists(st.integers(0, 7), max_size=3),
    batch_size=st.integers(1, 4),
)
def test_marks_count_every_offset_once(sizes: list[int], cuts: list[int], batch_size: int) -> None:
    """However a worker restarts and however batches are cut, each input offset is written exactly once."""
    ends = [sum(sizes[: n + 1]) for n in range(len(sizes))]
    blocks = [range(end - size, end) for size, end in zip(sizes, ends, strict=True)]
    for cut in cuts:  # the worker dies and repeats everything from the start of some block
        blocks += blocks[cut % len(blocks) :]
    records = [history(n, [(at, alert_row(at)) for at in block]) for n, block in enumerate(blocks)]
    marks: dict[str, int] = {}
    body = b""
    for start in range(0, len(records), batch_size):
        batch = form(ALERTS, "", records[start : start + batch_size], marks)
        marks |= batch.marks
        body += b"".join(batch.rows)
    assert body == b"".join(pack_row(alert_row(at)) for at in range(ends[-1]))
