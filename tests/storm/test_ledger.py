"""The ledger against the real ClickHouse engine: rows made by hand, each fault found by name."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any

import msgspec
import pytest

from schemas.wire.rows import AlertOutcome, AlertRow, DeadLetterRow, DeliveryRow, Row, pack_row, uuid_column
from sinks.clickhouse.batches import Batch
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.tables import TABLES
from streams.storm.ledger import Doubled, Missing, Query, Range, Run, Stored, settle, take_books
from tests.clickhouse.samples import NOW, alert_row

RAW, EVENTS = "alerts.raw", "alerts.events"
INCIDENT = uuid_column(b"\x01" * 16)
RUN = Run([Range(RAW, 0, 100, 200), Range(RAW, 1, 0, 50), Range(EVENTS, 0, 7, 17)], 160, 1, NOW)


def _alerts(run: Run = RUN) -> list[AlertRow]:
    """One row for every offset of the run, and neighbours that are not part of it."""
    places = [(topic, partition, at) for topic, partition, first, end in run.ranges for at in range(first, end)]
    places += [(RAW, 0, 99), (RAW, 0, 200), (RAW, 2, 100), (EVENTS, 0, 17)]
    return [
        alert_row(kafka_topic=topic, kafka_partition=partition, kafka_offset=at, outcome=AlertOutcome.DEDUPLICATED)
        for topic, partition, at in places
    ]


def _without(rows: Iterable[AlertRow], *places: tuple[str, int, int]) -> list[AlertRow]:
    return [row for row in rows if (row.kafka_topic, row.kafka_partition, row.kafka_offset) not in places]


def _dead(topic: str, partition: int, offset: int) -> DeadLetterRow:
    return DeadLetterRow(NOW, "normalize", "bad", "", b"", b"", topic, partition, offset, 0, offset)


def _delivery(number: int, attempt: int, outcome: str, at: int = NOW) -> DeliveryRow:
    return DeliveryRow(
        tenant="default",
        notification_id=uuid_column(number.to_bytes(16, "big")),
        incident_id=INCIDENT,
        channel="webhook",
        destination="d",
        transition="triggered",
        attempt=attempt,
        queued_at=at,
        sent_at=at,
        finished_at=at,
        outcome=outcome,
        http_status=200,
        error="",
        kafka_topic="notifications.results",
        kafka_partition=0,
        kafka_offset=number * 10 + attempt,
    )


_batches = count()
_TABLES = {AlertRow: "alerts", DeadLetterRow: "dead_letters", DeliveryRow: "deliveries"}


@pytest.fixture
def query(clickhouse: ClickHouse) -> Query:
    """The ledger's way to the database of this test."""
    return clickhouse.query


async def _write(clickhouse: ClickHouse, rows: Iterable[Row]) -> None:
    """Each kind of row into its table, as the writer does; the token differs with every call."""
    rows = list(rows)
    for kind, name in _TABLES.items():
        packed = [pack_row(row) for row in rows if type(row) is kind]
        table = next(table for table in TABLES.values() if table.name == name)
        number = next(_batches)
        await clickhouse.insert(
            Batch(
                table=table,
                partition=0,
                first_offset=number,
                last_offset=number,
                topic_id="",
                rows=packed,
                records=(),
                places=(),
                marks={},
                errors=(),
            )
        )


async def test_a_whole_run_balances(clickhouse: ClickHouse, query: Query) -> None:
    """With every offset stored once, nothing is unaccounted, and neighbours are not counted."""
    await _write(clickhouse, _alerts())
    books = await take_books(query, RUN)
    assert books.stored == Stored(160, 160, 0)
    assert (books.unaccounted, books.duplicates, books.missing, books.doubled) == (0, 0, [], [])
    assert books.outcomes == {"deduplicated": 160}
    assert (books.incidents, books.notifications) == (0, 0)


async def test_missing_offsets_are_named(clickhouse: ClickHouse, query: Query) -> None:
    """An offset that is nowhere is unaccounted and listed; its neighbour range does not hide it."""
    await _write(clickhouse, _without(_alerts(), (RAW, 0, 100), (RAW, 1, 49), (EVENTS, 0, 12)))
    books = await take_books(query, RUN)
    assert books.unaccounted == 3
    assert books.missing == [
        Missing(RAW, 0, 100, None),
        Missing(RAW, 1, 49, None),
        Missing(EVENTS, 0, 12, None),
    ]


async def test_surplus_records_hide_no_loss(clickhouse: ClickHouse, query: Query) -> None:
    """When requests without an answer put more records on the topic than were accepted, a loss still shows."""
    await _write(clickhouse, _without(_alerts(), (RAW, 0, 150)))
    books = await take_books(query, RUN._replace(accepted=120))
    assert (books.unaccounted, books.missing) == (1, [Missing(RAW, 0, 150, None)])


async def test_accepted_but_not_on_the_topic_is_unaccounted(clickhouse: ClickHouse, query: Query) -> None:
    """An accepted alert that never reached Kafka has no offset to list and is counted all the same."""
    await _write(clickhouse, _alerts())
    assert (await take_books(query, RUN._replace(accepted=165))).unaccounted == 5


async def test_long_lists_are_cut_and_counts_are_not(clickhouse: ClickHouse, query: Query) -> None:
    """The first 20 missing are listed, all are counted, even when nothing is stored at all."""
    books = await take_books(query, RUN)
    assert books.unaccounted == 160
    assert [each.offset for each in books.missing] == list(range(100, 120))


