"""The routes: what is accepted is on Kafka, what is refused is not, and the checks have their order."""

import asyncio
import hmac
import json
from collections.abc import AsyncIterator
from hashlib import sha256
from uuid import UUID

import aiohttp
import pytest

from schemas.control import Integration
from schemas.fingerprint import digest, partition_for
from streams.control.follow import publish
from streams.process.kafka import Kafka
from tests.gateway.conftest import (
    API_KEY,
    DISABLED_KEY,
    EVENTS_KEY,
    PARTITIONS,
    PROMETHEUS_KEY,
    READ_ONLY_KEY,
    SIGNATURE_SECRET,
    SIGNED_KEY,
    WEBHOOK_KEY,
    RunningGateway,
    accepted_since,
    ends,
)

pytestmark = pytest.mark.broker

TRIGGER = {
    "event_action": "trigger",
    "dedup_key": "web-01/cpu",
    "payload": {"summary": "High CPU on web-01", "source": "monitoring", "severity": "critical"},
}
GROUP = {"alerts": [{"status": "firing", "labels": {"alertname": "Down"}, "fingerprint": "f1"}], "groupKey": "g"}
UNKNOWN_KEY = "0" * 32


def body(value: object = None, **changes: object) -> bytes:
    """TRIGGER (or the value) with changes, as JSON."""
    return json.dumps({**TRIGGER, **changes} if value is None else value).encode()


def token(key: str) -> dict[str, str]:
    """The header of an integration's key."""
    return {"Authorization": f"Token token={key}"}


def bearer(key: str) -> dict[str, str]:
    """The header of an API key."""
    return {"Authorization": f"Bearer {key}"}


def signature(data: bytes, secret: str = SIGNATURE_SECRET) -> str:
    """The HMAC of a body in hexadecimal."""
    return hmac.new(secret.encode(), data, sha256).hexdigest()


