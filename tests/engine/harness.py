"""Topics, worker processes, load and checks of one contract test.

The check replays the changelog as a new owner would: every key's count must equal the input's, every
key's first record must be among the outputs, and a repeated output may only repeat.
"""

import asyncio
import json
import os
import signal
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaConnectionError, NotCoordinatorError
from aiokafka.protocol.group import LeaveGroupRequest
from xxhash import xxh3_64_intdigest

from streams.engine import TableSpec
from streams.engine.restore import restore
from streams.engine.store import MemoryStore
from streams.process.kafka import Kafka
from tests.engine.params import Params
from tests.engine.stages import number
from tests.engine.worker import work
from tests.forks import FORKS

Condition = Callable[[], "bool | Awaitable[bool]"]


async def until(condition: Condition, seconds: float, what: str, *, every: float = 0.05) -> None:
    """Wait until `condition` holds; AssertionError that says `what` was awaited after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found if isinstance(found, bool) else await found:
            return
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        await asyncio.sleep(every)


class Worker:
    """One worker process."""

    def __init__(self, params: Params) -> None:
        self.params = params
        self.directory = Path(params.directory)
        self.paused = False
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "status.json").unlink(missing_ok=True)
        self.log_path.touch()
        self._process = FORKS.Process(target=work, args=(msgspec.json.encode(params), str(self.log_path)))
        self._process.start()

    @property
    def log_path(self) -> Path:
        """Everything the process logged, over all its lives."""
        return self.directory / "worker.log"

    @property
    def log(self) -> str:
        """The log's text."""
        return self.log_path.read_text(errors="replace")

    @property
    def status(self) -> dict[str, Any]:
        """What the process last wrote about itself, empty before it did."""
        path = self.directory / "status.json"
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def metric(self, name: str) -> float:
        """A metric's sum over its labels."""
        return float(self.status.get("metrics", {}).get(f"stormweir_{name}", 0.0))

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    def owns(self, count: int) -> bool:
        """Whether it is ready with `count` open partitions."""
        assert self.alive, f"the worker ended:\n{self.log[-3000:]}"
        status = self.status
        return bool(status.get("ready")) and len(status["lanes"]) == count

    @property
    def processed(self) -> int:
        """Records processed by this life of the process."""
        return int(self.metric("records_processed_total"))

    async def busy(self, records: int, seconds: float = 20) -> None:
        """Wait until it has processed this many records."""
        await until(lambda: not self.alive or self.processed >= records, seconds, f"{records} processed")
        assert self.alive, f"the worker ended:\n{self.log[-3000:]}"

    async def fresh_status(self) -> None:
        """Wait until `status` is of now, if the process can still write it."""
        now = time.monotonic()
        await until(lambda: not self.alive or self.paused or self.status.get("at", 0.0) > now, 20, "its status of now")

    def send_signal(self, number: int) -> None:
        """Signal the process."""
        if number in (signal.SIGSTOP, signal.SIGCONT):
            self.paused = number == signal.SIGSTOP
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    async def ended(self, seconds: float) -> int:
        """Wait for the process to end by itself; its status."""
        await until(lambda: not self.alive, seconds, f"the end of the worker:\n{self.log[-1500:]}", every=0.02)
        assert self._process.exitcode is not None
        return self._process.exitcode

    async def terminate(self, seconds: float = 10) -> int:
        """SIGTERM; its status."""
        self.send_signal(signal.SIGTERM)
        return await self.ended(seconds)

    def kill(self) -> None:
        """SIGKILL and wait."""
        if self.alive:
            self._process.kill()
        self._process.join()


