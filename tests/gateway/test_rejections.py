"""Refusals become rows: who, which way, why, when and how often, and nothing that was in the request."""

import asyncio
from collections import Counter

import aiohttp
import pytest

from schemas.control import ApiKey, Integration
from schemas.topics import REJECTIONS
from schemas.wire.codec import decode_rejection
from schemas.wire.rejection import Rejection
from streams.control.state import Control
from streams.gateway import answers, rejections
from streams.gateway.auth import Directory
from streams.gateway.rejections import MAX_FIELD, MAX_KEYS, RejectionKey, Rejections, Tally
from streams.gateway.routes import Routes
from streams.gateway.senders import ApiSender
from streams.process.kafka import Kafka
from streams.providers import PROVIDERS
from tests.conftest import FreePorts
from tests.gateway.conftest import (
    DISABLED_KEY,
    EVENTS_KEY,
    SIGNED_KEY,
    WEBHOOK_KEY,
    RunningGateway,
    ends,
    values_since,
)

KEY = RejectionKey("t", "abcdef...", "webhook", "/x", "bad_body", 400, "body")


def test_refusals_that_are_alike_are_one_row() -> None:
    """Each kind once with its count, at the time of the first; then the tally is empty."""
    tally = Tally()
    for at in (5, 6, 7):
        tally.note(KEY, at)
    tally.note(KEY._replace(field="other"), 8)
    assert tally.take() == [Rejection(5, *KEY, 3), Rejection(5, *KEY._replace(field="other"), 1)]
    assert tally.take() == []
    tally.note(KEY, 9)
    assert tally.take() == [Rejection(9, *KEY, 1)]


def test_the_tally_is_bounded() -> None:
    """A sender with a new wrong field each time fills no memory; what is not told is counted."""
    tally = Tally()
    for number in range(MAX_KEYS + 50):
        tally.note(KEY._replace(field=f"{number}"), 1)
    tally.note(KEY._replace(field="0"), 1)
    assert len(tally.take()) == MAX_KEYS
    assert tally.lost == 50


def test_nothing_of_a_key_but_its_beginning_is_noted() -> None:
    """The integration is masked, an API key is its id, a sender that did not identify itself is nobody."""
    told = Rejections(Kafka("nowhere:1"), lambda: 12.5)
    integration = Integration(id="0123456789abcdef" * 2, tenant="t", name="n", type="webhook", service="s")
    key = ApiKey(id="deploys", tenant="t", sha256="0" * 64)
    for sender in (integration, ApiSender(key, "t", "s", "apikey/deploys"), None):
        told.note(sender, "webhook", "/api", answers.bad_body("a" * 1000, "is wrong"))
    found = told._tally.take()
    assert [(each.tenant, each.integration, each.at) for each in found] == [
        ("t", "012345...", 12_500),
        ("t", "apikey/deploys", 12_500),
        ("", "", 12_500),
    ]
    assert {each.field for each in found} == {"a" * MAX_FIELD}


def test_every_route_has_an_address_without_what_a_sender_chooses() -> None:
    """The address is a bounded set of words: one for each route."""
    routes = Routes(Directory(Control()))
    found = [route.address for route in routes.fixed.values()]
    found += [route.address for slug in PROVIDERS if (route := routes.find(f"/v1/webhooks/acme/{slug}")) is not None]
    assert all(found)
    assert len(set(found)) == len(found) == 5 + 2 * len(PROVIDERS)
    assert not any("acme" in address for address in found)


