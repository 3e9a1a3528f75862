"""Whether the stack has no work left: no group lags, asked in the order in which alerts travel, and no message waits.

On topics from which a stage reads the time, a mark or two are always in flight: marks do not count as work. What waits
for a destination is in the notifier's table, so its changelog is read; a destination that is down is work left.
"""

from types import TracebackType
from typing import Self

from aiokafka import TopicPartition

from schemas import topics
from sinks.outbox.table import waiting_place
from streams.process.kafka import Kafka

#: Each group with the topics that it reads. A group commits once its outputs are on their topics. So when a group has
#: no lag, and the next group is asked afterwards, no record is in flight between them.
STEPS = (
    (topics.WORKER_GROUP, (topics.ALERTS_RAW, topics.ALERTS_EVENTS)),
    (topics.WORKER_GROUP, (topics.ALERTS_NORMALIZED,)),
    (topics.WORKER_GROUP, (topics.ALERTS_UNIQUE,)),
    (topics.WORKER_GROUP, (topics.INCIDENTS_CHANGES,)),
    (topics.NOTIFIER_GROUP, (topics.NOTIFICATIONS,)),
    (topics.WRITER_GROUP, topics.WRITTEN_TOPICS),
)

#: A lag of more records than this counts as work, without a look at the records.
_LOOKED_AT = 2_000


class Drain:
    """Asks Kafka for the lag of our groups; an async context manager."""

    def __init__(self, kafka: Kafka) -> None:
        names = sorted({kafka.name(topic.name) for _, step in STEPS for topic in step})
        self._kafka = kafka
        self._admin = kafka.admin()
        # A group reads up to the first open transaction, of any producer; so does every consumer of ours.
        self._consumer = kafka.consumer(*names, enable_auto_commit=False)
        changelog = kafka.name(topics.OUTBOX.changelog.name)
        self._table = kafka.consumer(changelog, enable_auto_commit=False, auto_offset_reset="earliest")
        self._waiting: set[bytes] = set()

    async def __aenter__(self) -> Self:
        await self._admin.start()
        await self._consumer.start()
        await self._table.start()
        self._consumer.pause(*self._consumer.assignment())  # records are read only to tell marks from work
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._table.stop()
        await self._consumer.stop()
        await self._admin.close()

    async def done(self) -> bool:
        """Whether no work is left, except work that waits for a timer. Raises KafkaError."""
        for group, step in STEPS:
            if await self._lag(self._kafka.name(group), {self._kafka.name(topic.name) for topic in step}):
                return False
            if group == topics.NOTIFIER_GROUP and await self._messages():
                return False
        return True

    async def _messages(self) -> int:
        """How many messages wait for a destination, by the changelog as it is now."""
        consumer = self._table
        ends = await consumer.end_offsets(consumer.assignment())
        while behind := [tp for tp, end in ends.items() if await consumer.position(tp) < end]:
            for records in (await consumer.getmany(*behind, timeout_ms=100)).values():
                for record in records:
                    if waiting_place(record.key or b"") is not None:
                        (self._waiting.discard if record.value is None else self._waiting.add)(record.key)
        return len(self._waiting)

    async def _lag(self, group: str, names: set[str]) -> int:
        """How many records the group has not committed; marks are left out if the lag is at most _LOOKED_AT."""
        partitions = [tp for tp in self._consumer.assignment() if tp.topic in names]
        first = await self._consumer.beginning_offsets(partitions)
        ends = await self._consumer.end_offsets(partitions)
        committed = await self._admin.list_consumer_group_offsets(group)
        done = {tp: max(committed[tp].offset if tp in committed else 0, first[tp]) for tp in partitions}
        behind = {tp: ends[tp] - done[tp] for tp in partitions if ends[tp] > done[tp]}
        lag: int = sum(behind.values())
        if 0 < lag <= _LOOKED_AT:
            lag -= sum([await self._marks(tp, done[tp], ends[tp]) for tp in behind])
        return lag

    async def _marks(self, tp: TopicPartition, start: int, end: int) -> int:
        """The number of marks at offsets [start, end)."""
        consumer, found = self._consumer, 0
        consumer.seek(tp, start)
        consumer.resume(tp)
        try:
            while await consumer.position(tp) < end:
                records = (await consumer.getmany(tp, timeout_ms=100)).get(tp, [])
                marks = [record for record in records if any(name == topics.MARK_HEADER for name, _ in record.headers)]
                found += sum(record.offset < end for record in marks)
        finally:
            consumer.pause(tp)
        return found
