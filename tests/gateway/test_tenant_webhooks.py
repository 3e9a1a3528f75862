"""`/v1/webhooks/{tenant}/{provider}`: an API key of the tenant, a signature, and whose alert it is then."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256

import aiohttp
import pytest

from schemas.control import AnyRecord, ApiKey, FieldMapping, Integration, SignaturePolicy, control_key
from streams.control.follow import publish
from streams.process.kafka import Kafka
from streams.providers import PROVIDERS
from tests.gateway.conftest import RunningGateway, accepted_since, ends
from tests.gateway.senders import ACME, BARE, PAUSED, WEBHOOK_SECRET, api_key, key, service, signature
from tests.gateway.senders import records as senders_records

pytestmark = pytest.mark.broker

CUSTOM = json.dumps({"title": "Till offline", "description": "No sale", "sourceAlertId": 7}).encode()
#: As the seed has it, tags as one text; and Datadog's default template with variables that it left as they were.
DATADOG = b"""{
  "alert_id": "12345678",
  "title": "High error rate on payment-service",
  "text": "Error rate exceeded 5% threshold for 5 minutes.",
  "alert_type": "error",
  "priority": "P1",
  "tags": "env:production,service:payment-service,team:platform"
}"""
TEMPLATE = b"""{"body": "$EVENT_MSG", "last_updated": "$LAST_UPDATED", "event_type": "$EVENT_TYPE",
"title": "[Triggered on {host:web-01}] CPU", "date": "$DATE", "org": {"id": "$ORG_ID", "name": "$ORG_NAME"},
"id": "$ID"}"""


def headers(tenant: str = ACME, body: bytes | None = None, secret: str = WEBHOOK_SECRET) -> dict[str, str]:
    """The API key and, for a body, its signature; nobody waits for a verdict, there is no worker."""
    signed = {} if body is None else {"X-Webhook-Signature": signature(body, secret)}
    return {"X-API-Key": api_key(tenant), "Prefer": "wait=0", **signed}


async def status(
    http: aiohttp.ClientSession, path: str, body: bytes, headers: Mapping[str, str]
) -> tuple[int, dict[str, str]]:
    """Status and body of the answer."""
    async with http.post(path, data=body, headers=headers) as answer:
        return answer.status, await answer.json()


@asynccontextmanager
async def published(
    gateway: RunningGateway, http: aiohttp.ClientSession, records: Sequence[AnyRecord]
) -> AsyncIterator[None]:
    """These records count inside; afterwards everything is as tests.gateway.senders has it."""
    marker = Integration(id="f" * 32, name="marker", type="webhook", service="marker")
    changed = [control_key(record) for record in (*records, marker)]
    before = [record for record in senders_records() if control_key(record) in changed]
    await publish(Kafka(gateway.bootstrap), [*records, marker])
    try:
        await _known(http, marker.id, 400)
        yield
    finally:
        new = [name for name in changed if name not in map(control_key, before)]
        await publish(Kafka(gateway.bootstrap), before, new)
        await _known(http, marker.id, 401)


async def _known(http: aiohttp.ClientSession, key: str, code: int) -> None:
    await becomes(code, lambda: status(http, f"/api/integrations/webhook?integrationId={key}", b"[", {}))


async def becomes(code: int, ask: Callable[[], Awaitable[tuple[int, object]]]) -> None:
    """Ask until the status is this one."""
    async with asyncio.timeout(10):
        while True:
            if (await ask())[0] == code:
                return
            await asyncio.sleep(0.02)


def keys(*ids: str) -> list[AnyRecord]:
    """API keys of ACME, whose text is `the key <id>`."""
    return [ApiKey(id=i, tenant=ACME, sha256=sha256(f"the key {i}".encode()).hexdigest()) for i in ids]


def replaced(slug: str, **changes: object) -> Integration:
    """ACME's integration of the provider with these changes."""
    own = {"id": key(slug), "tenant": ACME, "name": slug, "type": slug, "service": service(ACME)}
    return Integration.model_validate({**own, "rate_limit": "unlimited", **changes})


