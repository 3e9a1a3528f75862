"""The process: Kafka goes away and comes back, and the end is orderly."""

import asyncio
import json
import signal
import time
from pathlib import Path

import aiohttp
import pytest

from streams.embedded.kafka import EmbeddedKafka
from tests.conftest import FreePorts, free_base
from tests.gateway.conftest import (
    EVENTS_KEY,
    RunningGateway,
    accepted_since,
    ends,
    prepare,
    running_gateway,
    wait_for,
)

pytestmark = pytest.mark.broker

HEADERS = {"Authorization": f"Token token={EVENTS_KEY}"}


def resolve(key: str) -> bytes:
    """The smallest event of this key."""
    return json.dumps({"event_action": "resolve", "dedup_key": key}).encode()


async def post(http: aiohttp.ClientSession, key: str) -> tuple[int, float]:
    """Send one event; its status and how many seconds the answer took."""
    started = time.monotonic()
    async with http.post("/v2/enqueue", data=resolve(key), headers=HEADERS) as answer:
        if answer.status == 503:
            assert int(answer.headers["Retry-After"]) > 0
        return answer.status, time.monotonic() - started


async def test_with_the_broker_away_requests_are_refused_and_then_served_again(
    tmp_path: Path, free_ports: FreePorts
) -> None:
    """A killed broker means 503 within 5 s, at once while it stays away, and 202 soon after its return.

    Whatever was answered 202, before or after, is on the topic.
    """
    port, controller_port = free_ports(2)
    kafka = EmbeddedKafka(tmp_path / "kafka", port, controller_port)
    kafka.start()
    try:
        await prepare(kafka.bootstrap)
        start = await ends(kafka.bootstrap)
        with running_gateway(kafka.bootstrap, free_base(free_ports), tmp_path) as gateway:
            await asyncio.to_thread(wait_for, gateway.ready, "a ready gateway")
            async with aiohttp.ClientSession(gateway.url) as http:
                statuses = {f"before-{n}": (await post(http, f"before-{n}"))[0] for n in range(10)}
                assert set(statuses.values()) == {202}
                kafka.kill()
                answers = await asyncio.gather(*(post(http, f"away-{n}") for n in range(20)))
                assert {status for status, _ in answers} == {503}
                assert max(seconds for _, seconds in answers) < 5
                status, seconds = await post(http, "still-away")
                assert (status, seconds < 1) == (503, True)
                assert not gateway.ready()
                await asyncio.to_thread(kafka.start)
                await asyncio.to_thread(wait_for, gateway.ready, "a gateway that is ready again")
                statuses |= {f"after-{n}": (await post(http, f"after-{n}"))[0] for n in range(10)}
                assert set(statuses.values()) == {202}
            assert gateway.process.poll() is None
        stored = [json.loads(event.body)["dedup_key"] for _, event in await accepted_since(kafka.bootstrap, start)]
        assert [key for key in statuses if stored.count(key) != 1] == []
    finally:
        kafka.stop()


async def test_sigterm_answers_what_was_accepted_and_ends_in_time(
    prepared: str, free_ports: FreePorts, tmp_path: Path
) -> None:
    """Under load, SIGTERM ends the process with status 0 in 5 s, and every 202 is on the topic."""
    start = await ends(prepared)
    accepted: list[str] = []
    with running_gateway(prepared, free_base(free_ports), tmp_path) as gateway:
        await asyncio.to_thread(wait_for, gateway.ready, "a ready gateway")

        async def sender(number: int) -> None:
            for step in range(100_000):
                try:
                    status, _ = await post(http, f"{number}-{step}")
                except aiohttp.ClientError:
                    return
                if status == 503:
                    return
                assert status == 202
                accepted.append(f"{number}-{step}")

        async with aiohttp.ClientSession(gateway.url) as http:
            senders = [asyncio.create_task(sender(number)) for number in range(30)]
            await asyncio.to_thread(wait_for, lambda: len(accepted) >= 200, "the 200th answer")
            gateway.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(gateway.process.wait, 5) == 0
            await asyncio.gather(*senders)
    stored = [json.loads(event.body)["dedup_key"] for _, event in await accepted_since(prepared, start)]
    assert len(stored) == len(set(stored))
    assert set(accepted) <= set(stored)


def test_a_gateway_waits_for_kafka_and_can_be_stopped_meanwhile(free_ports: FreePorts, tmp_path: Path) -> None:
    """Without Kafka the process lives and says that it is not ready; SIGTERM ends it with status 0."""
    (port,) = free_ports(1)
    with running_gateway(f"127.0.0.1:{port}", free_base(free_ports), tmp_path) as gateway:
        wait_for(lambda: b"waiting for it" in gateway.log.read_bytes(), "the message that Kafka is away")
        assert not gateway.ready()
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(10) == 0


def test_a_port_in_use_is_told(gateway: RunningGateway, tmp_path: Path) -> None:
    """A second gateway on the same ports ends with a message that names the setting."""
    base = int(gateway.url.rpartition(":")[2])
    with running_gateway(gateway.bootstrap, base, tmp_path) as second:
        assert second.process.wait(20) != 0
        assert "STORMWEIR_PORT_BASE" in second.log.read_text()
