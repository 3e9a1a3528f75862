"""Batches: the rows of a range of offsets of one partition, the same bytes for the same records. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from schemas.records import Record
from sinks.clickhouse.tables import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The rows of the records `first_offset` to `last_offset` (both included) of a partition; `len` counts them, >= 0.

    `rows` are packed; `places` holds for each row the offset of its record and its index in that record, ascending.
    `marks` holds, for each lane with new rows, the last offset in the batch: apply it once the batch is written.
    `errors` are (offset, reason) of records that gave no row.
    """

    table: Table
    topic_id: str
    partition: int
    first_offset: int
    last_offset: int
    rows: Sequence[bytes] = field(repr=False)
    records: Sequence[Record] = field(repr=False)
    places: Sequence[tuple[int, int]] = field(repr=False)
    marks: Mapping[str, int]
    errors: Sequence[tuple[int, str]]

    def __len__(self) -> int:
        return len(self.rows)

    def token(self, start: int, stop: int) -> str:
        """The deduplication token of rows [start, stop): ClickHouse writes nothing for a token that it has seen.

        The token contains the topic's id because a recreated topic has the same offsets again. A part of the batch is
        named by the places of its first and last row, which compaction does not change.
        """
        topic = f"{self.table.topic}:{self.topic_id}" if self.topic_id else self.table.topic
        token = f"{self.table.name}:{topic}:{self.partition}:{self.first_offset}-{self.last_offset}"
        if stop - start == len(self):
            return token
        (first, first_row), (last, last_row) = self.places[start], self.places[stop - 1]
        return f"{token}:{first}.{first_row}-{last}.{last_row}"


def form(table: Table, topic_id: str, records: Sequence[Record], marks: Mapping[str, int]) -> Batch:
    """The batch of `records`: one partition of one topic, ascending offsets, at least one record.

    A row whose offset is at or below its lane's mark was written before and is dropped: a worker that crashed writes
    its history twice. All rows of one input offset are in one record, so marks are compared record by record.
    Raises ValueError when the records are not of one partition.
    """
    sources = {(record.topic, record.partition) for record in records}
    if len(sources) != 1:
        raise ValueError(f"a batch of {table.name} is of one partition, not of {sorted(sources)}")
    kept: list[bytes] = []
    places: list[tuple[int, int]] = []
    moved: dict[str, int] = {}
    errors: list[tuple[int, str]] = []
    for record in records:
        rows, error = table.rows(record)
        if error is not None:
            errors.append((record.offset, error))
        raised: dict[str, int] = {}
        for index, (lane, offset, data) in enumerate(rows):
            if lane:
                if offset <= moved.get(lane, marks.get(lane, -1)):
                    continue
                raised[lane] = max(offset, raised.get(lane, -1))
            kept.append(data)
            places.append((record.offset, index))
        moved.update(raised)
    return Batch(
        table=table,
        topic_id=topic_id,
        partition=records[0].partition,
        first_offset=records[0].offset,
        last_offset=records[-1].offset,
        rows=kept,
        records=records,
        places=places,
        marks=moved,
        errors=errors,
    )
