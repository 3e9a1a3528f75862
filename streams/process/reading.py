"""Reads a topic once, from its beginning or from a time, up to where it ended when the reading began."""

from collections.abc import AsyncIterator

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from schemas.topics import Topic
from streams.process.errors import OperatorError
from streams.process.kafka import Kafka
from streams.process.topics import check_topics


async def records(
    kafka: Kafka, topic: Topic, *, since: int = 0, partition: int | None = None
) -> AsyncIterator[ConsumerRecord]:
    """The committed records in the order of each partition; of one partition only, if that is given.

    `since` leaves out records before that time, milliseconds since 1970 UTC, by their timestamps. Raises OperatorError
    when Kafka fails or has no such topic.
    """
    count = (await check_topics(kafka, [topic]))[topic.name]
    numbers = range(count) if partition is None else (partition,)
    partitions = [TopicPartition(kafka.name(topic.name), number) for number in numbers]
    consumer = kafka.consumer(enable_auto_commit=False)
    try:
        await consumer.start()
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        # Not `seek_to_beginning`: a new consumer is on its way to the topic's end, and may stay there (aiokafka 0.14).
        for tp, start in (await consumer.beginning_offsets(partitions)).items():
            consumer.seek(tp, start)
        if since:
            for tp, found in (await consumer.offsets_for_times(dict.fromkeys(partitions, since))).items():
                consumer.seek(tp, ends[tp] if found is None else found.offset)
        while open_ := [tp for tp, end in ends.items() if await consumer.position(tp) < end]:
            for tp, fetched in (await consumer.getmany(*open_, timeout_ms=1000)).items():
                for record in fetched:
                    if record.offset < ends[tp]:
                        yield record
    except (KafkaError, OSError) as error:
        raise OperatorError(f"Kafka at {kafka.bootstrap} failed: {type(error).__name__}") from None
    finally:
        await consumer.stop()
