"""Bodies that the gateway's own limit lets in and Kafka's does not."""

import asyncio
import io
import json
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from schemas.topics import ALERTS_RAW
from tests.conftest import FreePorts, free_base
from tests.gateway.conftest import WEBHOOK_KEY, ends, running_gateway, wait_for

pytestmark = pytest.mark.broker


async def refused(url: str, route: str, size: int) -> str:
    """Announce a body of this size and read the 413 that comes before any of it; its error."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"POST {route} HTTP/1.1\r\nHost: gateway\r\nContent-Length: {size}\r\nContent-Type: application/json\r\n\r\n"
    writer.write(head.encode())
    answer = await reader.readuntil(b"}")
    writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["error"])


async def test_a_413_names_the_limit_that_counts(prepared: str, free_ports: FreePorts, tmp_path: Path) -> None:
    """The topic's where that is the smaller one; nothing is on Kafka, and the gateway goes on."""
    with running_gateway(prepared, free_base(free_ports), tmp_path, max_body=16 * 1024 * 1024) as gateway:
        wait_for(gateway.ready, "a ready gateway")
        before = await ends(prepared)
        async with aiohttp.ClientSession(gateway.url) as http:
            route = f"/api/integrations/webhook?integrationId={WEBHOOK_KEY}"

            async def post(size: int) -> tuple[int, str]:
                body = io.BytesIO(json.dumps({"id": "large", "alert": {"title": "x" * size}}).encode())
                async with http.post(route, data=body, headers={"content-type": "application/json"}) as answer:
                    return answer.status, str(json.loads(await answer.read()).get("error", ""))

            topic = "the request does not fit into the 8388608 bytes that its Kafka topic takes"
            assert await post(8_400_000) == (413, topic)
            assert await refused(gateway.url, route, 17_000_000) == "the body is larger than 16777216 bytes"
            assert sum((await ends(prepared, ALERTS_RAW.name)).values()) == sum(before.values())
            assert (await post(10))[0] == 202