async def test_key_and_signature_are_both_required(senders: RunningGateway, http: aiohttp.ClientSession) -> None:
    """B6, B7: either one missing or wrong is 401; so is the body in other bytes than were signed."""
    path = f"/v1/webhooks/{ACME}/custom"
    start = await ends(senders.bootstrap)
    signed = headers(body=CUSTOM)
    spaced = json.dumps(json.loads(CUSTOM), indent=1).encode()
    refused: list[tuple[bytes, dict[str, str]]] = [
        (CUSTOM, {}),
        (CUSTOM, headers()),
        (CUSTOM, {"X-Webhook-Signature": signature(CUSTOM)}),
        (CUSTOM, {**signed, "X-API-Key": "wrong"}),
        (CUSTOM, headers(body=CUSTOM, secret="another secret")),
        (CUSTOM, {**headers(), "X-Signature": signature(CUSTOM)}),
        (spaced, signed),
    ]
    for body, sent in refused:
        code, told = await status(http, path, body, sent)
        assert (code, told["error"]) == (401, "unauthorized")
    assert await ends(senders.bootstrap) == start
    assert (await status(http, path, CUSTOM, signed))[0] == 202
    prefixed = {**signed, "X-Webhook-Signature": f"sha256={signature(CUSTOM).upper()}"}
    assert (await status(http, path, CUSTOM, prefixed))[0] == 202


async def test_the_custom_shape_names_what_is_missing(senders: RunningGateway, http: aiohttp.ClientSession) -> None:
    """B25: title and description are required, nothing else is."""
    path = f"/v1/webhooks/{ACME}/custom"
    for body, code, field in ((b'{"title":"t","description":"d"}', 202, None), (b'{"title":"t"}', 400, "description")):
        answered, told = await status(http, path, body, headers(body=body))
        assert (answered, told.get("field")) == (code, field)


async def test_every_request_of_a_connection_is_verified(senders: RunningGateway) -> None:
    """B8: one flipped byte in the second request of a kept connection is 401."""
    async with aiohttp.ClientSession(senders.url, connector=aiohttp.TCPConnector(limit=1)) as http:
        path, signed = f"/v1/webhooks/{ACME}/custom", headers(body=CUSTOM)
        assert (await status(http, path, CUSTOM, signed))[0] == 202
        assert (await status(http, path, CUSTOM.replace(b"7", b"8"), signed))[0] == 401
        assert (await status(http, path, CUSTOM, signed))[0] == 202


async def test_an_unknown_tenant_looks_like_a_wrong_key(http: aiohttp.ClientSession, senders: RunningGateway) -> None:
    """B5: nobody learns which tenants there are; an unknown provider is 404 for everyone."""
    signed = headers(body=CUSTOM)
    unknown = await status(http, "/v1/webhooks/nobody/custom", CUSTOM, signed)
    others = await status(http, f"/v1/webhooks/{PAUSED}/custom", CUSTOM, signed)
    wrong = await status(http, f"/v1/webhooks/{ACME}/custom", CUSTOM, {**signed, "X-API-Key": "wrong"})
    assert unknown == others == wrong == (401, {"error": "unauthorized"})
    for path in (
        f"/v1/webhooks/{ACME}/nothing",
        "/v1/webhooks/nobody/nothing",
        f"/v1/webhooks/{ACME}",
        "/v1/webhooks//custom",
    ):
        assert (await status(http, path, CUSTOM, signed))[0] == 404


async def test_datadog_needs_the_api_key_alone(senders: RunningGateway, http: aiohttp.ClientSession) -> None:
    """B16, B18, B20, B21: its bodies are accepted unsigned, and a wrong signature does not matter there either."""
    path = f"/v1/webhooks/{ACME}/datadog"
    start = await ends(senders.bootstrap)
    assert (await status(http, path, DATADOG, headers()))[0] == 202
    assert (await status(http, path, TEMPLATE, headers(body=b"another")))[0] == 202
    assert (await status(http, path, DATADOG, {}))[0] == 401
    stored = [event for _, event in await accepted_since(senders.bootstrap, start)]
    assert sorted(event.body for event in stored) == [DATADOG, TEMPLATE]
    (draft,) = next(PROVIDERS["datadog"].drafts(event, FieldMapping()) for event in stored if event.body == DATADOG)
    assert (draft.severity.name, draft.labels["team"]) == ("CRITICAL", "platform")


