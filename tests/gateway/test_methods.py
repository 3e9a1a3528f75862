"""Other methods than POST: alerts in a query, PUT, the question of a CloudEvents sender, the catalogue to read."""

import json

import aiohttp
import pytest
from yarl import URL

from schemas.control import FieldMapping
from schemas.wire.alert import RawEvent
from streams.providers import PROVIDERS, QUERY
from streams.providers._contract import Draft
from tests.gateway.conftest import RunningGateway, accepted_since, ends
from tests.gateway.senders import ACME, PAUSED, UNKNOWN_KEY, key

pytestmark = pytest.mark.broker

CLOUD = "/api/integrations/cloudevents"
EVENT = {"specversion": "1.0", "id": "1", "source": "/lab", "type": "lab.disk.triggered", "data": {"summary": "full"}}
ROBOT = {"monitorID": "5501", "monitorFriendlyName": "Till & café", "alertType": "1"}
KUMA = {
    "msg": "[Till] [Down] timeout",
    "heartbeat": json.dumps({"monitorID": 7, "status": 0, "msg": "timeout"}),
    "monitor": json.dumps({"id": 7, "name": "Till"}),
}


def drafts(event: RawEvent) -> list[Draft]:
    """What the stream makes of a stored request."""
    return PROVIDERS[event.provider].drafts(event, FieldMapping())


@pytest.mark.parametrize(
    ("slug", "query", "dedup_key"), [("uptimerobot", ROBOT, "uptimerobot|5501"), ("uptimekuma", KUMA, "uptimekuma|7")]
)
@pytest.mark.parametrize("key_first", [True, False])
async def test_an_alert_in_the_query_is_stored_without_the_key(
    senders: RunningGateway,
    http: aiohttp.ClientSession,
    slug: str,
    query: dict[str, str],
    dedup_key: str,
    key_first: bool,
) -> None:
    """The stream reads the same alert from what is stored, in which the integration's key is not."""
    start = await ends(senders.bootstrap)
    own = {"integrationId": key(slug)}
    params = {**own, **query} if key_first else {**query, **own}
    async with http.get(f"/api/integrations/{slug}", params=params) as answer:
        assert (answer.status, (await answer.json())["dedup_key"]) == (202, dedup_key)
    ((_, event),) = await accepted_since(senders.bootstrap, start)
    assert key(slug) not in event.headers[QUERY]
    assert [draft.dedup_key for draft in drafts(event)] == [dedup_key]


async def test_an_encoded_name_does_not_hide_the_key(senders: RunningGateway, http: aiohttp.ClientSession) -> None:
    """`integration%49d` is the same parameter, and is not stored either."""
    start = await ends(senders.bootstrap)
    url = f"{senders.url}/api/integrations/uptimerobot?monitorID=1&alertType=1&integration%49d={key('uptimerobot')}"
    async with http.get(URL(url, encoded=True)) as answer:
        assert answer.status == 202
    ((_, event),) = await accepted_since(senders.bootstrap, start)
    assert event.headers[QUERY] == "monitorID=1&alertType=1"


async def test_a_get_is_refused_like_a_post(senders: RunningGateway, http: aiohttp.ClientSession) -> None:
    """No key, disabled, and a query that is no alert; a provider that posts only answers 405."""
    path = "/api/integrations/uptimerobot"
    for query, status in (
        (ROBOT, 401),
        ({**ROBOT, "integrationId": key("uptimerobot", PAUSED)}, 403),
        ({"integrationId": key("uptimerobot")}, 400),
    ):
        async with http.get(path, params=query) as answer:
            assert answer.status == status
    async with http.get(f"/api/integrations/datadog?integrationId={key('datadog')}") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize("slug", ["grafana", "elastic", "webhook"])
async def test_a_put_is_a_post_where_the_tool_can_send_it(
    senders: RunningGateway, http: aiohttp.ClientSession, slug: str
) -> None:
    """Some tools let their users choose."""
    body = PROVIDERS[slug].examples[0].body
    async with http.put(f"/api/integrations/{slug}?integrationId={key(slug)}", data=body) as answer:
        assert answer.status == 202


