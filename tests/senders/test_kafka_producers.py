"""What programs with librdkafka do by default: they compress, they use transactions, and some get it wrong."""

import asyncio
import json

import pytest
from confluent_kafka import Producer

from schemas.topics import ALERTS_EVENTS
from tests.engine.damage import send_damaged
from tests.senders.conftest import Stack, eventually

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


def event(key: str, text: str = "") -> bytes:
    """An alert, large enough that compressing it is worth it."""
    return json.dumps({"service": "kafka-habits", "dedup_key": key, "summary": f"{key} {text}"}).encode()


def stored(stack: Stack, pattern: str) -> dict[str, int]:
    """Rows by dedup key."""
    found = stack.rows(
        f"SELECT dedup_key, count() AS n FROM alerts WHERE dedup_key LIKE '{pattern}' GROUP BY dedup_key"
    )
    return {str(row["dedup_key"]): int(str(row["n"])) for row in found}


def test_each_codec_gives_one_row_a_record(stack: Stack) -> None:
    """Whoever may write may compress with any of Kafka's codecs (payloads-2, case 01)."""
    for codec in CODECS:
        producer = Producer(
            {
                "bootstrap.servers": stack.settings.bootstrap,
                "compression.type": codec,
                "enable.idempotence": True,
                "linger.ms": 50,
            }
        )
        for number in range(20):
            key = f"codec/{codec}/{number}"
            producer.produce(ALERTS_EVENTS.name, key=key, value=event(key, "x" * 200))
        assert producer.flush(20) == 0
    eventually(lambda: stored(stack, "codec/%"), {f"codec/{codec}/{n}": 1 for codec in CODECS for n in range(20)})


@pytest.mark.parametrize("partition", [0, 1])
def test_an_aborted_transaction_gives_no_row_and_a_committed_one_gives_one(stack: Stack, partition: int) -> None:
    """Its producer was told that it did not happen (payloads-2, case 06); markers are no dead letters."""
    letters = stack.rows("SELECT count() AS n FROM dead_letters")
    name = f"tx{partition}"
    producer = Producer({"bootstrap.servers": stack.settings.bootstrap, "transactional.id": name})
    producer.init_transactions(10)
    for end in (producer.abort_transaction, producer.commit_transaction):
        key = f"{name}/{end.__name__}"
        producer.begin_transaction()
        producer.produce(ALERTS_EVENTS.name, key=key, value=event(key), partition=partition)
        producer.flush(10)
        end(10)
    behind = Producer({"bootstrap.servers": stack.settings.bootstrap})
    behind.produce(ALERTS_EVENTS.name, key=b"k", value=event(f"{name}/behind"), partition=partition)
    assert behind.flush(20) == 0
    eventually(lambda: stored(stack, f"{name}/%"), {f"{name}/commit_transaction": 1, f"{name}/behind": 1})
    assert stack.rows("SELECT count() AS n FROM dead_letters") == letters


def test_a_batch_nobody_can_read_is_one_row_of_dead_letters(stack: Stack) -> None:
    """The row says where its records are; what was sent behind it is taken."""
    records = [(b"k", event(f"unreadable/{number}")) for number in range(3)]
    first, last = asyncio.run(send_damaged(stack.settings.bootstrap, ALERTS_EVENTS.name, 0, records))
    producer = Producer({"bootstrap.servers": stack.settings.bootstrap})
    producer.produce(ALERTS_EVENTS.name, key=b"k", value=event("readable"), partition=0)
    assert producer.flush(20) == 0
    eventually(lambda: stored(stack, "%readable%"), {"readable": 1})
    place = f"kafka_topic = '{ALERTS_EVENTS.name}' AND kafka_partition = 0 AND kafka_offset = {first}"
    query = f"SELECT stage, reason, kafka_last_offset AS last, body FROM dead_letters FINAL WHERE {place}"
    expected = {"stage": "normalize", "reason": "unreadable_batch", "last": last, "body": ""}
    eventually(lambda: [{**row, "last": int(str(row["last"]))} for row in stack.rows(query)], [expected])