@pytest.mark.parametrize(
    ("slug", "policy", "unsigned"),
    [("datadog", "required", 401), ("datadog", "if_secret_set", 401), ("custom", "off", 202), ("custom", None, 401)],
)
async def test_an_integrations_policy_overrides_the_routes(
    senders: RunningGateway, http: aiohttp.ClientSession, slug: str, policy: SignaturePolicy | None, unsigned: int
) -> None:
    """B19, decision 5: what the integration says comes before the route's default."""
    body = DATADOG if slug == "datadog" else CUSTOM
    path = f"/v1/webhooks/{ACME}/{slug}"
    async with published(senders, http, [replaced(slug, signature=policy)]):
        assert (await status(http, path, body, headers()))[0] == unsigned
        assert (await status(http, path, body, headers(body=body)))[0] == 202


async def test_the_integrations_secret_signs_as_well(senders: RunningGateway, http: aiohttp.ClientSession) -> None:
    """Both secrets count, the integration's in the general header and in its vendor's own."""
    path, body = f"/v1/webhooks/{ACME}/github", b'{"zen": "Keep it logically awesome."}'
    own = "a secret of GitHub's"
    event = {"X-GitHub-Event": "ping"}
    async with published(senders, http, [replaced("github", signature_secret=own)]):
        vendors = {**headers(), "X-Hub-Signature-256": f"sha256={signature(body, own)}"}
        for sent in (headers(body=body), headers(body=body, secret=own), vendors):
            assert (await status(http, path, body, {**event, **sent}))[0] == 200
        wrong = {**vendors, "X-Hub-Signature-256": f"sha256={signature(body)}"}
        code, told = await status(http, path, body, {**event, **wrong})
        assert (code, told["reason"]) == (401, "bad_signature")


async def test_a_key_without_a_secret_cannot_sign(senders: RunningGateway, http: aiohttp.ClientSession) -> None:
    """Where a signature is required and no secret is there to check it, the answer says which of the two is missing."""
    async with published(senders, http, keys("no-secret")):
        sent = {**headers(body=CUSTOM), "X-API-Key": "the key no-secret"}
        code, told = await status(http, f"/v1/webhooks/{ACME}/custom", CUSTOM, sent)
        assert (code, told["reason"]) == (401, "missing_secret")
        assert (await status(http, f"/v1/webhooks/{ACME}/datadog", DATADOG, sent))[0] == 202


async def test_two_keys_live_at_once_and_one_is_revoked(senders: RunningGateway, http: aiohttp.ClientSession) -> None:
    """B10: revoking one key leaves the other."""
    path = f"/v1/webhooks/{ACME}/datadog"

    def sent(name: str) -> Awaitable[tuple[int, object]]:
        return status(http, path, DATADOG, {**headers(), "X-API-Key": f"the key {name}"})

    first, second = keys("first", "second")
    async with published(senders, http, [first]):
        await publish(Kafka(senders.bootstrap), [second])
        await becomes(202, lambda: sent("second"))
        assert (await sent("first"))[0] == 202
        await publish(Kafka(senders.bootstrap), [], [control_key(second)])
        await becomes(401, lambda: sent("second"))
        assert (await sent("first"))[0] == 202


async def test_without_an_integration_the_service_is_named_like_the_provider(
    senders: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """An API key is enough to begin with; the record names the key's id, never the key."""
    start = await ends(senders.bootstrap)
    assert (await status(http, f"/v1/webhooks/{BARE}/custom", CUSTOM, headers(BARE, CUSTOM)))[0] == 202
    ((_, event),) = await accepted_since(senders.bootstrap, start)
    assert (event.tenant, event.service, event.integration) == (BARE, "custom", f"apikey/{BARE}")


async def test_of_several_integrations_the_enabled_one_with_the_lowest_id_receives(
    senders: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """A disabled one is passed over while another is enabled."""
    lower = replaced("custom", id="0" * 31 + "1", service="lowest", enabled=False)
    low = replaced("custom", id="0" * 31 + "2", service="low")
    start = await ends(senders.bootstrap)
    async with published(senders, http, [lower, low]):
        assert (await status(http, f"/v1/webhooks/{ACME}/custom", CUSTOM, headers(body=CUSTOM)))[0] == 202
    ((_, event),) = await accepted_since(senders.bootstrap, start)
    assert (event.service, event.integration) == ("low", low.id)
