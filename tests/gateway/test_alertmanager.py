"""Alertmanager's API, as Prometheus, Loki and vmalert post to it: where the key may be, and what is answered."""

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from schemas.control import FieldMapping
from streams.providers import PROVIDERS
from tests.gateway.conftest import RunningGateway, accepted_since, ends
from tests.gateway.senders import ACME, BARE, api_key, key

pytestmark = pytest.mark.broker

API = "/api/v2/alerts"
KEY = key("prometheus")
NO_WAIT = {"Prefer": "wait=0"}


def alert(minutes: float) -> dict[str, Any]:
    """An alert whose end is so many minutes ahead, as Prometheus 3 writes it."""
    now = datetime.now(UTC)
    return {
        "labels": {"alertname": "DiskFull", "instance": "db-7:9100", "severity": "critical"},
        "annotations": {"summary": "3% left"},
        "startsAt": (now - timedelta(minutes=10)).isoformat(),
        "endsAt": (now + timedelta(minutes=minutes)).isoformat(),
        "generatorURL": "http://prom.example.com/graph",
    }


def basic(password: str) -> dict[str, str]:
    """The header of basic authentication; the name counts for nothing."""
    return {"Authorization": "Basic " + b64encode(f"stormweir:{password}".encode()).decode()}


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (f"/api/integrations/prometheus/{KEY}{API}", {}),
        (f"{API}?integrationId={KEY}", {}),
        (API, {"Authorization": f"Bearer {KEY}"}),
        (API, basic(KEY)),
        (API, {"Authorization": f"Bearer {api_key(ACME)}"}),
    ],
)
async def test_the_key_is_where_these_clients_can_put_it(
    senders: RunningGateway, http: aiohttp.ClientSession, path: str, headers: dict[str, str]
) -> None:
    """In a path prefix, as bearer token or as password; the answer is 200, and nothing stored has the key in it."""
    start = await ends(senders.bootstrap)
    async with http.post(path, json=[alert(4)], headers={**headers, **NO_WAIT}) as answer:
        assert answer.status == 200
    ((_, event),) = await accepted_since(senders.bootstrap, start)
    assert (event.integration, event.headers) == (KEY, {})
    (draft,) = PROVIDERS["prometheus"].drafts(event, FieldMapping())
    assert (draft.action.name, draft.source, draft.severity.name) == ("TRIGGER", "db-7:9100", "CRITICAL")


async def test_an_alert_whose_end_is_past_is_over(senders: RunningGateway, http: aiohttp.ClientSession) -> None:
    """Repeats have an end ahead of the time of arrival, the last one has it behind; all are one alert, in order."""
    start = await ends(senders.bootstrap)
    for minutes in (4, 4, -0.1):
        async with http.post(
            API, json=[alert(minutes)], headers={"Authorization": f"Bearer {KEY}", **NO_WAIT}
        ) as answer:
            assert answer.status == 200
    events = await accepted_since(senders.bootstrap, start)
    drafts = [PROVIDERS["prometheus"].drafts(event, FieldMapping())[0] for _, event in events]
    assert [draft.action.name for draft in drafts] == ["TRIGGER", "TRIGGER", "RESOLVE"]
    assert len({draft.dedup_key for draft in drafts}) == len({partition for partition, _ in events}) == 1


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (API, {}, 401),
        (API, {"Authorization": "Bearer nobody"}, 401),
        (API, {"Authorization": "Basic ?"}, 401),
        (API, {"Authorization": f"Bearer {key('webhook')}"}, 401),
        (f"/api/integrations/prometheus/{'0' * 32}{API}", {}, 401),
        (f"/api/integrations/webhook/{KEY}{API}", {}, 404),
        (API, {"Authorization": f"Bearer {api_key(BARE)}"}, 200),
    ],
)
async def test_who_may_not_post_is_refused(
    http: aiohttp.ClientSession, path: str, headers: dict[str, str], status: int
) -> None:
    """Without a key, with a wrong one or with that of another type; an API key needs no integration."""
    async with http.post(path, json=[alert(4)], headers={**headers, **NO_WAIT}) as answer:
        assert answer.status == status


async def test_an_empty_list_is_answered(http: aiohttp.ClientSession) -> None:
    """Nothing is stored of it, and it is no error."""
    async with http.post(API, json=[], headers={"Authorization": f"Bearer {KEY}", **NO_WAIT}) as answer:
        assert (answer.status, (await answer.json())["status"]) == (200, "ignored")