@pytest.mark.parametrize("slug", ["cloudevents", "azure"])
async def test_a_sender_of_cloudevents_asks_first(
    senders: RunningGateway, http: aiohttp.ClientSession, slug: str
) -> None:
    """OPTIONS with a right key allows the origin that asks, at the integration's rate; nothing is stored."""
    start = await ends(senders.bootstrap)
    origin = {"WebHook-Request-Origin": "eventemitter.example.com", "WebHook-Request-Rate": "120"}
    path = f"/api/integrations/{slug}"
    async with http.options(f"{path}?integrationId={key(slug)}", headers=origin) as answer:
        assert (answer.status, await answer.read()) == (200, b"")
        assert answer.headers["WebHook-Allowed-Origin"] == "eventemitter.example.com"
        assert answer.headers["WebHook-Allowed-Rate"] == "*"
    for query, sent, status in (
        ("", origin, 401),
        (f"?integrationId={UNKNOWN_KEY}", origin, 401),
        (f"?integrationId={key(slug, PAUSED)}", origin, 403),
        (f"?integrationId={key(slug)}", {}, 400),
    ):
        async with http.options(path + query, headers=sent) as answer:
            assert answer.status == status
            assert "WebHook-Allowed-Origin" not in answer.headers
    assert await ends(senders.bootstrap) == start


@pytest.mark.parametrize(
    ("content_type", "more", "body", "status", "alerts"),
    [
        ("application/cloudevents+json; charset=utf-8", {}, EVENT, 202, 1),
        ("application/cloudevents-batch+json", {}, [EVENT, {**EVENT, "id": "2"}], 202, 2),
        ("application/json", {f"ce-{k}": v for k, v in EVENT.items() if k != "data"}, {"summary": "full"}, 202, 1),
        ("text/plain", {f"ce-{k}": v for k, v in EVENT.items() if k != "data"}, "full", 202, 1),
        ("application/json", {}, EVENT, 202, 1),
        ("text/plain", {}, EVENT, 415, 0),
        ("application/cloudevents+avro", {}, EVENT, 415, 0),
        ("application/cloudevents+json", {}, {**EVENT, "specversion": "0.3"}, 400, 0),
    ],
)
async def test_cloudevents_come_in_three_modes(
    senders: RunningGateway,
    http: aiohttp.ClientSession,
    content_type: str,
    more: dict[str, str],
    body: object,
    status: int,
    alerts: int,
) -> None:
    """Structured, batch and binary; a content type that is none of them is 415."""
    start = await ends(senders.bootstrap)
    url = f"{CLOUD}?integrationId={key('cloudevents')}"
    headers = {"Content-Type": content_type, **more}
    async with http.post(url, data=json.dumps(body).encode(), headers=headers) as answer:
        assert answer.status == status
        assert status != 415 or (await answer.json())["field"] == "content-type"
    found = [draft for _, event in await accepted_since(senders.bootstrap, start) for draft in drafts(event)]
    assert [draft.dedup_key for draft in found] == ["/lab||lab.disk"] * alerts


async def test_an_action_of_no_list_is_ignored(senders: RunningGateway, http: aiohttp.ClientSession) -> None:
    """The generic webhook says which value it did not know, and stores nothing."""
    start = await ends(senders.bootstrap)
    url = f"/api/integrations/webhook?integrationId={key('webhook')}"
    async with http.post(url, json={"summary": "s", "action": "unresolved"}) as answer:
        told = await answer.json()
        assert (answer.status, told["status"]) == (200, "ignored")
        assert "value of action" in told["reason"]
    assert await ends(senders.bootstrap) == start


async def test_the_catalogue_is_there_for_everyone(http: aiohttp.ClientSession) -> None:
    """B27: `GET /integrations/catalog` lists every provider with what it must send, and holds no key."""
    async with http.get("/integrations/catalog") as answer:
        assert answer.status == 200
        told = await answer.json()
    assert [entry["slug"] for entry in told["providers"]] == list(PROVIDERS)
    assert all(entry["webhook_url"] and "headers" in entry for entry in told["providers"])
    assert key("webhook", ACME) not in json.dumps(told)
    async with http.post("/integrations/catalog") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