class Rig:
    """One test's topics and its workers, all ended by `close`."""

    def __init__(self, bootstrap: str, directory: Path, partitions: int = 4) -> None:
        self.bootstrap = bootstrap
        self.partitions = partitions
        self.workers: list[Worker] = []
        self._directory = directory
        suffix = uuid.uuid4().hex[:8]
        self.group = f"group-{suffix}"
        self.source = f"source-{suffix}"
        self.relay = f"relay-{suffix}"
        self.output = f"output-{suffix}"
        self.dead = f"dead-{suffix}"
        self.changelog = f"changelog-{suffix}"
        self.sent: Counter[bytes] = Counter()
        self.first: dict[bytes, bytes] = {}
        self._total = 0

    async def create(
        self, configs: dict[str, str] | None = None, *, append_time: bool = False, **changelog_configs: str
    ) -> "Rig":
        """Create the topics, all with `configs`; with `append_time` records carry the broker's clock, else what the
        test gives them.
        """
        own = configs or {}
        stamped = own | ({"message.timestamp.type": "LogAppendTime"} if append_time else {})
        compact = {"cleanup.policy": "compact", "max.message.bytes": "4000000"}
        async with admin(self.bootstrap) as client:
            await client.create_topics(
                [
                    NewTopic(self.source, self.partitions, 1, topic_configs={"max.message.bytes": "4000000"} | stamped),
                    NewTopic(self.relay, self.partitions, 1, topic_configs=stamped),
                    NewTopic(self.output, self.partitions, 1, topic_configs=stamped),
                    NewTopic(self.dead, self.partitions, 1, topic_configs=own),
                    NewTopic(
                        self.changelog,
                        self.partitions,
                        1,
                        topic_configs=compact | own | changelog_configs,
                    ),
                ]
            )
        return self

    def worker(self, name: str = "a", **params: Any) -> Worker:
        """Start a worker process; the same name again continues in the same directory."""
        worker = Worker(
            Params(
                bootstrap=self.bootstrap,
                group=self.group,
                directory=str(self._directory / name),
                source=self.source,
                output=self.output,
                dead=self.dead,
                changelog=self.changelog,
                **params,
            )
        )
        self.workers.append(worker)
        return worker

    async def kill(self, worker: Worker) -> None:
        """SIGKILL, and have the group learn of it now instead of after the session's timeout."""
        member = str(worker.status.get("member", ""))
        worker.kill()
        async with admin(self.bootstrap) as client:
            coordinator = await client.find_coordinator(self.group)
            members = [member]
            if not any(worker.alive for worker in self.workers):
                (answer,) = await client.describe_consumer_groups([self.group], coordinator)
                members = [found[0] for found in answer.groups[0][5]]
            for dead in members:
                await client._send_request(LeaveGroupRequest(self.group, dead), coordinator)

    async def remake(self, topic: str) -> None:
        """Delete a topic and make it again under the same name."""
        async with admin(self.bootstrap) as client:
            await client.delete_topics([topic])

            async def gone() -> bool:
                return topic not in await client.list_topics()

            await until(gone, 10, "the topic's deletion")

            async def made() -> bool:
                answer = await client.create_topics(
                    [NewTopic(topic, self.partitions, 1, topic_configs={"cleanup.policy": "compact"})]
                )
                return bool(answer.topic_errors[0][1] == 0)

            await until(made, 10, "the topic's creation", every=0.2)

    def close(self) -> None:
        """End every process."""
        for worker in self.workers:
            if worker.alive:
                worker.send_signal(signal.SIGCONT)
            worker.kill()

    def partition(self, key: bytes) -> int:
        """The source partition of a key."""
        return xxh3_64_intdigest(key) % self.partitions

    async def load(
        self, count: int, keys: int, *, value: bytes | None = None, prefix: bytes = b"k", timestamp: int | None = None
    ) -> None:
        """Send `count` records over `keys` keys; values are a running number unless given."""
        records = [(b"%s%d" % (prefix, index % keys), value or b"%d" % (self._total + index)) for index in range(count)]
        self._total += count
        await self.send(records, timestamp=timestamp)

    async def send(
        self,
        records: Iterable[tuple[bytes, bytes]],
        *,
        timestamp: int | None = None,
        partition: int | None = None,
        topic: str = "",
    ) -> None:
        """Send records in this order, each to its key's partition, and remember them as input.

        Without `timestamp` a value that is a number of milliseconds is the record's time, else it is now. `topic` is
        the source, unless another one is named.
        """
        topic = topic or self.source
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, acks="all", max_batch_size=500_000, max_request_size=4_000_000
        )
        await producer.start()
        try:
            waiting = []
            open_batches = [producer.create_batch() for _ in range(self.partitions)]
            for key, value in records:
                self.sent[key] += 1
                self.first.setdefault(key, value)
                place = self.partition(key) if partition is None else partition
                at = timestamp if timestamp is not None else int(time.time() * 1000)
                if timestamp is None and value.isdigit() and len(value) == 13:
                    at = int(value)
                if open_batches[place].append(timestamp=at, key=key, value=value) is None:
                    waiting.append(await producer.send_batch(open_batches[place], topic, partition=place))
                    open_batches[place] = producer.create_batch()
                    open_batches[place].append(timestamp=at, key=key, value=value)
            for place, batch in enumerate(open_batches):
                if batch.record_count():
                    waiting.append(await producer.send_batch(batch, topic, partition=place))
            await asyncio.gather(*waiting)
        finally:
            await producer.stop()

    async def committed(self) -> dict[int, int]:
        """The group's committed offsets of the source, by partition; -1 for none."""
        async with admin(self.bootstrap) as client:
            tps = [TopicPartition(self.source, place) for place in range(self.partitions)]
            found = await client.list_consumer_group_offsets(self.group, partitions=tps)
            return {tp.partition: found[tp].offset for tp in tps}

    async def commit(self, offsets: dict[int, int]) -> None:
        """Set the group's committed offsets; the group must have no members."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, group_id=self.group, enable_auto_commit=False)
        await consumer.start()
        try:
            tps = {TopicPartition(self.source, place): offset for place, offset in offsets.items()}
            consumer.assign(list(tps))
            await consumer.commit(tps)
        finally:
            await consumer.stop()

    async def ends(self, topic: str) -> dict[int, int]:
        """The end offset of every partition."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap)
        await consumer.start()
        try:
            tps = [TopicPartition(topic, place) for place in range(self.partitions)]
            return {tp.partition: end for tp, end in (await consumer.end_offsets(tps)).items()}
        finally:
            await consumer.stop()

    async def drained(self, seconds: float = 40, *, alive: bool = True) -> None:
        """Wait until the group has committed everything that was sent, and the workers' statuses say so."""
        ends = {place: end for place, end in (await self.ends(self.source)).items() if end}
        async with admin(self.bootstrap) as client:
            tps = [TopicPartition(self.source, place) for place in ends]

            async def done() -> bool:
                if alive:
                    living = [worker for worker in self.workers if worker.alive]
                    assert living, f"no worker is left:\n{self.workers[-1].log[-3000:]}"
                try:
                    found = await client.list_consumer_group_offsets(self.group, partitions=tps)
                except (GroupCoordinatorNotAvailableError, NotCoordinatorError, KafkaConnectionError):
                    return False  # a broker that has just started
                return all(tp in found and found[tp].offset >= ends[tp.partition] for tp in tps)

            await until(done, seconds, f"{self.source} drained", every=0.1)
        for worker in self.workers:
            await worker.fresh_status()

    async def read(self, topic: str) -> list[ConsumerRecord[bytes, bytes]]:
        """All records of a topic, partition by partition in order."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, auto_offset_reset="earliest", max_partition_fetch_bytes=8_000_000
        )
        await consumer.start()
        try:
            tps = [TopicPartition(topic, place) for place in range(self.partitions)]
            consumer.assign(tps)
            ends = await consumer.end_offsets(tps)
            found: dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]] = defaultdict(list)
            for tp in tps:
                consumer.seek(tp, (await consumer.beginning_offsets([tp]))[tp])
            while any([await consumer.position(tp) < ends[tp] for tp in tps]):
                for tp, records in (await consumer.getmany(timeout_ms=100)).items():
                    found[tp] += records
            return [record for tp in tps for record in found[tp]]
        finally:
            await consumer.stop()

    async def table(self) -> dict[bytes, bytes]:
        """The table as a new owner would recover it."""
        return {key: value for store in await self.stores() for key, value in store.items()}

    async def stores(self) -> list[MemoryStore]:
        """Each partition's state and position as a new owner would recover them."""
        spec = TableSpec("table", self.changelog)
        stores = [MemoryStore() for _ in range(self.partitions)]
        wanted = [(spec, place, store) for place, store in enumerate(stores)]
        await restore(Kafka(self.bootstrap), wanted, lambda _, __, replay: replay.finish())
        return stores

    async def check(self) -> None:
        """The table equals the input, and every first record was put out, with nothing but repeats beside."""
        check_counts(await self.table(), self.sent)
        check_outputs(await self.read(self.output), self.first)


