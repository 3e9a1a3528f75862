"""The sink that writes topics of history into ClickHouse's tables, in batches that a retry repeats exactly."""

import logging
from collections.abc import Sequence

from prometheus_client import Counter

from schemas import topics
from schemas.records import Record
from sinks.clickhouse.batches import Batch, form
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.tables import Table

log = logging.getLogger(__name__)
UNREADABLE = Counter("stormweir_history_unreadable_total", "Records of history that gave no row", ["table"])


class Writer:
    """A BatchSink for one table."""

    #: Enough for ClickHouse to be efficient, and few enough that a retry is cheap.
    max_records = 10_000
    max_bytes = 16_000_000

    def __init__(self, table: Table, clickhouse: ClickHouse) -> None:
        #: Seconds a row may wait for company: an insert of few rows costs as much as one of many. The many are alerts,
        #: and half as many inserts cost ClickHouse a third less; an incident is to be seen at once.
        self.linger = 2.0 if table.topic == topics.ALERTS_HISTORY.name else 1.0
        self._table = table
        self._clickhouse = clickhouse

    def form(self, topic: str, partition: int, records: Sequence[Record], marks: dict[str, int]) -> Batch:
        """The batch of these records; raises `marks` to what it holds."""
        batch = form(self._table, records, marks)
        marks.update(batch.marks)
        for offset, reason in batch.errors:
            UNREADABLE.labels(self._table.name).inc()
            log.error("%s/%d@%d gives no row: %s", topic, partition, offset, reason)
        return batch

    async def write(self, batch: Batch) -> None:
        """Insert it under its token."""
        if batch.row_count:
            await self._clickhouse.insert(batch)