async def test_doubled_rows_are_named(clickhouse: ClickHouse, query: Query) -> None:
    """A row that is there twice is a duplicate, whether in one insert or two."""
    rows = _alerts()
    await _write(clickhouse, [*rows, rows[3]])
    await _write(clickhouse, [rows[3], rows[120]])
    books = await take_books(query, RUN)
    assert books.unaccounted == 0
    assert books.duplicates == 3
    assert books.doubled == [
        Doubled(RAW, 0, 103, 0, 3, ["deduplicated"]),
        Doubled(RAW, 1, 20, 0, 2, ["deduplicated"]),
    ]


async def test_two_outcomes_of_one_alert_are_named(clickhouse: ClickHouse, query: Query) -> None:
    """One alert with two different outcomes is a duplicate and both outcomes are told."""
    rows = _alerts()
    await _write(clickhouse, [*rows, msgspec.structs.replace(rows[0], outcome=AlertOutcome.OPENED)])
    books = await take_books(query, RUN)
    assert books.doubled == [Doubled(RAW, 0, 100, 0, 2, ["deduplicated", "opened"])]
    assert books.duplicates == 1


async def test_dead_letters_account_for_their_record(clickhouse: ClickHouse, query: Query) -> None:
    """A record in `dead_letters` is accounted for, also when its letter was written twice."""
    await _write(clickhouse, [*_without(_alerts(), (RAW, 0, 140)), _dead(RAW, 0, 140), _dead(RAW, 0, 99)])
    await _write(clickhouse, [_dead(RAW, 0, 140)])
    books = await take_books(query, RUN)
    assert books.stored == Stored(159, 159, 1)
    assert (books.unaccounted, books.duplicates) == (0, 0)


async def test_stored_and_dead_is_doubled(clickhouse: ClickHouse, query: Query) -> None:
    """An alert with an outcome whose record is a dead letter as well has two ends."""
    await _write(clickhouse, [*_alerts(), _dead(RAW, 1, 0)])
    books = await take_books(query, RUN)
    assert books.doubled == [Doubled(RAW, 1, 0, 0, 2, ["deduplicated"])]


async def test_alerts_inside_a_record_are_told_apart(clickhouse: ClickHouse, query: Query) -> None:
    """With several alerts a record, a gap in their numbering and a tail cut off are both found."""
    run = Run([Range(RAW, 0, 0, 10)], accepted=80, per_record=8, since=NOW)
    rows = [
        alert_row(kafka_topic=RAW, kafka_partition=0, kafka_offset=at, kafka_index=index)
        for at in range(10)
        for index in range(8)
    ]
    await _write(clickhouse, [row for row in rows if (row.kafka_offset, row.kafka_index) != (4, 3)])
    books = await take_books(query, run)
    assert (books.unaccounted, books.missing) == (1, [Missing(RAW, 0, 4, 3)])
    await _write(clickhouse, [row for row in rows if (row.kafka_offset, row.kafka_index) == (4, 3)])
    assert (await take_books(query, run)).unaccounted == 0
    assert (await take_books(query, run._replace(accepted=81))).unaccounted == 1


async def test_incidents_and_notifications_of_the_run_are_counted(clickhouse: ClickHouse, query: Query) -> None:
    """Incidents are those the alerts belong to; a notification counts once, delivered and of this run."""
    rows = _alerts()
    rows[0] = msgspec.structs.replace(rows[0], incident_id=INCIDENT)
    rows[1] = msgspec.structs.replace(rows[1], incident_id=INCIDENT)
    rows[2] = msgspec.structs.replace(rows[2], incident_id=uuid_column(b"\x02" * 16))
    deliveries = [
        _delivery(1, 1, "retry"),
        _delivery(1, 2, "delivered"),
        _delivery(2, 1, "delivered"),
        _delivery(3, 1, "failed"),
        _delivery(4, 1, "delivered", at=NOW - 1),
    ]
    await _write(clickhouse, [*rows, *deliveries])
    books = await take_books(query, RUN)
    assert (books.incidents, books.notifications) == (2, 2)


async def _nothing_under_way() -> bool:
    return True


async def test_settle_waits_until_all_is_stored(clickhouse: ClickHouse, query: Query) -> None:
    """Rows that arrive while it waits are counted, and progress is told."""
    rows = _alerts()
    await _write(clickhouse, rows[:50])
    waiting = [rows[50:]]
    seen: list[int] = []

    async def late(sql: str, params: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        found = await query(sql, params)
        if waiting:
            await _write(clickhouse, waiting.pop())
        return found

    books, seconds = await settle(late, RUN, _nothing_under_way, 30, seen.append)
    assert (seen[0], seen[-1]) == (50, 160)
    assert (books.unaccounted, books.drained) == (0, True)
    assert 0 < seconds < 30


async def test_settle_takes_the_books_after_the_notifications(clickhouse: ClickHouse, query: Query) -> None:
    """With every alert stored, it still waits until nothing is under way before it counts notifications."""
    rows = _alerts()
    rows[0] = msgspec.structs.replace(rows[0], incident_id=INCIDENT)
    await _write(clickhouse, rows)
    asked = 0

    async def drained() -> bool:
        nonlocal asked
        asked += 1
        if asked == 2:
            await _write(clickhouse, [_delivery(1, 1, "delivered")])
        return asked == 3

    books, _ = await settle(query, RUN, drained, 30, lambda stored: None)
    assert (books.notifications, books.drained, asked) == (1, True, 3)


async def test_settle_ends_at_the_deadline(query: Query) -> None:
    """When something never arrives, the deadline ends the wait and the books name it."""

    async def never() -> bool:
        return False

    books, seconds = await settle(query, RUN, never, 0.2, lambda stored: None)
    assert (books.unaccounted, books.drained) == (160, False)
    assert 0.2 <= seconds < 10
