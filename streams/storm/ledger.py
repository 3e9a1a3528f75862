"""The books after a storm: every accepted alert is in ClickHouse exactly once, with exactly one outcome.

The range of offsets that a run wrote is known from Kafka. For every offset in it, SQL says whether its rows exist,
whether they exist once, and how they ended; nothing is sampled and nothing is assumed.
"""

# ruff: noqa: S608 (conditions are put together here, values only ever travel as parameters)

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from streams.storm.kafka import Ends

#: Runs one SQL query with `{name:Type}` parameters; rows come back by column name.
Query = Callable[[str, Mapping[str, Any]], Awaitable[Sequence[Mapping[str, Any]]]]

#: This many missing and doubled alerts are listed individually.
LISTED = 20
_POLL_S = 0.5
_PLACE = "kafka_topic, kafka_partition, kafka_offset"
_NO_INCIDENT = "toUUID('00000000-0000-0000-0000-000000000000')"


class Range(NamedTuple):
    """The offsets of one partition from `first` up to, but not including, `end`."""

    topic: str
    partition: int
    first: int
    end: int


class Run(NamedTuple):
    """What a storm claims: the ranges it wrote, the alerts accepted, at most `per_record` in one record.

    `since` is when the storm began, milliseconds since 1970 UTC; earlier deliveries do not belong to it.
    """

    ranges: Sequence[Range]
    accepted: int
    per_record: int
    since: int

    @property
    def records(self) -> int:
        """How many records the ranges hold."""
        return sum(span.end - span.first for span in self.ranges)


class Missing(NamedTuple):
    """A record that was not found at all (`position` None), or the alert at a position in its body."""

    topic: str
    partition: int
    offset: int
    position: int | None


class Doubled(NamedTuple):
    """An alert with more than one row; a dead letter of the same record counts as a row."""

    topic: str
    partition: int
    offset: int
    position: int
    rows: int
    outcomes: list[str]


class Stored(NamedTuple):
    """What ClickHouse holds of a run so far: distinct alerts, the records they came in, dead letters."""

    alerts: int
    records: int
    dead_letters: int

    def holds(self, run: Run) -> bool:
        """Whether everything of the run has arrived."""
        alerts = self.alerts + self.dead_letters * run.per_record
        return alerts >= run.accepted and self.records + self.dead_letters >= run.records


@dataclass
class Books:
    """What ClickHouse holds of a run, looked up offset by offset. `duplicates` counts surplus rows.

    `drained` says whether the stack had no work left; if it had, incidents and notifications may still grow.
    """

    stored: Stored
    unaccounted: int = 0
    duplicates: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    incidents: int = 0
    notifications: int = 0
    drained: bool = False
    missing: list[Missing] = field(default_factory=list)
    doubled: list[Doubled] = field(default_factory=list)


def ranges(before: Ends, after: Ends) -> list[Range]:
    """The offsets written between two readings of the topics' ends."""
    return [
        Range(topic, partition, before.get((topic, partition), 0), end)
        for (topic, partition), end in sorted(after.items())
        if end > before.get((topic, partition), 0)
    ]


async def count_stored(query: Query, spans: Sequence[Range]) -> Stored:
    """How much of the ranges is stored."""
    where, values = _within(spans)
    (row,) = await query(
        f"SELECT uniqExact({_PLACE}, kafka_index) AS alerts, uniqExact({_PLACE}) AS records,"
        f" (SELECT uniqExact({_PLACE}) FROM dead_letters WHERE {where}) AS dead_letters"
        f" FROM alerts WHERE {where}",
        values,
    )
    return Stored(**row)


async def take_books(query: Query, run: Run) -> Books:
    """Look up every offset of the run.

    An accepted alert is unaccounted when it is neither stored nor a dead letter. Records in the ranges that are not of
    the run, or whose requests had no answer, cannot hide a loss: every offset must be there.
    """
    where, values = _within(run.ranges)
    books = Books(await count_stored(query, run.ranges))
    missing = [await _missing(query, span) for span in run.ranges]
    absent = sum(count for count, _ in missing)
    short = run.accepted - books.stored.alerts - books.stored.dead_letters * run.per_record
    books.unaccounted = max(absent, short)
    books.missing = [each for _, found in missing for each in found][:LISTED]
    doubled = await _doubled(query, where, values)
    books.duplicates = sum(each.rows - 1 for each in doubled)
    books.doubled = doubled[:LISTED]
    ends = await query(
        f"SELECT toString(outcome) AS ended, uniqExact({_PLACE}, kafka_index) AS alerts FROM alerts"
        f" WHERE {where} GROUP BY ended ORDER BY ended",
        values,
    )
    books.outcomes = {row["ended"]: row["alerts"] for row in ends}
    touched = f"SELECT DISTINCT incident_id FROM alerts WHERE ({where}) AND incident_id != {_NO_INCIDENT}"
    (told,) = await query(
        f"SELECT (SELECT count() FROM ({touched})) AS incidents,"
        " (SELECT uniqExact(notification_id) FROM deliveries WHERE outcome = 'delivered'"
        " AND finished_at >= fromUnixTimestamp64Milli({since:Int64})"
        f" AND incident_id IN ({touched})) AS notifications",
        {**values, "since": run.since},
    )
    books.incidents, books.notifications = told["incidents"], told["notifications"]
    return books


