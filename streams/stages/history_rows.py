"""Collects the history rows, one for every alert, into blocks for the ClickHouse writer."""

from collections.abc import Iterator

import msgspec

from schemas.records import Output
from schemas.topics import ALERTS_HISTORY
from schemas.wire.alert import Alert, Severity
from schemas.wire.codec import encode
from schemas.wire.rows import ALERT_VALUES, AlertOutcome, AlertRow, HistoryBlock, pack_row, uuid_column

#: A block is closed at this many rows or bytes.
MAX_ROWS = 1_000
MAX_BYTES = 600_000
NO_INCIDENT = bytes(16)


class History:
    """Rows of one batch of one stage's input partition; `stage` names the lane in which they are numbered."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._offsets: list[int] = []
        self._rows: list[bytes] = []

    def add(
        self,
        offset: int,
        alert: Alert,
        outcome: AlertOutcome,
        *,
        severity: Severity | None = None,
        incident_id: bytes = NO_INCIDENT,
        rule: str = "",
    ) -> None:
        """Add a row: the alert of the input record `offset` ends as `outcome`; `severity` is the one after rules."""
        self._offsets.append(offset)
        self._rows.append(
            pack_row(
                AlertRow(
                    alert.tenant,
                    alert.received_at,
                    alert.starts_at or alert.received_at,
                    alert.ends_at,
                    uuid_column(alert.event_id),
                    alert.provider,
                    alert.integration,
                    alert.service,
                    severity if severity is not None else alert.severity,
                    alert.action,
                    outcome,
                    uuid_column(alert.fingerprint),
                    uuid_column(incident_id),
                    alert.dedup_key,
                    alert.summary,
                    alert.source,
                    alert.component,
                    alert.group,
                    alert.class_,
                    alert.labels,
                    alert.details,
                    "" if not alert.links else _links(alert.links),
                    rule,
                    alert.origin_topic,
                    alert.origin_partition,
                    alert.origin_offset,
                    alert.origin_index,
                    alert.severity,
                    alert.sent_at,
                    alert.began_at,
                    alert.ended_at,
                )
            )
        )

    def blocks(self, partition: int) -> Iterator[Output]:
        """The rows as records for `alerts.history`, on the partition of the input they came from.

        Rows of one offset stay in one block, because the writer takes the first block of an offset only.
        """
        start = 0
        while start < len(self._rows):
            stop, size = start, 0
            while stop < len(self._rows) and (
                (stop - start < MAX_ROWS and size < MAX_BYTES)
                or stop == start
                or self._offsets[stop] == self._offsets[stop - 1]
            ):
                size += len(self._rows[stop])
                stop += 1
            offsets, rows = self._offsets[start:stop], self._rows[start:stop]
            block = HistoryBlock(self._stage, partition, offsets, rows, ALERT_VALUES)
            yield Output(ALERTS_HISTORY.name, None, encode(block), partition)
            start = stop


def _links(links: list[dict[str, str]]) -> str:
    return msgspec.json.encode(links).decode()
