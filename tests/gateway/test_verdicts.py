"""A request waits for the stream's verdict: a duplicate hears so, across processes and restarts."""

import asyncio
import signal
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiokafka import AIOKafkaProducer

from schemas.control import ApiKey, Integration, Service
from schemas.fingerprint import partition_for, uuid7, uuid_text
from schemas.topics import REPLIES
from schemas.wire.codec import decode_reply_to, encode
from schemas.wire.incident import Status
from schemas.wire.verdict import REPLY, ReplyTo, Verdict
from streams.control.follow import publish
from streams.gateway import verdicts
from streams.gateway.lanes import Headers, UnavailableError
from streams.gateway.verdicts import BUDGET_S, Verdicts, preference
from streams.process.kafka import Kafka
from streams.process.topics import create_topics
from tests.conftest import PARTITIONS, FreePorts, free_base
from tests.gateway.conftest import ends, running_gateway, wait_for
from tests.gateway.worker import Worker, incidents_of

TENANT = "verdicts"
API_KEY = "the API key of the tenant verdicts"
EVENTS_KEY, OTHER_EVENTS_KEY, GRAFANA_KEY = "c0ffee01" * 4, "c0ffee02" * 4, "c0ffee03" * 4
DATADOG = f"/v1/webhooks/{TENANT}/datadog"
ALERTMANAGER = f"/v1/webhooks/{TENANT}/prometheus"
GRAFANA = f"/api/integrations/grafana?integrationId={GRAFANA_KEY}"


def _integration(key: str, slug: str, **more: Any) -> Integration:
    fields = {"service": TENANT, **more}
    return Integration(id=key, tenant=TENANT, name=slug, type=slug, rate_limit="unlimited", **fields)


RECORDS = [
    Service(id=TENANT, tenant=TENANT),
    ApiKey(id=TENANT, tenant=TENANT, sha256=sha256(API_KEY.encode()).hexdigest()),
    _integration("c0ffee04" * 4, "datadog"),
    _integration("c0ffee05" * 4, "prometheus", signature="off"),
    _integration(GRAFANA_KEY, "grafana"),
    _integration(EVENTS_KEY, "events_v2"),
    _integration(OTHER_EVENTS_KEY, "events_v2", service="another"),
]


@pytest.fixture(scope="module")
def kafka(broker: str) -> str:
    """The broker with every topic, and the senders above."""
    asyncio.run(create_topics(Kafka(broker), PARTITIONS, 1))
    asyncio.run(publish(Kafka(broker), RECORDS))
    return broker


