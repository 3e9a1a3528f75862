"""The Events API as the seed documents have it: bodies as they are printed there, and what of them is required."""

import json
from typing import Any

import aiohttp
import pytest

from schemas.control import FieldMapping
from streams.providers import PROVIDERS
from tests.gateway.conftest import EVENTS_KEY, RunningGateway, accepted_since, ends
from tests.gateway.senders import ACME, UNKNOWN_KEY, api_key, key, service

pytestmark = pytest.mark.broker

ROUTES = ("/api/events", "/v2/enqueue")
TOKEN = {"Authorization": f"Token token={EVENTS_KEY}", "Content-Type": "application/json", "Prefer": "wait=0"}
CURL = b"""{
"event_action": "trigger",
"dedup_key": "unique-alert-id",
"payload": {
"summary": "High CPU on web-01",
"source": "monitoring",
"severity": "critical"
}
}"""
TRIGGER = b"""{
"event_action": "trigger",
"dedup_key": "srv-web-01/high-cpu",
"payload": {
"summary": "High CPU usage on web-01 (95%)",
"source": "monitoring-system",
"severity": "critical",
"custom_details": {
"cpu_percent": 95,
"host": "web-01",
"region": "us-east-1"
}
}
}"""
ACKNOWLEDGE = b"""{
"event_action": "acknowledge",
"dedup_key": "srv-web-01/high-cpu"
}"""
RESOLVE = ACKNOWLEDGE.replace(b"acknowledge", b"resolve")


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "body", [CURL, TRIGGER, ACKNOWLEDGE, RESOLVE], ids=["curl", "trigger", "acknowledge", "resolve"]
)
async def test_the_seeds_bodies_are_accepted_as_printed(http: aiohttp.ClientSession, path: str, body: bytes) -> None:
    """C42, C57 to C59, decision 8: 202 with `status` and `dedup_key`; two fields are enough after the trigger."""
    async with http.post(path, data=body, headers=TOKEN) as answer:
        told = await answer.json()
    assert (answer.status, told["status"]) == (202, "success")
    assert told["dedup_key"] == json.loads(body)["dedup_key"]


@pytest.mark.parametrize("details", [{"a": [{"b": None}, [1.5, True]]}, [1, "two"], "text", 7, None, {}])
async def test_custom_details_are_any_json(
    gateway: RunningGateway, http: aiohttp.ClientSession, details: object
) -> None:
    """C57, C64: whatever their shape, the stream has them as they were sent."""
    event = json.loads(TRIGGER)
    event["payload"]["custom_details"] = details
    start = await ends(gateway.bootstrap)
    async with http.post("/api/events", data=json.dumps(event), headers=TOKEN) as answer:
        assert answer.status == 202
    ((_, raw),) = await accepted_since(gateway.bootstrap, start)
    (draft,) = PROVIDERS["events_v2"].drafts(raw, FieldMapping())
    assert json.loads(draft.details or b"null") == details


async def test_a_severity_that_is_not_named_is_error(gateway: RunningGateway, http: aiohttp.ClientSession) -> None:
    """C63: fail open, and say so in the documentation."""
    event = json.loads(CURL)
    del event["payload"]["severity"]
    start = await ends(gateway.bootstrap)
    async with http.post("/api/events", data=json.dumps(event), headers=TOKEN) as answer:
        assert answer.status == 202
    ((_, raw),) = await accepted_since(gateway.bootstrap, start)
    assert PROVIDERS["events_v2"].drafts(raw, FieldMapping())[0].severity.name == "ERROR"


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no action": ({"event_action": None}, "event_action"),
    "another action": ({"event_action": "escalate"}, "event_action"),
    "no payload": ({"payload": None}, "payload"),
    "no summary": ({"payload": {"source": "a"}}, "payload.summary"),
    "blank summary": ({"payload": {"summary": " ", "source": "a"}}, "payload.summary"),
    "no source": ({"payload": {"summary": "s"}}, "payload.source"),
    "fatal": ({"payload": {"summary": "s", "source": "a", "severity": "fatal"}}, "payload.severity"),
    "acknowledge of nothing": ({"event_action": "acknowledge", "dedup_key": None}, "dedup_key"),
    "resolve of nothing": ({"event_action": "resolve", "dedup_key": None}, "dedup_key"),
    "key of another type": ({"dedup_key": 7}, "dedup_key"),
}


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("case", WRONG)
async def test_what_is_wrong_is_named(http: aiohttp.ClientSession, path: str, case: str) -> None:
    """C60, C62, C63, R4: 400 with the path of the field, in PagerDuty's shape on PagerDuty's route."""
    changes, field = WRONG[case]
    event = {name: value for name, value in {**json.loads(CURL), **changes}.items() if value is not None}
    async with http.post(path, data=json.dumps(event), headers=TOKEN) as answer:
        told = await answer.json()
    assert (answer.status, told["field"]) == (400, field)
    if path == "/v2/enqueue":
        assert (told["status"], told["message"]) == ("invalid event", "Event object is invalid")
        assert told["errors"] == [told["error"]]


@pytest.mark.parametrize(("path", "status"), [("/api/events", 400), ("/v2/enqueue", 202)])
async def test_a_trigger_without_a_key(http: aiohttp.ClientSession, path: str, status: int) -> None:
    """C61, R2: `/api/events` requires `dedup_key`, PagerDuty's route makes one up."""
    event = {name: value for name, value in json.loads(CURL).items() if name != "dedup_key"}
    async with http.post(path, data=json.dumps(event), headers=TOKEN) as answer:
        assert answer.status == status
        assert (await answer.json()).get("field") == ("dedup_key" if status == 400 else None)


async def test_an_api_key_sends_for_its_own_tenant_alone(senders: RunningGateway, http: aiohttp.ClientSession) -> None:
    """C44: the service must be one of the key's tenant; another tenant's is as unknown as any."""
    bearer = {"Authorization": f"Bearer {api_key(ACME)}"}
    start = await ends(senders.bootstrap)
    for service_id, status in ((service(ACME), 202), ("gateway-test", 404), (service("paused"), 404)):
        event = {**json.loads(CURL), "service_id": service_id}
        async with http.post("/api/events", data=json.dumps(event), headers=bearer) as answer:
            assert answer.status == status
    ((_, event),) = await accepted_since(senders.bootstrap, start)
    assert (event.tenant, event.service, event.integration) == (ACME, service(ACME), f"apikey/{ACME}")


async def test_a_key_inside_the_details_is_nobodys(senders: RunningGateway, http: aiohttp.ClientSession) -> None:
    """Who sends is said by the body's own `routing_key`, wherever else there is one: in events and in changes."""
    own, other = key("change_events"), UNKNOWN_KEY
    for routing, status in ((own, 202), (other, 401)):
        details = {"routing_key": own if routing == other else other}
        event = {"payload": {"summary": "v2 is live", "custom_details": details}, "routing_key": routing}
        async with http.post("/v2/change/enqueue", data=json.dumps(event)) as answer:
            assert answer.status == status
    async with http.post("/v2/change/enqueue", data=json.dumps({"routing_key": own, "payload": {}})) as answer:
        told = await answer.json()
        assert (answer.status, told["status"], told["field"]) == (400, "invalid event", "payload.summary")