def check_counts(table: dict[bytes, bytes], sent: Counter[bytes]) -> None:
    """Every key was counted exactly as often as it was sent."""
    found = Counter({key: number(value) for key, value in table.items()})
    wrong = {key: (found[key], sent[key]) for key in found.keys() | sent.keys() if found[key] != sent[key]}
    assert not wrong, (
        f"{len(wrong)} keys wrong, sum {found.total()} of {sent.total()}, (counted, sent): "
        f"{dict(list(wrong.items())[:5])}"
    )


def check_outputs(records: Sequence[ConsumerRecord[bytes, bytes]], first: dict[bytes, bytes]) -> None:
    """Every key's first record is there; a key put out twice was put out with the same value."""
    seen: dict[bytes, set[bytes]] = defaultdict(set)
    for record in records:
        seen[record.key].add(record.value)
    missing = first.keys() - seen.keys()
    assert not missing, f"{len(missing)} outputs are missing: {list(missing)[:5]}"
    wrong = {key: values for key, values in seen.items() if values != {first.get(key)}}
    assert not wrong, f"{len(wrong)} keys have other outputs than repeats: {dict(list(wrong.items())[:5])}"


class admin:  # noqa: N801
    """An admin client for a block."""

    def __init__(self, bootstrap: str) -> None:
        self._client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)

    async def __aenter__(self) -> AIOKafkaAdminClient:
        await self._client.start()
        return self._client

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()
