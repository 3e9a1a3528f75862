"""The catalogue's promises, kept by a real gateway: its URLs and its test requests work as they are shown."""

import asyncio
import json
import secrets
import subprocess
from typing import Any

import aiohttp
import pytest

from schemas.control import Integration
from streams.control import catalogue
from streams.control.follow import publish
from streams.process.kafka import Kafka
from streams.providers import PROVIDERS
from tests.gateway.conftest import RunningGateway, accepted_since, ends

pytestmark = pytest.mark.broker

SECRET = "a secret of the catalogue"
#: Amazon SNS alone can make its messages; its own tests have a signer.
SLUGS = [slug for slug in PROVIDERS if slug != "cloudwatch"]


def run(command: str) -> tuple[int, str]:
    """What a shell makes of a command: its status and what it prints."""
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


async def test_every_test_request_works_as_shown(gateway: RunningGateway) -> None:
    """Contract B27, C35, C39, C43: pasted into a shell each is stored, signed by whoever has a secret."""
    integrations = [
        Integration(
            id=secrets.token_hex(16),
            name=f"catalogue {slug}",
            type=slug,
            service="gateway-test",
            signature_secret=secret,
            rate_limit="unlimited",
        )
        for slug in SLUGS
        for secret in (None, SECRET)
    ]
    await publish(Kafka(gateway.bootstrap), integrations)
    start = await ends(gateway.bootstrap)
    await _known(gateway, integrations[-1])
    for integration in integrations:
        request = catalogue.setup(integration, gateway.url).test_request
        assert SECRET not in request
        status, told = await asyncio.to_thread(run, request.replace("<secret>", SECRET))
        assert status == 0, f"{integration.type}: {request}\n{told}"
    stored = {event.integration for _, event in await accepted_since(gateway.bootstrap, start)}
    assert {each.id for each in integrations if each.type != "change_events"} <= stored


async def _known(gateway: RunningGateway, integration: Integration) -> None:
    """Wait until the gateway has followed to this integration."""
    url = catalogue.webhook_url(integration.type, gateway.url, integration.id)
    async with aiohttp.ClientSession() as session, asyncio.timeout(30):
        while True:
            async with session.post(url, data=b"{") as answer:
                if json.loads(await answer.read()).get("reason") == "missing_header":
                    return
            await asyncio.sleep(0.02)


async def test_an_unsigned_request_shows_that_the_signature_counts(gateway: RunningGateway) -> None:
    """The same request without its signature is refused once a secret is set."""
    integration = Integration(
        id=secrets.token_hex(16), name="unsigned", type="datadog", service="gateway-test", signature_secret=SECRET
    )
    await publish(Kafka(gateway.bootstrap), [integration])
    await _known(gateway, integration)
    request = catalogue.setup(integration.model_copy(update={"signature_secret": None}), gateway.url).test_request
    status, told = await asyncio.to_thread(run, request)
    assert status != 0
    assert "missing_header" in told


async def test_the_catalogue_is_public(http: aiohttp.ClientSession, gateway: RunningGateway) -> None:
    """Contract B27: `GET /integrations/catalog` lists every provider, with the gateway's own address."""
    async with http.get("/integrations/catalog") as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        listed: list[dict[str, Any]] = (await answer.json())["providers"]
    assert [entry["slug"] for entry in listed] == list(PROVIDERS)
    assert all(entry["webhook_url"].startswith(gateway.url) for entry in listed)
    async with http.post("/integrations/catalog", data=b"{}") as answer:
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
