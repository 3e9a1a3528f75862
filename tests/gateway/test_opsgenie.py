"""Opsgenie's Alert API: its paths, its key header, and answers that its clients understand."""

import json
from uuid import UUID

import aiohttp
import pytest

from schemas.control import FieldMapping
from schemas.fingerprint import digest, partition_for
from streams.providers import PROVIDERS
from tests.conftest import PARTITIONS
from tests.gateway.conftest import RunningGateway, accepted_since, ends
from tests.gateway.senders import ACME, BARE, PAUSED, api_key, key, service

pytestmark = pytest.mark.broker

ALIAS = "disk full/db-1 100%"
CREATE = {"message": "Disk full on db-1", "alias": ALIAS, "priority": "P1"}


def genie(credential: str) -> dict[str, str]:
    """The header of a key; nobody waits for a verdict, there is no worker."""
    return {"Authorization": f"GenieKey {credential}", "Prefer": "wait=0"}


async def test_create_acknowledge_and_close_are_one_alert(senders: RunningGateway, http: aiohttp.ClientSession) -> None:
    """The alias in the path, encoded, is the alias of the body: same key, same partition, 202 as the vendor's."""
    start = await ends(senders.bootstrap)
    encoded = "disk%20full%2Fdb-1%20100%25"
    for path, body in (
        ("/v2/alerts", json.dumps(CREATE)),
        (f"/v2/alerts/{encoded}/acknowledge?identifierType=alias", json.dumps({"user": "kim"})),
        (f"/v2/alerts/{encoded}/close?identifierType=alias", ""),
    ):
        url = f"{senders.url}{path}"
        async with http.post(
            aiohttp.client.URL(url, encoded=True), data=body, headers=genie(key("opsgenie"))
        ) as answer:
            told = await answer.json()
            assert (answer.status, told["result"]) == (202, "Request will be processed")
            assert told["took"] >= 0
            assert UUID(told["requestId"]).version == 7
    events = await accepted_since(senders.bootstrap, start)
    drafts = [PROVIDERS["opsgenie"].drafts(event, FieldMapping())[0] for _, event in events]
    assert [(draft.action.name, draft.dedup_key) for draft in drafts] == [
        ("TRIGGER", ALIAS),
        ("ACKNOWLEDGE", ALIAS),
        ("RESOLVE", ALIAS),
    ]
    assert {partition for partition, _ in events} == {partition_for(digest(key("opsgenie"), ALIAS), PARTITIONS)}


async def test_a_request_for_the_id_is_closed_by_it(senders: RunningGateway, http: aiohttp.ClientSession) -> None:
    """An alert without alias has the request's id, which the answer tells."""
    start = await ends(senders.bootstrap)
    headers = genie(key("opsgenie"))
    async with http.post("/v2/alerts", data=b'{"message": "no alias"}', headers=headers) as answer:
        request_id = (await answer.json())["requestId"]
    async with http.post(f"/v2/alerts/{request_id}/close", data=b"{}", headers=headers) as answer:
        assert answer.status == 202
    drafts = [
        PROVIDERS["opsgenie"].drafts(event, FieldMapping())[0]
        for _, event in await accepted_since(senders.bootstrap, start)
    ]
    assert {draft.dedup_key for draft in drafts} == {request_id}


@pytest.mark.parametrize(
    ("tenant", "integration", "of_service"),
    [(ACME, key("opsgenie"), service(ACME)), (BARE, f"apikey/{BARE}", "opsgenie")],
)
async def test_an_api_key_sends_for_its_tenants_integration(
    senders: RunningGateway, http: aiohttp.ClientSession, tenant: str, integration: str, of_service: str
) -> None:
    """With an Opsgenie integration it is that one's alert, without one the service is named like the provider."""
    start = await ends(senders.bootstrap)
    async with http.post("/v2/alerts", json=CREATE, headers=genie(api_key(tenant))) as answer:
        assert answer.status == 202
    ((_, event),) = await accepted_since(senders.bootstrap, start)
    assert (event.tenant, event.integration, event.service) == (tenant, integration, of_service)


async def test_what_changes_no_alert_is_answered_and_not_stored(
    senders: RunningGateway, http: aiohttp.ClientSession
) -> None:
    """A note is accepted as the vendor accepts it."""
    start = await ends(senders.bootstrap)
    async with http.post("/v2/alerts/x/notes", json={"note": "n"}, headers=genie(key("opsgenie"))) as answer:
        assert (answer.status, (await answer.json())["result"]) == (202, "Request will be processed")
    assert await ends(senders.bootstrap) == start


@pytest.mark.parametrize(
    ("headers", "body", "status", "field"),
    [
        ({}, b"{}", 401, None),
        (genie(key("webhook")), b"{}", 401, None),
        ({"Authorization": f"Bearer {key('opsgenie')}"}, b"{}", 401, None),
        (genie(key("opsgenie", PAUSED)), b"{}", 403, None),
        (genie(key("opsgenie")), b"{", 400, "body"),
        (genie(key("opsgenie")), b"{}", 422, "message"),
    ],
)
async def test_errors_have_the_vendors_shape(
    senders: RunningGateway, http: aiohttp.ClientSession, headers: dict[str, str], body: bytes, status: int, field: str
) -> None:
    """`message`, `took` and `requestId`, `errors` by field, 422 for a field that is wrong; and ours beside them."""
    async with http.post("/v2/alerts", data=body, headers=headers) as answer:
        told = await answer.json()
    assert answer.status == status
    assert told["message"] == told["error"]
    assert UUID(told["requestId"]).version == 7
    assert told["took"] >= 0
    assert told.get("field") == field
    assert list(told.get("errors", {})) == ([field] if field else [])


async def test_update_alerts_of_alertmanager_is_taken(senders: RunningGateway, http: aiohttp.ClientSession) -> None:
    """PUT of message, description and priority is accepted and changes no alert; DELETE is the alert's end."""
    start = await ends(senders.bootstrap)
    alias = "f00d/1"
    for part in ("message", "description", "priority"):
        url = f"/v2/alerts/f00d%2F1/{part}?identifierType=alias"
        target = aiohttp.client.URL(senders.url + url, encoded=True)
        async with http.put(target, json={part: "P2"}, headers=genie(key("opsgenie"))) as answer:
            told = await answer.json()
            assert (answer.status, told["result"]) == (202, "Request will be processed")
            assert UUID(told["requestId"]).version == 7
    for part in ("", "/tags"):
        target = aiohttp.client.URL(f"{senders.url}/v2/alerts/f00d%2F1{part}?identifierType=alias", encoded=True)
        async with http.delete(target, headers=genie(key("opsgenie"))) as answer:
            assert answer.status == 202
    ((_, event),) = await accepted_since(senders.bootstrap, start)
    (draft,) = PROVIDERS["opsgenie"].drafts(event, FieldMapping())
    assert (draft.action.name, draft.dedup_key) == ("RESOLVE", alias)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_nothing_is_done_to_all_alerts(http: aiohttp.ClientSession, method: str) -> None:
    """PUT and DELETE without an alert are not found, even with the body of one."""
    async with http.request(method, "/v2/alerts", json=CREATE, headers=genie(key("opsgenie"))) as answer:
        assert answer.status == 404


@pytest.mark.parametrize("path", ["/v2/alerts/x", "/v2/alertsx/y/close", "/v2/alerts/x/Close"])
async def test_other_paths_are_not_found(http: aiohttp.ClientSession, path: str) -> None:
    """They create no alert, even with the body of one."""
    async with http.post(path, json=CREATE, headers=genie(key("opsgenie"))) as answer:
        assert answer.status == 404
