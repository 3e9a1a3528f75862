"""The writer's lane on a real Kafka and the real engine: what becomes of rows that ClickHouse refuses."""

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.topics import ALERTS_HISTORY, DEADLETTERS
from schemas.wire.codec import decode_block
from schemas.wire.deadletter import DeadLetter
from schemas.wire.rows import pack_row
from sinks.clickhouse.batches import form
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.tables import TABLES
from sinks.clickhouse.writer import Writer
from streams.engine import TableSpec
from streams.engine.batch_lane import BatchLane
from streams.engine.broker import Broker
from streams.engine.changelog import Owner
from streams.engine.lane import Table
from streams.engine.state import PartitionState
from streams.engine.store import MemoryStore
from streams.history.queries import CONSERVATION
from streams.process.kafka import Kafka
from tests.clickhouse.samples import Record, alert_row, history
from tests.conftest import MakeTopics
from tests.engine.harness import until

ALERTS = TABLES[ALERTS_HISTORY.name]


async def _dead_letters(broker: str) -> list[Record]:
    """Everything on the partition that the writer knows."""
    consumer = AIOKafkaConsumer(bootstrap_servers=broker)
    await consumer.start()
    try:
        place = TopicPartition(DEADLETTERS.name, 0)
        consumer.assign([place])
        consumer.seek(place, 0)
        end = (await consumer.end_offsets([place]))[place]
        found: list[Record] = []
        while len(found) < end:
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                found += [Record(r.topic, r.value, r.offset, key=r.key, headers=r.headers) for r in batch]
        return found
    finally:
        await consumer.stop()


async def test_rows_that_clickhouse_refuses_are_dead_letters_and_the_others_are_written_once(
    clickhouse: ClickHouse, broker: str, make_topics: MakeTopics
) -> None:
    """Three bad rows among 1,000 in ten blocks, two of them in one block: each is a letter with its block's place, its
    number in there, ClickHouse's error, and a block that holds it alone; in `dead_letters` all three are kept.
    """
    # As many partitions as other tests on this broker want; the writer is told of one.
    await make_topics(DEADLETTERS.name, partitions=4, exact=True)
    (changelog,) = await make_topics("changelog", partitions=1, compact=True)
    await clickhouse.command("ALTER TABLE alerts ADD CONSTRAINT known CHECK summary != 'bad'")
    bad = (0, 512, 599)
    rows = [alert_row(n, summary="bad" if n in bad else "good") for n in range(1_000)]
    blocks = [history(n, [(at, rows[at]) for at in range(n * 100, n * 100 + 100)]) for n in range(10)]
    producer = Broker(Kafka(broker), "refusals")
    table = Table(TableSpec("table", changelog), 0, PartitionState(MemoryStore()), Owner(1, 1))
    lane = BatchLane(
        ALERTS.topic, 0, "writer", producer, table, sink=Writer(ALERTS, clickhouse), partitions={DEADLETTERS.name: 1}
    )
    lane.reserve(10)
    lane.receive(blocks)
    await until(lambda: lane.committed == 9, 30, "all blocks written")
    await lane.close(1)
    await producer.stop()

    (books,) = await clickhouse.query(CONSERVATION, {"since": 0})
    assert books["count"] == books["distinct"] == 997
    assert await clickhouse.query("SELECT count() AS n FROM alerts WHERE summary = 'bad'") == [{"n": 0}]

    records = await _dead_letters(broker)
    letters = [DeadLetter.read(record.key, record.value, list(record.headers)) for record in records]
    assert [(letter.topic, letter.partition, letter.offset, letter.row) for letter in letters] == [
        (ALERTS.topic, 0, at // 100, at % 100) for at in bad
    ]
    for at, letter in zip(bad, letters, strict=True):
        assert (letter.stage, letter.reason) == ("write", "clickhouse_469")
        assert "469 VIOLATED_CONSTRAINT" in letter.error
        block = decode_block(letter.body)
        assert (block.offsets, block.rows) == ([at], [pack_row(rows[at])])

    await clickhouse.insert(form(TABLES[DEADLETTERS.name], "", records, {}))
    await clickhouse.command("OPTIMIZE TABLE dead_letters FINAL")
    found = await clickhouse.query("SELECT kafka_offset, kafka_index FROM dead_letters FINAL ORDER BY ALL")
    assert [tuple(row.values()) for row in found] == [(0, 0), (5, 12), (5, 99)]
