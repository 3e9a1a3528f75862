"""Bodies that the gateway's own limit lets in and Kafka's does not."""

import io
import json
from pathlib import Path

import aiohttp
import pytest

from schemas.topics import ALERTS_RAW
from tests.conftest import FreePorts, free_base
from tests.gateway.conftest import WEBHOOK_KEY, ends, running_gateway, wait_for

pytestmark = pytest.mark.broker


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
            assert await post(17_000_000) == (413, "the body is larger than 16777216 bytes")
            assert sum((await ends(prepared, ALERTS_RAW.name)).values()) == sum(before.values())
            assert (await post(10))[0] == 202