@pytest.fixture(scope="module")
def urls(kafka: str, free_ports: FreePorts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Two gateway processes."""
    with ExitStack() as stack:
        gateways = []
        for number in range(2):
            directory = tmp_path_factory.mktemp(f"gateway{number}")
            gateways.append(stack.enter_context(running_gateway(kafka, free_base(free_ports), directory)))
        for gateway in gateways:
            wait_for(gateway.ready, "a ready gateway")
        yield [gateway.url for gateway in gateways]


@pytest.fixture(scope="module")
def worker(kafka: str, free_ports: FreePorts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker process."""
    worker = Worker(kafka, free_ports, tmp_path_factory.mktemp("worker"))
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


@pytest.fixture
async def clients(urls: list[str]) -> AsyncIterator[list[aiohttp.ClientSession]]:
    """A client of each gateway, with the API key."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                aiohttp.ClientSession(url, headers={"X-API-Key": API_KEY}, connector=aiohttp.TCPConnector(limit=0))
            )
            for url in urls
        ]


class Answered:
    """An answer: status, body, the seconds it took and `Preference-Applied`."""

    def __init__(self, answer: aiohttp.ClientResponse, body: dict[str, Any], seconds: float) -> None:
        self.status = answer.status
        self.body = body
        self.seconds = seconds
        self.applied = answer.headers.get("preference-applied")


async def _post(client: aiohttp.ClientSession, path: str, body: Any, prefer: str | None = None) -> Answered:
    started = time.monotonic()
    headers = {} if prefer is None else {"Prefer": prefer}
    async with client.post(path, json=body, headers=headers) as answer:
        return Answered(answer, await answer.json(), time.monotonic() - started)


def _datadog(alert_id: str, title: str = "Disk full", transition: str = "Triggered") -> dict[str, str]:
    return {"alert_id": alert_id, "title": title, "text": "x", "alert_type": "error", "alert_transition": transition}


def _event(action: str, dedup_key: str, severity: str = "error", key: str = EVENTS_KEY) -> dict[str, Any]:
    return {
        "routing_key": key,
        "event_action": action,
        "dedup_key": dedup_key,
        "payload": {"summary": "it broke", "source": "host-1", "severity": severity},
    }


def _group(*names: str, status: str = "firing") -> dict[str, Any]:
    alerts = [{"status": status, "labels": {"alertname": name}, "fingerprint": name} for name in names]
    return {"version": "4", "groupKey": "g", "alerts": alerts}


async def _incidents(bootstrap: str, dedup_key: str) -> dict[str, tuple[Status, int]]:
    """Status and number of alerts of each incident of the key, by id, as the topic has them."""
    found = await incidents_of(bootstrap, dedup_key)
    return {uuid_text(key): (incident.status, incident.alert_count) for key, incident in found.items()}


async def test_without_a_worker_the_answer_is_202_when_the_budget_ends(clients: list[aiohttp.ClientSession]) -> None:
    """A late verdict changes nothing: accepted, without `deduplicated`, after the budget (R1)."""
    default, short, none = await asyncio.gather(
        _post(clients[0], DATADOG, _datadog("late")),
        _post(clients[0], DATADOG, _datadog("late"), "wait=1"),
        _post(clients[0], DATADOG, _datadog("late"), "wait=0"),
    )
    assert [answered.status for answered in (default, short, none)] == [202] * 3
    assert all("deduplicated" not in answered.body for answered in (default, short, none))
    assert default.body["status"] == "accepted"
    assert BUDGET_S <= default.seconds < BUDGET_S + 1.5
    assert 1 <= short.seconds < BUDGET_S
    assert none.seconds < 1
    assert (default.applied, short.applied, none.applied) == (None, "wait=1", None)


async def test_a_gateway_that_stops_keeps_nobody_waiting(kafka: str, free_ports: FreePorts, tmp_path: Path) -> None:
    """What waits when SIGTERM comes is answered 202 at once, because it is stored."""
    with running_gateway(kafka, free_base(free_ports), tmp_path) as gateway:
        wait_for(gateway.ready, "a ready gateway")
        before = await ends(kafka)
        async with aiohttp.ClientSession(gateway.url, headers={"X-API-Key": API_KEY}) as client:
            waiting = asyncio.create_task(_post(client, DATADOG, _datadog("stopping"), "wait=10"))
            async with asyncio.timeout(5):
                while await ends(kafka) == before:
                    pass
            assert not waiting.done()
            gateway.process.send_signal(signal.SIGTERM)
            answered = await waiting
        assert (answered.status, answered.body["status"]) == (202, "accepted")
        assert "deduplicated" not in answered.body
        assert answered.seconds < 5
        assert gateway.process.wait(10) == 0


async def test_of_a_hundred_at_once_one_is_new(
    worker: Worker, clients: list[aiohttp.ClientSession], kafka: str
) -> None:
    """Two gateways, 100 equal alerts side by side: one 202, 99 times 409 with its incident; it stays open (B14)."""
    async with asyncio.timeout(60):
        for client in clients:
            while "deduplicated" not in (await _post(client, DATADOG, _datadog("warm up"), "wait=10")).body:
                pass
    alert_id = uuid.uuid4().hex
    answered = await asyncio.gather(
        *(_post(clients[number % 2], DATADOG, _datadog(alert_id), "wait=10") for number in range(100))
    )
    assert Counter((a.status, a.body.get("deduplicated")) for a in answered) == {(202, False): 1, (409, True): 99}
    (new,) = [a for a in answered if a.status == 202]
    duplicates = [a for a in answered if a.status == 409]
    incident = new.body["incident_id"]
    assert new.body["deduplicated"] is False
    assert {tuple(sorted(a.body.items())) for a in duplicates} == {
        (
            ("dedup_key", new.body["dedup_key"]),
            ("deduplicated", True),
            ("error", "duplicate"),
            ("incident_id", incident),
        )
    }
    found = await _incidents(kafka, new.body["dedup_key"])
    assert [(key, status) for key, (status, _) in found.items()] == [(incident, Status.OPEN)]


async def test_another_title_is_the_same_alert_before_and_after_a_restart(
    worker: Worker, clients: list[aiohttp.ClientSession]
) -> None:
    """The same alert_id with another title is 409 (B22), within the default budget; again after a restart (B14)."""
    alert_id = uuid.uuid4().hex
    first = await _post(clients[0], DATADOG, _datadog(alert_id))
    second = await _post(clients[1], DATADOG, _datadog(alert_id, "Disk still full"))
    worker.stop()
    worker.start()
    third = await _post(clients[0], DATADOG, _datadog(alert_id, "Disk full for an hour"))
    assert [first.status, second.status, third.status] == [202, 409, 409]
    assert first.body["incident_id"] == second.body["incident_id"] == third.body["incident_id"]
    assert first.body["deduplicated"] is False


async def test_after_a_resolve_the_same_alert_is_new(
    worker: Worker, clients: list[aiohttp.ClientSession], kafka: str
) -> None:
    """A resolve is never a duplicate, not even the second one; then the alert opens another incident (B15)."""
    alert_id = uuid.uuid4().hex
    first = await _post(clients[0], DATADOG, _datadog(alert_id))
    resolves = [await _post(clients[0], DATADOG, _datadog(alert_id, transition="Recovered")) for _ in range(2)]
    again = await _post(clients[0], DATADOG, _datadog(alert_id))
    assert [a.status for a in (first, *resolves, again)] == [202] * 4
    assert resolves[0].body["incident_id"] == first.body["incident_id"] != again.body["incident_id"]
    assert "incident_id" not in resolves[1].body
    assert [a.body["deduplicated"] for a in (first, *resolves, again)] == [False] * 4
    found = await _incidents(kafka, first.body["dedup_key"])
    assert found == {
        first.body["incident_id"]: (Status.RESOLVED, 1),
        again.body["incident_id"]: (Status.OPEN, 1),
    }


async def test_a_batch_is_a_duplicate_if_every_alert_in_it_is(
    worker: Worker, clients: list[aiohttp.ClientSession]
) -> None:
    """One new alert, or one that resolves, makes it 202; a batch of one names its key and incident."""
    a, b, c = (uuid.uuid4().hex for _ in range(3))
    client = clients[0]
    assert (await _post(client, ALERTMANAGER, _group(a, b))).status == 202
    again = await _post(client, ALERTMANAGER, _group(a, b))
    assert (again.status, again.body) == (409, {"error": "duplicate", "deduplicated": True})
    one_new = await _post(client, ALERTMANAGER, _group(a, c))
    assert (one_new.status, one_new.body["deduplicated"]) == (202, False)
    alone = await _post(client, ALERTMANAGER, _group(c))
    assert alone.status == 409
    assert alone.body.keys() == {"error", "deduplicated", "dedup_key", "incident_id"}
    ends = await _post(client, ALERTMANAGER, _group(a, b, status="resolved"))
    assert (ends.status, ends.body["deduplicated"]) == (202, False)


async def test_elsewhere_a_duplicate_is_202_and_only_who_prefers_waits(
    worker: Worker, clients: list[aiohttp.ClientSession]
) -> None:
    """Webhooks by an integration's URL and the Events API say `deduplicated` after `Prefer: wait=N` (C65, C66)."""
    name, client = uuid.uuid4().hex, clients[0]
    silent = await _post(client, GRAFANA, _group(name), "respond-async")
    heard = await _post(client, GRAFANA, _group(name), "respond-async, wait=5")
    assert (silent.status, silent.applied) == (202, None)
    assert silent.body.keys() == {"status", "message", "event_id"}
    assert (heard.status, heard.applied, heard.body["deduplicated"]) == (202, "wait=5", True)
    assert heard.body.keys() == {"status", "message", "event_id", "deduplicated", "dedup_key", "incident_id"}

    key = uuid.uuid4().hex
    first = await _post(client, "/v2/enqueue", _event("trigger", key, "warning"), "wait=5")
    raised = await _post(client, "/v2/enqueue", _event("trigger", key, "critical"), "wait=5")
    ended = await _post(client, "/v2/enqueue", _event("resolve", key), "wait=5")
    assert [a.status for a in (first, raised, ended)] == [202] * 3
    assert [a.body["deduplicated"] for a in (first, raised, ended)] == [False, True, False]
    assert len({a.body["incident_id"] for a in (first, raised, ended)}) == 1
    assert raised.body["status"] == "success"


async def test_the_same_key_of_two_services_is_two_alerts(worker: Worker, clients: list[aiohttp.ClientSession]) -> None:
    """A key is its service's own (C70)."""
    key = uuid.uuid4().hex
    one = await _post(clients[0], "/v2/enqueue", _event("trigger", key), "wait=5")
    other = await _post(clients[0], "/v2/enqueue", _event("trigger", key, key=OTHER_EVENTS_KEY), "wait=5")
    assert one.body["deduplicated"] is other.body["deduplicated"] is False
    assert one.body["incident_id"] != other.body["incident_id"]


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (None, None), ("", None), ("respond-async", None), ("wait=", None), ("wait=-1", None), ("wait=1.5", None),
        ("await=5", None), ("wait=5x", None), ("handling=lenient", None), ("wait=0", 0), ("wait=5", 5), ("WAIT = 7", 7),
        ('respond-async, wait="3"; x=1', 3), ("wait=10", 10), ("wait=11", 10), ("wait=999999999", 10),
    ],
)  # fmt: skip
def test_what_is_preferred(prefer: str | None, seconds: int | None) -> None:
    """Whole seconds, at most ten; what is not understood is as if it were not there (RFC 7240)."""
    assert preference(prefer) == seconds


