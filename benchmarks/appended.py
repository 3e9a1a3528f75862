"""When the probes of `latency` were appended to each topic on their way, as the broker's clock says."""

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise

from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.process import ContenderError, quantile
from benchmarks.report import Run
from schemas.topics import ALERTS_NORMALIZED, ALERTS_RAW, ALERTS_UNIQUE, INCIDENTS_CHANGES, NOTIFICATIONS
from streams.process.kafka import Kafka

#: The topics of a webhook's way to its notification; each takes its timestamps from the broker.
WAY = (ALERTS_RAW, ALERTS_NORMALIZED, ALERTS_UNIQUE, INCIDENTS_CHANGES, NOTIFICATIONS)


async def hops(
    kafka: Kafka, load: str, probe: re.Pattern[bytes], sent: Mapping[str, float], received: Mapping[str, float]
) -> list[Run]:
    """One run for each hop: the p50 and the p99 of its milliseconds, exact to one.

    `sent` and `received` are the times of the probes in seconds since 1970. `probe` finds their keys in the values of
    records. Raises ContenderError if a probe is not on a topic.
    """
    since = int(min(sent.values()) * 1000) - 1
    places = [("sender", {key: at * 1000 for key, at in sent.items()})]
    places += [(topic.name, await _times(kafka, topic.name, since, probe, sent)) for topic in WAY]
    places.append(("receiver", {key: at * 1000 for key, at in received.items()}))
    found: list[Run] = []
    for (origin, before), (target, after) in pairwise(places):
        took = [after[key] - before[key] for key in sent]
        quantiles = {f"p{share}_ms": round(quantile(took, share), 1) for share in (50, 99)}
        found.append({"part": "hops of a notification", "load": load, "from": origin, "to": target, **quantiles})
    return found


async def _times(
    kafka: Kafka, topic: str, since: int, probe: re.Pattern[bytes], keys: Iterable[str]
) -> dict[str, float]:
    """When the first record with each key was appended, milliseconds; of records from `since` on."""
    consumer = kafka.consumer(kafka.name(topic), enable_auto_commit=False)
    await consumer.start()
    found: dict[str, float] = {}
    try:
        ends = await _go_back(consumer, since)
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    for key in probe.findall(record.value or b""):
                        found.setdefault(key.decode(), record.timestamp)
    finally:
        await consumer.stop()
    if missing := set(keys) - found.keys():
        raise ContenderError(f"{len(missing)} probes are not on {topic}")
    return found


async def _go_back(consumer: AIOKafkaConsumer, since: int) -> Mapping[TopicPartition, int]:
    """Let the consumer read from `since` on. Returns the ends of its partitions."""
    assigned = list(consumer.assignment())
    ends: dict[TopicPartition, int] = await consumer.end_offsets(assigned)
    for tp, first in (await consumer.offsets_for_times(dict.fromkeys(assigned, since))).items():
        consumer.seek(tp, ends[tp] if first is None else first.offset)
    return ends
