"""The records of a fetch for each partition; an error concerns only the partition it belongs to.

aiokafka 0.14's own `fetched_records` raises the error of one partition for the whole fetch. Records of other
partitions that it had unpacked by then are lost, as their positions have moved, and so are the records before
the error in the same partition.
"""

import asyncio
import struct
import sys
import time
from collections.abc import Collection
from typing import Any, NamedTuple

import msgspec
from aiokafka.consumer.fetcher import Fetcher, FetchResult
from aiokafka.errors import LeaderNotAvailableError, RecordTooLargeError, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.structs import TopicPartition

#: A record batch begins with BaseOffset, Length, PartitionLeaderEpoch, Magic, CRC, Attributes, LastOffsetDelta:
#: https://kafka.apache.org/documentation/#recordbatch
_HEADER = struct.Struct(">qiibIhi")
_BASE_OFFSET = struct.Struct(">q")
#: The bytes that Length does not count: itself and BaseOffset.
_LENGTH_FROM = 12


class FetchedRecord(msgspec.Struct, gc=False):
    """A lane.Record, made in C. The garbage collector does not track it, because it can be part of no cycle.

    aiokafka's own record is made in Python, with fields that nobody here uses, and costs a tenth of a hop.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class Fetched(NamedTuple):
    """One partition's part of a fetch.

    All fetched records below offset `position` are in `records`; its other offsets hold none (transaction markers,
    aborted or compacted records). `error` says why the batch at `position` cannot be read; `records` is empty then.
    """

    records: list[Any]
    position: int
    error: Exception | None = None


async def fetch(
    fetcher: Fetcher, partitions: Collection[TopicPartition], timeout: float, enough: int = sys.maxsize
) -> dict[Any, Fetched]:
    """Return what has arrived for `partitions`; wait up to `timeout` seconds if nothing has. Moves positions.

    No further partition is unpacked after `enough` records.
    """
    deadline = time.monotonic() + timeout
    while True:
        # During a rebalance nothing is returned, because it may belong to another member by then.
        if fetcher._subscriptions.reassignment_in_progress:
            await fetcher._subscriptions.wait_for_assignment()
        found: dict[Any, Fetched] = {}
        count = 0
        for tp in list(fetcher._records):
            if tp in partitions and count < enough:
                part = _take(fetcher, tp)
                if part is not None:
                    found[tp] = part
                    count += len(part.records)
            elif not fetcher._subscriptions.is_assigned(tp):
                del fetcher._records[tp]
        left = deadline - time.monotonic()
        if found or left <= 0:
            return found
        waiter = fetcher._create_fetch_waiter()
        await asyncio.wait([waiter], timeout=left)
        if not waiter.done():
            waiter.cancel()
            return {}
        if fetcher._closed:
            return {}
        waiter.result()  # raises errors that the coordinator cannot recover from


def _take(fetcher: Fetcher, tp: TopicPartition) -> Fetched | None:
    """One partition's fetched records, None if the position has moved since the request."""
    result = fetcher._records.pop(tp)
    # The partition may be fetched again.
    fetcher._notify(fetcher._wait_consume_future)
    if type(result) is not FetchResult:
        return _failed(fetcher, tp, result._error)
    if not result.check_assignment(tp):
        return None
    unpacking = result._partition_records
    unpacking._consumer_record = _record
    records: list[Any] = []
    error = None
    try:
        # Reading its generator directly saves a Python call for each record.
        records.extend(unpacking._records_iterator)
    except MemoryError:
        raise
    except Exception as wrong:
        error = wrong
    unpacking._records_iterator = None
    result._update_position()
    # The records before the error are good. The next fetch begins with the error.
    return Fetched(records, unpacking.next_fetch_offset, None if records else error)


def _record(tp: TopicPartition, record: Any) -> FetchedRecord:
    headers = record.headers
    return FetchedRecord(
        tp.topic,
        tp.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        tuple(headers) if headers else (),
    )


def _failed(fetcher: Fetcher, tp: TopicPartition, error: Exception) -> Fetched:
    state = fetcher._subscriptions.subscription.assignment.state_value(tp)
    if isinstance(error, RecordTooLargeError):
        # aiokafka has already skipped one offset silently.
        state.seek(state.position - 1)
    return Fetched([], state.position, error)


async def last_of_batch(fetcher: Fetcher, tp: TopicPartition, position: int) -> int:
    """The last offset of the batch at `position`, whose records cannot be read. Raises KafkaError."""
    node = fetcher._client.cluster.leader_for_partition(tp)
    if node is None or node == -1:
        raise LeaderNotAvailableError(tp)
    wanted = [(tp.topic, [(tp.partition, position, fetcher._max_partition_fetch_bytes)])]
    request = FetchRequest(0, 0, fetcher._fetch_max_bytes, fetcher._isolation_level, wanted)
    response = await fetcher._client.send(node, request)
    ((_, ((_, code, highwater, stable, *_, data),)),) = response.topics
    if code:
        raise for_code(code)(tp)
    return last_offset(bytes(data), position, min(highwater, stable) if stable >= 0 else highwater)


def last_offset(data: bytes, position: int, end: int) -> int:
    """The last offset of the batch that `data` begins with, in a partition that may be read up to `end`.

    The base offset of the next batch shows it, if `data` holds that, else this batch's header. Either may be damaged:
    the first value from `position` on and below `end` counts. If there is none, the batch is taken to reach to `end`.
    """
    if len(data) < _HEADER.size:
        return position
    base, length, *_, delta = _HEADER.unpack_from(data)
    said = [base + delta]
    following = _LENGTH_FROM + length
    if _HEADER.size <= following <= len(data) - _BASE_OFFSET.size:
        said.insert(0, _BASE_OFFSET.unpack_from(data, following)[0] - 1)
    return next((last for last in said if position <= last < end), max(position, end - 1))
