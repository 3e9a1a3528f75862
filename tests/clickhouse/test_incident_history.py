"""What the API answers from history of one incident, on rows that came through the writer's way."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from msgspec import structs

from schemas.topics import ALERTS_HISTORY, CHANGES, INCIDENTS, INCIDENTS_EVENTS, NOTIFICATIONS_RESULTS
from schemas.wire.alert import Action
from schemas.wire.codec import encode
from schemas.wire.incident import IncidentEvent, Status
from schemas.wire.notification import Outcome
from schemas.wire.rows import AlertOutcome, uuid_column
from sinks.clickhouse.batches import form
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.tables import TABLES
from streams.api.app import application
from tests.api.conftest import parts
from tests.api.reading import Fed, reading
from tests.clickhouse.samples import (
    NOW,
    UUID,
    Record,
    alert_row,
    change,
    delivery,
    history,
    incident,
    incident_event,
)

DAY = 86_400_000
LINKS = '[{"href":"https://wiki/disk","text":"runbook"}]'


def named(number: int) -> bytes:
    """An id."""
    return number.to_bytes(16, "big")


def event(version: int, kind: str, **changes: Any) -> IncidentEvent:
    """A line of the timeline."""
    return structs.replace(incident_event(version), kind=kind, **changes)


async def write(client: ClickHouse, topic: str, *values: Any) -> None:
    """Write as the writer does."""
    records = [Record(topic, encode(value), n) for n, value in enumerate(values)]
    await client.insert(form(TABLES[topic], "", records, {}))


@pytest.fixture
async def model(tmp_path: Path) -> AsyncIterator[Fed]:
    """A read model that has nothing: every incident is found in history."""
    async with reading(tmp_path) as made:
        yield made


@pytest.fixture
async def api(clickhouse: ClickHouse, model: Fed) -> AsyncIterator[httpx2.AsyncClient]:
    """A viewer of the tenant `default`."""
    transport = httpx2.ASGITransport(app=application(parts(query=clickhouse.query, model=model)))
    headers = {"X-Caller": "default/viewer"}
    base = "http://stormweir/api/v1/incidents"
    async with httpx2.AsyncClient(transport=transport, base_url=base, headers=headers) as client:
        yield client


async def read(api: httpx2.AsyncClient, path: str, **params: Any) -> Any:
    """What is answered about the incident."""
    answer = await api.get(f"/{UUID}{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_an_incident_that_the_model_has_not(clickhouse: ClickHouse, api: httpx2.AsyncClient) -> None:
    """With who acknowledged it, who was told or why not, its parent and children, links, and what fires on."""
    await write(clickhouse, INCIDENTS.name, incident(version=3, status=Status.ACKNOWLEDGED, acknowledged_at=NOW + 2))
    await write(
        clickhouse,
        INCIDENTS_EVENTS.name,
        event(1, "triggered"),
        event(2, "acknowledged", actor="cli:ada", note="on it"),
        event(4, "merged", incident_id=named(7), note=f"into {UUID}: same switch"),
        event(4, "merged", incident_id=named(8), note="into another"),
        event(4, "merged", incident_id=named(9), note=f"into {UUID}", tenant="another"),
    )
    skipped = structs.replace(
        delivery(0, f"cause/{_text(3)}"), destination="chat", outcome=Outcome.SUPPRESSED, channel="", http_status=0
    )
    caused = structs.replace(skipped, incident_id=named(6), error=f"cause/{UUID}")
    await write(clickhouse, NOTIFICATIONS_RESULTS.name, delivery(1, "unavailable"), delivery(2), skipped)
    stormed = structs.replace(skipped, incident_id=named(5), error=f"storm/{UUID}", notification_id=named(2))
    await write(clickhouse, NOTIFICATIONS_RESULTS.name, structs.replace(caused, notification_id=named(1)), stormed)
    rows = [
        alert_row(0, links=LINKS, incident_id=uuid_column(UUID.bytes), fingerprint=uuid_column(named(1))),
        alert_row(1, links=LINKS, incident_id=uuid_column(UUID.bytes), fingerprint=uuid_column(named(2))),
        alert_row(
            2, received_at=NOW + 9, action=Action.RESOLVE, outcome=AlertOutcome.RESOLVED,
            incident_id=uuid_column(UUID.bytes), fingerprint=uuid_column(named(2)),
        ),
    ]  # fmt: skip
    await clickhouse.insert(form(TABLES[ALERTS_HISTORY.name], "", [history(0, list(enumerate(rows)))], {}))
    shown = await read(api, "")
    assert (shown["status"], shown["acknowledged_by"], shown["open_alerts"]) == ("acknowledged", "cli:ada", 1)
    assert shown["links"] == [{"href": "https://wiki/disk", "text": "runbook"}]
    assert (shown["parent"], shown["children"]) == (_text(3), [_text(5), _text(6), _text(7)])
    assert {each["destination"]: (each["outcome"], each["reason"]) for each in shown["told"]} == {
        "chat": ("suppressed", f"cause/{_text(3)}"),
        "ops": ("delivered", None),
    }
    assert shown["reasons"] == [f"the incident {_text(3)}, which is open, is its cause"]
    assert (await api.get(f"/{_text(77)}")).status_code == 404


async def test_the_timeline_in_sentences(clickhouse: ClickHouse, api: httpx2.AsyncClient) -> None:
    """Events have a version and an actor, attempts a destination and a reason; each has a text, and explain too."""
    await write(clickhouse, INCIDENTS.name, incident())
    await write(clickhouse, INCIDENTS_EVENTS.name, event(1, "triggered"), event(2, "note", actor="ada", note="<b>"))
    await write(clickhouse, NOTIFICATIONS_RESULTS.name, delivery(1, "unavailable"))
    items = (await read(api, "/timeline"))["items"]
    assert [(each["version"], each["actor"], each["destination"]) for each in items] == [
        (1, "stream", None),
        (2, "ada", None),
        (None, None, "ops"),
    ]
    assert items[1]["text"] == "ada noted something: <b>"
    assert (items[2]["outcome"], items[2]["attempt"], items[2]["http_status"]) == ("retry", 1, 503)
    assert items[2]["reason"] == "unavailable"
    assert items[2]["text"].startswith("Attempt 1 to tell ops that it opened failed, it is tried again")
    explained = (await read(api, "/explain"))["items"]
    assert [each["text"] for each in explained][-1] == "Nobody was told."
    assert explained[0]["at"].endswith("Z")
    (attempt,) = (await read(api, "/deliveries"))["items"]
    assert (attempt["destination"], attempt["error"], attempt["id"]) == ("ops", "unavailable", str(UUID))
    assert attempt["means"]


async def test_alerts_come_in_pages(clickhouse: ClickHouse, api: httpx2.AsyncClient) -> None:
    """In order of time and id, each once; those of other incidents and tenants are not there."""
    await write(clickhouse, INCIDENTS.name, incident())
    rows = [
        alert_row(
            n, received_at=NOW + n // 3, event_id=uuid_column(named(100 - n)), incident_id=uuid_column(UUID.bytes),
            summary=f"disk {n}", labels={"env": "prod"}, links=LINKS if n == 0 else "",
        )
        for n in range(10)
    ]  # fmt: skip
    rows += [alert_row(10, incident_id=uuid_column(bytes(16))), alert_row(11, tenant="another")]
    await clickhouse.insert(form(TABLES[ALERTS_HISTORY.name], "", [history(0, list(enumerate(rows)))], {}))
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        page = await read(api, "/alerts", limit=4, after=after)
        found += page["items"]
        if page["next"] is None:
            break
        after = page["next"]
    assert sorted(each["summary"] for each in found) == [f"disk {n}" for n in range(10)]
    places = [(each["received_at"], each["event_id"]) for each in found]
    assert places == sorted(places)
    (linked,) = [each for each in found if each["links"]]
    assert (linked["labels"], linked["links"][0]["href"]) == ({"env": "prod"}, "https://wiki/disk")
    for wrong in ("x", "1", "1.x", "99999999999999999." + str(UUID)):
        answer = await api.get(f"/{UUID}/alerts", params={"after": wrong})
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "after")


async def test_activity_counts_folded_repeats(clickhouse: ClickHouse, api: httpx2.AsyncClient) -> None:
    """All triggers of its keys in each minute, until it was resolved."""
    until = NOW + 150_000
    await write(clickhouse, INCIDENTS.name, incident(status=Status.RESOLVED, resolved_at=until))
    key, other = uuid_column(named(1)), uuid_column(named(2))
    rows = [alert_row(0, incident_id=uuid_column(UUID.bytes), fingerprint=key)]
    repeat = {"incident_id": uuid_column(bytes(16)), "outcome": AlertOutcome.DEDUPLICATED}
    times = (1, 2, 60_001, 120_000, 150_001)
    rows += [alert_row(n, received_at=NOW + at, fingerprint=key, **repeat) for n, at in enumerate(times, 1)]
    rows.append(alert_row(9, fingerprint=other, **repeat))
    await clickhouse.insert(form(TABLES[ALERTS_HISTORY.name], "", [history(0, list(enumerate(rows)))], {}))
    items = (await read(api, "/activity"))["items"]
    assert sum(each["alerts"] for each in items) == 5
    assert [each["at"] for each in items] == sorted(each["at"] for each in items)
    assert all(each["at"].endswith(":00.000Z") for each in items)


async def test_what_was_changed_before(clickhouse: ClickHouse, api: httpx2.AsyncClient) -> None:
    """In so many hours."""
    await write(clickhouse, INCIDENTS.name, incident())
    await write(
        clickhouse,
        CHANGES.name,
        change(links=[{"href": "https://ci/1"}]),
        change(at=NOW - 30 * 3_600_000, summary="old"),
    )
    (item,) = (await read(api, "/changes"))["items"]
    assert (item["summary"], item["seconds_before"]) == ("payments 4.7.1 went live", 60)
    assert item["links"] == [{"href": "https://ci/1", "text": ""}]
    assert len((await read(api, "/changes", hours=48))["items"]) == 2
    answer = await api.get(f"/{UUID}/changes", params={"hours": 0})
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "hours")


async def test_similar_incidents(clickhouse: ClickHouse, api: httpx2.AsyncClient) -> None:
    """The same key first, then the same text but for numbers, then a similar one; with a person's last note."""
    await write(clickhouse, INCIDENTS.name, incident(title="Disk 7 of db-1 is 91 % full", dedup_key="disk/7"))
    past = {"status": Status.RESOLVED, "resolved_at": NOW - DAY + 60_000, "opened_at": NOW - DAY}
    titles = ["Disk 3 of db-2 is 95 % full", "Disk 4 of db-1 is 99 % full now", "The coffee machine is empty"]
    others = [incident(incident_id=named(n), title=title, dedup_key="x", **past) for n, title in enumerate(titles, 1)]
    others += [
        incident(incident_id=named(4), title="renamed", dedup_key="disk/7", **past),
        incident(incident_id=named(5), dedup_key="disk/7", **{**past, "opened_at": NOW - 100 * DAY}),
        incident(incident_id=named(6), dedup_key="disk/7", service="cart", **past),
        incident(incident_id=named(7), dedup_key="disk/7", tenant="another", **past),
    ]
    await write(clickhouse, INCIDENTS.name, *others)
    noted = {"incident_id": named(4), "at": NOW - DAY + 1}
    await write(
        clickhouse,
        INCIDENTS_EVENTS.name,
        event(2, "note", actor="ada", note="restarted", **noted),
        event(3, "resolved", actor="ada", note="grew the disk", **noted),
        event(4, "joined", note="by itself", **noted),
    )
    items = (await read(api, "/similar"))["items"]
    assert [(each["id"], each["why"], each["note"]) for each in items] == [
        (_text(4), "the same alert", "grew the disk"),
        (_text(1), "the same text but for numbers", None),
        (_text(2), "a similar text", None),
    ]
    assert items[0]["resolved_at"] is not None


def _text(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012x}"