async def test_without_kafka_refusals_are_dropped_and_counted(
    free_ports: FreePorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for them, and the end of the process does not either."""
    monkeypatch.setattr(rejections, "PERIOD_S", 0.05)
    (port,) = free_ports(1)
    before = rejections._LOST._value.get()
    told = Rejections(Kafka(f"127.0.0.1:{port}"))
    told.start()
    for _ in range(7):
        told.note(None, "webhook", "/api", answers.UNAUTHORIZED)
    async with asyncio.timeout(10):
        while True:
            if rejections._LOST._value.get() == before + 7:
                break
            await asyncio.sleep(0.02)
    async with asyncio.timeout(5):
        await told.stop()


WEBHOOK = "/api/integrations/webhook"


async def settled(gateway: RunningGateway, http: aiohttp.ClientSession) -> dict[int, int]:
    """The offsets from which on only the refusals of this test come: those of others are all sent by then.

    A period is sent when the one before it has arrived, so that of two refusals, one after the other, arrives last.
    """
    for _ in range(2):
        start = await ends(gateway.bootstrap, REJECTIONS.name)
        async with http.post("/api/integrations/zabbix") as answer:
            assert answer.status == 401
        async with asyncio.timeout(20):
            while True:
                values = await values_since(gateway.bootstrap, start, REJECTIONS.name)
                if any(decode_rejection(value).provider == "zabbix" for _, value in values):
                    break
                await asyncio.sleep(0.05)
    return await ends(gateway.bootstrap, REJECTIONS.name)


@pytest.mark.broker
async def test_each_refusal_is_on_the_topic_with_its_reason(
    gateway: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """C121, C122: wrong key, disabled, unsigned, wrongly signed, wrong body: each is told, none with a secret."""
    start = await settled(gateway, http)
    requests = [
        (f"{WEBHOOK}?integrationId={'0' * 32}", {}, b"{}"),
        (f"{WEBHOOK}?integrationId={EVENTS_KEY}", {}, b"{}"),
        (f"{WEBHOOK}?integrationId={DISABLED_KEY}", {}, b"{}"),
        (f"{WEBHOOK}?integrationId={SIGNED_KEY}", {}, b"{}"),
        (f"{WEBHOOK}?integrationId={SIGNED_KEY}", {"X-Signature": "a secret attempt"}, b"{}"),
        (f"{WEBHOOK}?integrationId={WEBHOOK_KEY}", {}, b"a secret body"),
        ("/v1/webhooks/a-secret-tenant/datadog", {"X-API-Key": "a secret key"}, b"{}"),
        ("/nowhere", {}, b"{}"),
    ]
    for path, headers, data in requests * 3:
        async with http.post(path, data=data, headers=headers) as answer:
            assert answer.status >= 400
    told: Counter[tuple[str, ...]] = Counter()
    async with asyncio.timeout(20):
        while told.total() < 21:
            await asyncio.sleep(0.1)
            values = [value for _, value in await values_since(gateway.bootstrap, start, REJECTIONS.name)]
            told.clear()
            for each in map(decode_rejection, values):
                told[each.tenant, each.integration, each.route, each.reason, f"{each.status}", each.field] += each.count
    assert told == {
        ("", "", WEBHOOK, "unauthorized", "401", ""): 3,
        ("default", "eeeeee...", WEBHOOK, "wrong_type", "401", ""): 3,
        ("default", "dddddd...", WEBHOOK, "disabled", "403", ""): 3,
        ("default", "555555...", WEBHOOK, "missing_header", "401", ""): 3,
        ("default", "555555...", WEBHOOK, "bad_signature", "401", ""): 3,
        ("default", "bbbbbb...", WEBHOOK, "bad_body", "400", "body"): 3,
        ("", "", "/v1/webhooks/{tenant}/datadog", "unauthorized", "401", ""): 3,
    }
    assert not any(b"secret" in value or EVENTS_KEY.encode() in value for value in values)


@pytest.mark.broker
async def test_a_flood_of_refusals_is_a_few_rows(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """A thousand wrong requests in a second or two are as many rows as seconds, and all are counted."""
    start = await settled(gateway, http)

    async def send() -> None:
        async with http.post("/v2/enqueue", data=b"{}") as answer:
            assert answer.status == 401

    for _ in range(10):
        await asyncio.gather(*(send() for _ in range(100)))
    found: list[Rejection] = []
    async with asyncio.timeout(20):
        while sum(each.count for each in found) < 1000:
            await asyncio.sleep(0.1)
            values = await values_since(gateway.bootstrap, start, REJECTIONS.name)
            found = [decode_rejection(value) for _, value in values]
    assert sum(each.count for each in found) == 1000
    assert len(found) <= 15