@pytest.fixture
async def asked(kafka: str) -> AsyncIterator[Verdicts]:
    """Verdicts that are followed."""
    found = Verdicts(Kafka(kafka))
    await found.start()
    yield found
    await found.stop()


class Asking:
    """A request that waits, and the stream that answers it."""

    def __init__(self, asked: Verdicts, bootstrap: str) -> None:
        self.headers: asyncio.Future[Headers] = asyncio.get_running_loop().create_future()
        self._bootstrap = bootstrap
        self.verdict = asyncio.create_task(asked.of(uuid7(), 30, self._put))

    async def _put(self, headers: Headers) -> None:
        self.headers.set_result(headers)

    async def answer(self, *verdicts: tuple[int, bool]) -> None:
        """Tell of these alerts, out of two, whether each is a duplicate."""
        [(name, value)] = await asyncio.wait_for(self.headers, 10)
        assert name == REPLY
        reply_to = decode_reply_to(value)
        producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap)
        await producer.start()
        try:
            for index, deduplicated in verdicts:
                told = Verdict(ReplyTo(reply_to.address, reply_to.request, index, 2, f"key {index}"), deduplicated)
                partition = partition_for(reply_to.address, PARTITIONS)
                await producer.send_and_wait(REPLIES.name, encode(told), reply_to.address, partition)
        finally:
            await producer.stop()


