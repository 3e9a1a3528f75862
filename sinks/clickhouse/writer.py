"""The sink that writes the topics of history into ClickHouse's tables. A retry repeats exactly the same batch."""

import logging
from collections.abc import Sequence

from prometheus_client import Counter

from schemas import topics
from schemas.records import Output, Record
from schemas.wire.deadletter import DeadLetter
from sinks.clickhouse.batches import Batch, form
from sinks.clickhouse.client import ClickHouse, ClickHouseError
from sinks.clickhouse.tables import Table

log = logging.getLogger(__name__)
UNREADABLE = Counter("stormweir_history_unreadable_total", "Records of history that gave no row", ["table"])


class Writer:
    """A BatchSink for one table; the entries of its batches are rows."""

    #: Large enough for ClickHouse to be efficient, and small enough for a cheap retry.
    max_records = 10_000
    max_bytes = 16_000_000

    def __init__(self, table: Table, clickhouse: ClickHouse) -> None:
        #: The longest time that a row waits for further rows of its batch, seconds: an insert of few rows costs as much
        #: as an insert of many. Most rows are alerts, and half as many inserts cost ClickHouse a third less; incidents
        #: must be visible sooner.
        self.linger = 2.0 if table.topic == topics.ALERTS_HISTORY.name else 1.0
        self._table = table
        self._clickhouse = clickhouse

    def form(
        self, topic: str, topic_id: str, partition: int, records: Sequence[Record], marks: dict[str, int]
    ) -> Batch:
        """The batch of these records; updates `marks` with the batch's."""
        batch = form(self._table, topic_id, records, marks)
        marks.update(batch.marks)
        for offset, reason in batch.errors:
            UNREADABLE.labels(self._table.name).inc()
            log.error("%s/%d@%d gives no row: %s", topic, partition, offset, reason)
        return batch

    async def write(self, batch: Batch, start: int, stop: int) -> str | None:
        """Insert rows [start, stop) under their token. Returns why ClickHouse rejected the rows' content, else None.

        Raises ClickHouseError if they were not written for another reason, or if it is not known whether they were.
        """
        try:
            await self._clickhouse.insert(batch, start, stop)
        except ClickHouseError as error:
            if not error.about_rows:
                raise
            return error.reason
        return None

    def reason(self, error: Exception) -> str:
        """ClickHouse's number and name of the error, or the type of an error without an answer."""
        return error.reason if isinstance(error, ClickHouseError) else type(error).__name__

    def dead_letter(self, batch: Batch, entry: int, refusal: str) -> Output | None:
        """The dead letter of one rejected row: its body is a record of the topic that holds only this row.

        None for a rejected dead letter, which stays on its topic only: a letter about it would be rejected again.
        """
        if self._table.topic == topics.DEADLETTERS.name:
            return None
        offset, index = batch.places[entry]
        record = next(record for record in batch.records if record.offset == offset)
        letter = DeadLetter(
            stage="write",
            reason=f"clickhouse_{refusal.partition(' ')[0]}",
            error=f"ClickHouse refused row {index} of the record for table {self._table.name}: error {refusal}",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            at=record.timestamp,
            key=record.key or b"",
            body=self._table.alone(record, index),
            row=index,
        )
        return Output(topics.DEADLETTERS.name, letter.key or b"-", letter.body, None, letter.headers())
