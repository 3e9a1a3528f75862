"""One insert: a range of offsets of one partition, always the same bytes for the same records. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from schemas.records import Record
from sinks.clickhouse.tables import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows of `first_offset` to `last_offset` (both included) of a partition; `row_count` may be 0.

    `marks` holds, for each lane that moved, the last offset now taken in: apply it once the batch is written.
    `errors` are (offset, reason) of records that gave no row.
    """

    table: Table
    partition: int
    first_offset: int
    last_offset: int
    row_count: int
    body: bytes = field(repr=False)
    marks: Mapping[str, int]
    errors: Sequence[tuple[int, str]]

    @property
    def token(self) -> str:
        """ClickHouse writes nothing for a token it has seen, so this range is written once."""
        place = f"{self.table.topic}:{self.partition}:{self.first_offset}-{self.last_offset}"
        return f"{self.table.name}:{place}"


def form(table: Table, records: Sequence[Record], marks: Mapping[str, int]) -> Batch:
    """The batch of `records`: one partition of one topic, ascending offsets, at least one record.

    A row whose offset is at or below its lane's mark was written before (a worker that died wrote its history
    twice) and is dropped. All rows of one input offset travel in one record, so the mark moves per record.
    Raises ValueError when the records are not of one partition.
    """
    places = {(record.topic, record.partition) for record in records}
    if len(places) != 1:
        raise ValueError(f"a batch of {table.name} is of one partition, not of {sorted(places)}")
    parts: list[bytes] = []
    moved: dict[str, int] = {}
    errors: list[tuple[int, str]] = []
    for record in records:
        rows, error = table.rows(record)
        if error is not None:
            errors.append((record.offset, error))
        raised: dict[str, int] = {}
        for lane, offset, data in rows:
            if lane:
                if offset <= moved.get(lane, marks.get(lane, -1)):
                    continue
                raised[lane] = max(offset, raised.get(lane, -1))
            parts.append(data)
        moved.update(raised)
    return Batch(
        table=table,
        partition=records[0].partition,
        first_offset=records[0].offset,
        last_offset=records[-1].offset,
        row_count=len(parts),
        body=b"".join(parts),
        marks=moved,
        errors=errors,
    )