async def test_an_accepted_event_is_on_kafka_as_it_was_sent(
    gateway: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """202 in PagerDuty's shape means: the body, byte for byte, is on the partition of its key."""
    start = await ends(gateway.bootstrap)
    sent = body(routing_key=EVENTS_KEY)
    async with http.post("/v2/enqueue", data=sent) as answer:
        assert answer.status == 202
        assert await answer.json() == {
            "status": "success",
            "message": "Event processed",
            "dedup_key": "web-01/cpu",
        }
    ((partition, event),) = await accepted_since(gateway.bootstrap, start)
    assert (event.body, event.provider, event.integration) == (sent, "events_v2", EVENTS_KEY)
    assert (event.tenant, event.service, event.headers) == ("default", "gateway-test", {})
    assert UUID(bytes=event.event_id).version == 7
    assert int.from_bytes(event.event_id[:6], "big") == event.received_at
    assert partition == partition_for(digest(EVENTS_KEY, "web-01/cpu"), PARTITIONS)


async def test_a_generated_dedup_key_is_the_event_id(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """A trigger without a key gets one on `/v2/enqueue`, each its own, derived from what is on Kafka."""
    start = await ends(gateway.bootstrap)
    keys = []
    for _ in range(2):
        async with http.post("/v2/enqueue", data=body(dedup_key=None), headers=token(EVENTS_KEY)) as answer:
            assert answer.status == 202
            keys.append((await answer.json())["dedup_key"])
    assert keys[0] != keys[1]
    events = await accepted_since(gateway.bootstrap, start)
    assert sorted(keys) == sorted(event.event_id.hex() for _, event in events)


async def test_an_api_key_sends_for_the_service_it_names(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """`Authorization: Bearer` and `service_id`: the record says which API key, never the key itself."""
    start = await ends(gateway.bootstrap)
    async with http.post("/api/events", data=body(service_id="gateway-test"), headers=bearer(API_KEY)) as answer:
        assert answer.status == 202
    ((_, event),) = await accepted_since(gateway.bootstrap, start)
    assert (event.service, event.integration) == ("gateway-test", "apikey/writer")


async def test_a_group_of_alerts_stays_one_record(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """An Alertmanager group is one record, ordered by its group key, answered with its event id."""
    start = await ends(gateway.bootstrap)
    path = f"/api/integrations/prometheus?integrationId={PROMETHEUS_KEY}"
    async with http.post(path, data=body(GROUP)) as answer:
        assert answer.status == 202
        told = await answer.json()
    ((partition, event),) = await accepted_since(gateway.bootstrap, start)
    assert told == {
        "status": "accepted",
        "message": "Event processed",
        "event_id": str(UUID(bytes=event.event_id)),
    }
    assert partition == partition_for(digest(PROMETHEUS_KEY, "g"), PARTITIONS)


async def test_a_mapped_webhook_answers_its_dedup_key(http: aiohttp.ClientSession) -> None:
    """The integration's mapping decides the key, in any order of query parameters."""
    path = f"/api/integrations/webhook?x=1&integrationId={WEBHOOK_KEY}"
    async with http.post(path, data=body({"alert": {"title": "late"}, "id": 991})) as answer:
        assert (answer.status, (await answer.json())["dedup_key"]) == (202, "991")


V2, EVENTS = "/v2/enqueue", "/api/events"
WEBHOOK = "/api/integrations/webhook"
HUGE = b"x" * 100_001
REFUSALS = {
    "unknown path": ("/v2/nothing", {}, b"", 404, None),
    "unknown provider": ("/api/integrations/nobody", {}, b"", 404, None),
    "unknown path before size": ("/nothing", {}, HUGE, 404, None),
    "size before key": (V2, {}, HUGE, 413, None),
    "no key": (V2, {}, body(), 401, None),
    "key of nobody": (V2, {}, body(routing_key=UNKNOWN_KEY), 401, None),
    "key before JSON": (V2, token(UNKNOWN_KEY), b"{", 401, None),
    "key before compression": (V2, {**token(UNKNOWN_KEY), "Content-Encoding": "gzip"}, b"{", 401, None),
    "compression before JSON": (V2, {**token(EVENTS_KEY), "Content-Encoding": "gzip"}, b"{", 400, "body"),
    "no key and no JSON": (V2, {}, b"{", 400, "body"),
    "key in broken JSON": (V2, {}, b'{"routing_key": "%b", "eve' % EVENTS_KEY.encode(), 400, "body"),
    "no key, events": (EVENTS, {}, body(), 401, None),
    "body key, events": (EVENTS, {}, body(routing_key=EVENTS_KEY), 401, None),
    "wrong API key": (EVENTS, bearer("wrong"), body(service_id="gateway-test"), 401, None),
    "API key on the vendor's route": (V2, bearer(API_KEY), body(service_id="gateway-test"), 401, None),
    "no integration": (WEBHOOK, {}, b"{}", 401, None),
    "unknown integration": (f"{WEBHOOK}?integrationId={UNKNOWN_KEY}", {}, b"{", 401, None),
    "integration of another type": (f"{WEBHOOK}?integrationId={EVENTS_KEY}", {}, b"{}", 401, None),
    "disabled before JSON": (f"{WEBHOOK}?integrationId={DISABLED_KEY}", {}, b"{", 403, None),
    "disabled, vendor's route": (V2, {}, body(routing_key=DISABLED_KEY), 403, None),
    "disabled, events": (EVENTS, token(DISABLED_KEY), body(), 403, None),
    "scope before JSON": (EVENTS, bearer(READ_ONLY_KEY), b"{", 403, None),
    "no service": (EVENTS, bearer(API_KEY), body(), 400, "service_id"),
    "unknown service": (EVENTS, bearer(API_KEY), body(service_id="nobody"), 404, "service_id"),
    "signature before JSON": (f"{WEBHOOK}?integrationId={SIGNED_KEY}", {}, b"{", 401, None),
    "not JSON": (f"{WEBHOOK}?integrationId={WEBHOOK_KEY}", {}, b"late", 400, "body"),
    "not an object": (f"{WEBHOOK}?integrationId={WEBHOOK_KEY}", {}, b"[]", 400, "body"),
    "empty": (EVENTS, token(EVENTS_KEY), b"", 400, "body"),
    "no dedup key, events": (EVENTS, token(EVENTS_KEY), body(dedup_key=None), 400, "dedup_key"),
    "no summary": (V2, token(EVENTS_KEY), body(payload={"source": "a"}), 400, "payload.summary"),
    "bad severity": (
        V2,
        token(EVENTS_KEY),
        body(payload={"summary": "s", "source": "a", "severity": "fatal"}),
        400,
        "payload.severity",
    ),
    "bad status": (
        f"/api/integrations/prometheus?integrationId={PROMETHEUS_KEY}",
        {},
        body({"alerts": [{"status": "odd"}]}),
        400,
        "alerts.0.status",
    ),
}


@pytest.fixture
async def untouched(gateway: RunningGateway) -> AsyncIterator[None]:
    """The test ends with the offsets of `alerts.raw` as they were."""
    start = await ends(gateway.bootstrap)
    yield
    assert await ends(gateway.bootstrap) == start


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("case", REFUSALS)
async def test_a_refused_request_is_answered_and_not_stored(http: aiohttp.ClientSession, case: str) -> None:
    """Each check has its status and comes in its turn; a 400 names the field; Kafka sees nothing."""
    path, headers, data, status, field = REFUSALS[case]
    async with http.post(path, data=data, headers=headers) as answer:
        assert answer.status == status
        assert answer.content_type == "application/json"
        told = await answer.json()
    assert told["error"]
    assert told.get("field") == field
    if field is not None and path == V2:
        assert (told["status"], told["errors"]) == ("invalid event", [told["error"]])


async def test_a_missing_and_an_unknown_key_look_alike(http: aiohttp.ClientSession) -> None:
    """Nobody learns from the answer whether a key exists."""
    async with http.post(V2, data=body()) as missing, http.post(V2, data=body(), headers=token("x")) as unknown:
        assert await missing.read() == await unknown.read()


@pytest.mark.parametrize(
    ("path", "allowed"),
    [(V2, "POST"), (EVENTS, "POST"), (WEBHOOK, "POST, PUT, GET"), ("/api/integrations/uptimerobot", "POST, GET")],
)
async def test_other_methods_are_refused(http: aiohttp.ClientSession, path: str, allowed: str) -> None:
    """405 names the methods that are answered."""
    async with http.delete(path) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, allowed)


@pytest.mark.usefixtures("untouched")
async def test_a_body_without_a_length_is_cut_off_at_the_limit(http: aiohttp.ClientSession) -> None:
    """A chunked body is refused as soon as it is too large, however long it would go on."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b" " * 1000

    async with http.post(V2, data=endless(), headers=token(EVENTS_KEY)) as answer:
        assert answer.status == 413


async def test_a_chunked_body_below_the_limit_is_accepted(http: aiohttp.ClientSession) -> None:
    """Pieces are put together again."""

    async def pieces() -> AsyncIterator[bytes]:
        whole = body()
        for at in range(0, len(whole), 20):
            yield whole[at : at + 20]

    async with http.post(V2, data=pieces(), headers=token(EVENTS_KEY)) as answer:
        assert answer.status == 202


SIGNED = body({"summary": "signed"})


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        ({"X-Signature": f"sha256={signature(SIGNED)}"}, 202, None),
        ({"X-Webhook-Signature": signature(SIGNED).upper()}, 202, None),
        # another provider's header is not this one's: see the contract's header table
        ({"X-Hub-Signature-256": f"sha256={signature(SIGNED)}"}, 401, "missing_header"),
        ({}, 401, "missing_header"),
        ({"X-Other-Signature": signature(SIGNED)}, 401, "missing_header"),
        ({"X-Signature": f"sha256={signature(SIGNED + b' ')}"}, 401, "bad_signature"),
        ({"X-Signature": signature(SIGNED, "another secret")}, 401, "bad_signature"),
        ({"X-Signature": "sha256="}, 401, "bad_signature"),
        ({"X-Signature": "z" * 64}, 401, "bad_signature"),
    ],
)
async def test_a_set_secret_requires_the_signature_of_the_raw_body(
    http: aiohttp.ClientSession, headers: dict[str, str], status: int, reason: str | None
) -> None:
    """Hexadecimal in any case, with or without `sha256=`; anything else is 401 with its reason."""
    path = f"{WEBHOOK}?integrationId={SIGNED_KEY}"
    async with http.post(path, data=SIGNED, headers=headers) as answer:
        assert (answer.status, (await answer.json()).get("reason")) == (status, reason)


async def test_a_changed_configuration_counts_without_a_restart(
    gateway: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """Disabling an integration refuses its alerts, enabling it takes them again."""
    key = "c" * 32
    path = f"{WEBHOOK}?integrationId={key}"
    for enabled, status in ((True, 202), (False, 403), (True, 202)):
        record = Integration(id=key, name="toggled", type="webhook", service="gateway-test", enabled=enabled)
        await publish(Kafka(gateway.bootstrap), [record])
        async with asyncio.timeout(10):
            while True:
                async with http.post(path, data=b"{}") as answer:
                    if answer.status == status:
                        break
                await asyncio.sleep(0.02)
    await publish(Kafka(gateway.bootstrap), [], [f"integration/{key}"])


async def test_a_hundred_at_once_are_each_stored_once_and_in_order(
    gateway: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """Concurrent requests share batches: none is lost or doubled, and one sender's order is kept."""
    start = await ends(gateway.bootstrap)

    async def sender(number: int) -> None:
        for step in range(5):
            sent = body(dedup_key=f"key-{number}", step=step)
            async with http.post(V2, data=sent, headers=token(EVENTS_KEY)) as answer:
                assert answer.status == 202

    await asyncio.gather(*(sender(number) for number in range(100)))
    events = [json.loads(event.body) for _, event in await accepted_since(gateway.bootstrap, start)]
    assert len(events) == 500
    for number in range(100):
        assert [e["step"] for e in events if e["dedup_key"] == f"key-{number}"] == [0, 1, 2, 3, 4]


async def test_bodies_up_to_the_limit_are_stored(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """Large bodies, many of them at once, do not fit one batch and still all arrive."""
    start = await ends(gateway.bootstrap)
    large = body(padding="x" * 99_000)

    async def send() -> int:
        async with http.post(V2, data=large, headers=token(EVENTS_KEY)) as answer:
            return answer.status

    assert await asyncio.gather(*(send() for _ in range(20))) == [202] * 20
    assert [event.body for _, event in await accepted_since(gateway.bootstrap, start)] == [large] * 20


async def test_answers_are_counted(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """`/metrics` has requests by type and code, rejections by reason, and durations."""

    async def metrics() -> str:
        async with http.get(f"{gateway.admin}/metrics") as answer:
            return await answer.text()

    before = await metrics()
    async with http.post(V2, data=body(), headers=token(EVENTS_KEY)) as answer:
        assert answer.status == 202
    async with http.post(V2, data=b"{", headers=token(EVENTS_KEY)) as answer:
        assert answer.status == 400
    after = await metrics()
    for name in (
        'stormweir_webhook_requests_total{code="202",integration_type="events_v2"}',
        'stormweir_webhook_requests_total{code="400",integration_type="events_v2"}',
        'stormweir_webhook_rejected_total{reason="bad_body"}',
    ):
        assert _sample(after, name) == _sample(before, name) + 1
    duration = "stormweir_webhook_request_duration_seconds_count"
    assert _sample(after, duration) == _sample(before, duration) + 2


def _sample(text: str, name: str) -> float:
    return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(name)), 0.0)


def test_nothing_secret_is_logged(gateway: RunningGateway) -> None:
    """No key, secret or body reaches the log."""
    log = gateway.log.read_text()
    for secret in (EVENTS_KEY, WEBHOOK_KEY, SIGNATURE_SECRET, API_KEY, "High CPU"):
        assert secret not in log