async def settle(
    query: Query,
    run: Run,
    drained: Callable[[], Awaitable[bool]],
    deadline_s: float,
    progress: Callable[[int], None],
) -> tuple[Books, float]:
    """Take the books when everything has arrived, or at the deadline; also returns the seconds that storing took.

    Notifications leave after the alerts are stored: `drained` says when no work is left.
    """
    started = time.monotonic()
    while True:
        stored = await count_stored(query, run.ranges)
        progress(stored.alerts)
        seconds = time.monotonic() - started
        if stored.holds(run) or seconds > deadline_s:
            break
        await asyncio.sleep(_POLL_S)
    done = await drained()
    while not done and time.monotonic() - started < deadline_s:
        await asyncio.sleep(_POLL_S)
        done = await drained()
    books = await take_books(query, run)
    books.drained = done
    return books, seconds


def _within(spans: Sequence[Range]) -> tuple[str, dict[str, Any]]:
    """A condition on the `kafka_*` columns and the values of its parameters."""
    clauses = ["0"]
    values: dict[str, Any] = {}
    for n, span in enumerate(spans):
        clauses.append(
            f"(kafka_topic = {{topic{n}:String}} AND kafka_partition = {{partition{n}:UInt16}}"
            f" AND kafka_offset >= {{first{n}:UInt64}} AND kafka_offset < {{end{n}:UInt64}})"
        )
        values |= {f"{name}{n}": value for name, value in span._asdict().items()}
    return " OR ".join(clauses), values


async def _missing(query: Query, span: Range) -> tuple[int, list[Missing]]:
    where, values = _within([span])
    (absent,) = await query(
        f"SELECT count() AS records, groupArraySorted({LISTED})(number) AS offsets"
        " FROM numbers({first0:UInt64}, {count:UInt64})"
        f" WHERE number NOT IN (SELECT kafka_offset FROM alerts WHERE {where})"
        f" AND number NOT IN (SELECT kafka_offset FROM dead_letters WHERE {where})",
        {**values, "count": span.end - span.first},
    )
    # The alerts of a record are numbered from 0: any number below the highest that has no row is missing.
    gaps = await query(
        "SELECT kafka_offset, arrayJoin(arrayFilter(i -> NOT has(indexes, i), range(last + 1))) AS gap FROM ("
        "SELECT kafka_offset, groupUniqArray(kafka_index) AS indexes, max(kafka_index) AS last FROM alerts"
        f" WHERE {where} GROUP BY kafka_offset HAVING length(indexes) != last + 1) ORDER BY kafka_offset, gap",
        values,
    )
    found = [Missing(span.topic, span.partition, offset, None) for offset in absent["offsets"]]
    found += [Missing(span.topic, span.partition, row["kafka_offset"], row["gap"]) for row in gaps]
    return absent["records"] + len(gaps), found


async def _doubled(query: Query, where: str, values: Mapping[str, Any]) -> list[Doubled]:
    rows = await query(
        f"SELECT {_PLACE}, kafka_index,"
        f" count() + max(({_PLACE}) IN (SELECT {_PLACE} FROM dead_letters WHERE {where})) AS found,"
        f" groupUniqArray(toString(outcome)) AS outcomes FROM alerts WHERE {where}"
        f" GROUP BY {_PLACE}, kafka_index HAVING found > 1 ORDER BY {_PLACE}, kafka_index",
        values,
    )
    return [
        Doubled(
            row["kafka_topic"],
            row["kafka_partition"],
            row["kafka_offset"],
            row["kafka_index"],
            row["found"],
            sorted(row["outcomes"]),
        )
        for row in rows
    ]
