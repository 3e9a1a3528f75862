"""Every way in, in every state: what is asked for first is answered first, and only what is right is on Kafka."""

import asyncio
from collections import Counter

import aiohttp
import pytest

from streams.control.state import Control
from streams.gateway.auth import Directory
from streams.gateway.routes import Routes
from streams.gateway.routes.alertmanager import ALERTS_API
from streams.providers import PROVIDERS
from tests.gateway.conftest import RunningGateway, accepted_since, ends
from tests.gateway.senders import ACME, PAUSED, UNKNOWN_KEY, Way, key, service, ways

pytestmark = pytest.mark.broker

WAYS = ways()
_ids = [way.name for way in WAYS]
NO_JSON = b"["


@pytest.fixture(scope="module")
def before(senders: RunningGateway) -> dict[int, int]:
    """The offsets of `alerts.raw` before the first test."""
    return asyncio.run(ends(senders.bootstrap))


async def post(http: aiohttp.ClientSession, way: Way, tenant: str, credential: str | None, body: bytes) -> int:
    """The status of a request; every refusal is JSON that says what is wrong."""
    path, headers = way.request(tenant, credential, body)
    async with http.post(path, data=body, headers=headers) as answer:
        told = await answer.json()
        assert answer.status < 400 or told["error"]
        return answer.status


@pytest.mark.usefixtures("before")
@pytest.mark.parametrize("way", WAYS, ids=_ids)
async def test_a_refusal_comes_in_its_turn_on_every_way_in(http: aiohttp.ClientSession, way: Way) -> None:
    """No key and a wrong key are 401, a disabled integration 403, all before the body; then a bad body 400.

    Where the key may be in the body, one that cannot be read is 400 at once, as PagerDuty answers it.
    """
    own = way.credential(ACME)
    assert await post(http, way, ACME, None, NO_JSON) == (400 if way.name.endswith("/enqueue") else 401)
    assert await post(http, way, ACME, UNKNOWN_KEY, NO_JSON) == 401
    assert await post(http, way, PAUSED, way.credential(PAUSED), NO_JSON) == 403
    assert await post(http, way, PAUSED, way.credential(PAUSED), way.body) == 403
    assert await post(http, way, ACME, own, NO_JSON) == 400


async def test_a_right_request_is_on_kafka_from_every_way_in(
    senders: RunningGateway, http: aiohttp.ClientSession, before: dict[int, int]
) -> None:
    """Each is answered 2xx, and stored once under its provider, its integration, tenant and service."""
    start = await ends(senders.bootstrap)
    assert start == before, "something of a refused request is on Kafka"
    expected: Counter[tuple[str, str]] = Counter()
    for way in WAYS:
        status = await post(http, way, ACME, way.credential(ACME), way.body)
        alerts = way.provider.examples[0].alerts
        stored = 200 if way.name == ALERTS_API else 202  # Alertmanager's clients know no other success
        assert status == (stored if alerts or way.provider.slug == "change_events" else 200), way.name
        if alerts:
            expected[way.provider.slug, key(way.provider.slug)] += 1
    found = [event for _, event in await accepted_since(senders.bootstrap, start)]
    assert {(event.tenant, event.service) for event in found} == {(ACME, service(ACME))}
    assert Counter((event.provider, event.integration) for event in found) == expected


def test_every_address_of_a_provider_is_a_route() -> None:
    """What the declarations promise is answered, and nothing else is."""
    fixed = {path: route.provider.slug for path, route in Routes(Directory(Control())).fixed.items()}
    promised = {path: slug for slug, provider in PROVIDERS.items() for path, _ in provider.addresses}
    assert fixed == {**promised, **{f"/api/integrations/{slug}": slug for slug in PROVIDERS}}
