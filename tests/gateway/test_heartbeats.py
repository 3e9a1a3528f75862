"""`/v1/heartbeats/<key>`: what a beat is answered, and what is stored of it."""

import aiohttp
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.topics import HEARTBEATS
from schemas.wire.beat import HEARTBEAT, MONITOR, Beat
from schemas.wire.codec import decode_beat
from streams.gateway.presence import PERIOD_S
from tests.gateway.conftest import HEARTBEAT_KEY, PAUSED_HEARTBEAT_KEY, RunningGateway, accepted_since, ends

pytestmark = pytest.mark.broker

ADDRESS = "/v1/heartbeats"


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
async def test_a_beat_is_acknowledged_and_stored_without_its_key(
    gateway: RunningGateway, http: aiohttp.ClientSession, method: str
) -> None:
    """202 once Kafka has it; what is stored names the monitor, and nothing stored has the key in it."""
    start = await ends(gateway.bootstrap)
    async with http.request(method, f"{ADDRESS}/{HEARTBEAT_KEY}") as answer:
        assert answer.status == 202
        if method != "HEAD":
            told = await answer.json()
            assert (told["status"], told["heartbeat"]) == ("accepted", "nightly")
    ((_, event),) = await accepted_since(gateway.bootstrap, start)
    assert (event.provider, event.tenant, event.service) == (HEARTBEAT, "default", "gateway-test")
    assert (event.integration, event.headers) == ("heartbeat/default/nightly", {MONITOR: "nightly"})
    assert HEARTBEAT_KEY not in repr(event)


async def test_a_body_and_a_slash_do_no_harm(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """Cron's output may be the body; tools that add a slash beat all the same."""
    start = await ends(gateway.bootstrap)
    async with http.post(f"{ADDRESS}/{HEARTBEAT_KEY}/", data=b"\xffdone\x00", headers={"Prefer": "wait=0"}) as answer:
        assert answer.status == 202
    assert len(await accepted_since(gateway.bootstrap, start)) == 1


@pytest.mark.parametrize(
    ("path", "method", "status", "error"),
    [
        (f"{ADDRESS}/{'0' * 32}", "POST", 401, "unauthorized"),
        (f"{ADDRESS}/nightly", "GET", 401, "unauthorized"),
        (f"{ADDRESS}/", "GET", 404, "no such route"),
        (f"{ADDRESS}/{HEARTBEAT_KEY}/fail", "GET", 404, "no such route"),
        (f"{ADDRESS}/{PAUSED_HEARTBEAT_KEY}", "POST", 403, "the heartbeat is disabled"),
        (f"{ADDRESS}/{HEARTBEAT_KEY}", "DELETE", 405, "only GET, HEAD, POST is answered here"),
    ],
)
async def test_what_is_no_beat_is_refused(
    gateway: RunningGateway, http: aiohttp.ClientSession, path: str, method: str, status: int, error: str
) -> None:
    """Wrong keys, longer paths, other methods and disabled monitors are told in JSON, and nothing is stored."""
    start = await ends(gateway.bootstrap)
    async with http.request(method, path) as answer:
        assert (answer.status, (await answer.json())["error"]) == (status, error)
    assert await accepted_since(gateway.bootstrap, start) == []


async def test_a_running_gateway_reports(gateway: RunningGateway) -> None:
    """So that the stage knows when beats may have been lost."""
    consumer = AIOKafkaConsumer(bootstrap_servers=gateway.bootstrap)
    await consumer.start()
    try:
        partition = TopicPartition(HEARTBEATS.name, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        records = [await consumer.getone(partition) for _ in range(2)]
    finally:
        await consumer.stop()
    assert {decode_beat(record.value).kind for record in records} == {Beat.PRESENT}
    assert records[1].timestamp - records[0].timestamp >= PERIOD_S * 1000 - 50