async def test_a_verdict_that_is_told_twice_counts_once(asked: Verdicts, kafka: str) -> None:
    """The same duplicate twice is not both alerts; the other's verdict decides."""
    twice, both = Asking(asked, kafka), Asking(asked, kafka)
    await twice.answer((0, True), (0, True))
    await both.answer((1, True), (0, True), (0, True))
    found = await asyncio.wait_for(both.verdict, 10)
    assert found is not None
    assert found.deduplicated
    assert not twice.verdict.done()
    await twice.answer((1, False))
    found = await asyncio.wait_for(twice.verdict, 10)
    assert found is not None
    assert not found.deduplicated


async def test_more_than_the_bound_do_not_wait(asked: Verdicts, kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound a request is stored without a reply address; a release ends all waiting and allows no more."""
    monkeypatch.setattr(verdicts, "MAX_WAITING", 1)
    first = Asking(asked, kafka)
    await asyncio.sleep(0)
    second = Asking(asked, kafka)
    assert await asyncio.wait_for(second.verdict, 10) is None
    assert second.headers.result() == []
    assert not first.verdict.done()
    asked.release()
    assert await asyncio.wait_for(first.verdict, 10) is None
    third = Asking(asked, kafka)
    assert await asyncio.wait_for(third.verdict, 10) is None
    assert third.headers.result() == []


async def test_what_could_not_be_stored_waits_for_nothing(asked: Verdicts) -> None:
    """What `put` raises is raised, and its place is free again."""

    async def refuse(headers: Headers) -> None:
        raise UnavailableError

    request = uuid7()
    for _ in range(2):
        with pytest.raises(UnavailableError):
            await asked.of(request, 30, refuse)


async def test_where_replies_cannot_be_read_nobody_waits(free_ports: FreePorts) -> None:
    """The start does not hang on it, and requests are stored as ever."""
    (port,) = free_ports(1)
    unheard = Verdicts(Kafka(f"127.0.0.1:{port}"))
    await asyncio.wait_for(unheard.start(), 30)
    asking = Asking(unheard, "")
    assert await asyncio.wait_for(asking.verdict, 5) is None
    assert asking.headers.result() == []
    await unheard.stop()
