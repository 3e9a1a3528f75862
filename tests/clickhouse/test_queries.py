"""The named queries answer what their names say, on rows that came through the writer's way."""

import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec import structs
from pydantic import BaseModel

from schemas.topics import ALERTS_HISTORY, CHANGES, INCIDENTS, INCIDENTS_EVENTS, NOTIFICATIONS_RESULTS, REJECTIONS
from schemas.wire.alert import Action
from schemas.wire.codec import encode
from schemas.wire.incident import Status
from schemas.wire.notification import Outcome, Transition
from schemas.wire.rows import AlertOutcome, AlertRow, uuid_column
from sinks.clickhouse.batches import form
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.tables import TABLES
from streams.api.rows import shown
from streams.api.tables import AlertShown, AttemptShown, DestinationPages, HourShown, NoisyAlert, ServiceResponse
from streams.cli.deliveries import read_attempts
from streams.history import queries
from streams.history.incidents import incident_of
from streams.process.errors import OperatorError
from tests.clickhouse.conftest import Server
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
    rejection,
)


async def write(client: ClickHouse, topic: str, values: list[Any]) -> None:
    records = [Record(topic, encode(value), n) for n, value in enumerate(values)]
    await client.insert(form(TABLES[topic], "", records, {}))


async def write_alerts(client: ClickHouse, rows: list[AlertRow]) -> None:
    await client.insert(form(TABLES[ALERTS_HISTORY.name], "", [history(0, list(enumerate(rows)))], {}))


async def test_conservation_shows_doubles_and_holes(clickhouse: ClickHouse) -> None:
    """Per place: rows, distinct places, first and last; a double and a hole are both visible."""
    places = [(0, 0), (0, 1), (1, 0), (1, 0), (4, 0)]
    await write_alerts(clickhouse, [alert_row(offset, index) for offset, index in places])
    assert await clickhouse.query(queries.CONSERVATION, {"since": NOW}) == [
        {
            "kafka_topic": "alerts.raw",
            "kafka_partition": 3,
            "count": 5,
            "distinct": 4,
            "first": 0,
            "last": 4,
            "offsets": 3,
        }
    ]
    assert await clickhouse.query(queries.CONSERVATION, {"since": NOW + 1}) == []


async def test_noise(clickhouse: ClickHouse) -> None:
    """Noisiest keys with their newest summary, and the share of triggers that opened nothing. Of a service whose every
    alert opened an incident and was acknowledged and resolved that share is 0, and its key is not noisier for it.
    """
    repeat = AlertOutcome.DEDUPLICATED
    other = uuid_column(UUID.bytes[::-1])
    rows = [
        alert_row(0),
        alert_row(1, outcome=repeat, summary="newest", received_at=NOW + 9),
        alert_row(2, outcome=repeat),
        alert_row(3, outcome=repeat),
        alert_row(4, service="cart", fingerprint=other),
        alert_row(5, tenant="another"),
        *(
            alert_row(6 + n, service="cart", fingerprint=other, action=action, outcome=outcome, received_at=NOW + 20)
            for n, (action, outcome) in enumerate(
                [(Action.ACKNOWLEDGE, AlertOutcome.ACKNOWLEDGED)] * 3 + [(Action.RESOLVE, AlertOutcome.RESOLVED)] * 3
            )
        ),
        alert_row(20, action=Action.RESOLVE, outcome=AlertOutcome.RESOLVED, summary="over", received_at=NOW + 30),
        alert_row(21, service="quiet", action=Action.RESOLVE, outcome=AlertOutcome.UNMATCHED),
    ]
    await write_alerts(clickhouse, rows)
    scope = {"tenant": "default", "since": 0}
    noisiest = await clickhouse.query(queries.NOISIEST, {**scope, "limit": 1})
    assert [(row["fingerprint"], row["summary"], row["count"]) for row in noisiest] == [(UUID, "newest", 4)]
    assert await clickhouse.query(queries.NOISE_REDUCTION, scope) == [
        {"service": "payments", "alerts": 4, "opened": 1, "reduction": 0.75},
        {"service": "cart", "alerts": 1, "opened": 1, "reduction": 0.0},
    ]
    assert await clickhouse.query(queries.OUTCOMES, {"since": 0}) == [
        {"outcome": "acknowledged", "count": 3},
        {"outcome": "deduplicated", "count": 3},
        {"outcome": "opened", "count": 3},
        {"outcome": "resolved", "count": 4},
        {"outcome": "unmatched", "count": 1},
    ]


async def test_open_incidents_are_the_newest_versions(clickhouse: ClickHouse) -> None:
    """The highest version counts, in whatever order versions come; resolved ones are not open."""
    other = bytes(15) + b"\1"
    states = [
        incident(version=2, status=Status.ACKNOWLEDGED, title="second"),
        incident(version=1, title="first"),
        incident(incident_id=other, version=1),
        incident(incident_id=other, version=5, status=Status.RESOLVED, resolved_at=NOW),
    ]
    await write(clickhouse, INCIDENTS.name, states)
    rows = await clickhouse.query(queries.OPEN_INCIDENTS, {"tenant": "default", "limit": 10})
    assert [(row["incident_id"], row["status"], row["title"]) for row in rows] == [(UUID, "acknowledged", "second")]
    assert await clickhouse.query(queries.OPEN_INCIDENTS, {"tenant": "none", "limit": 10}) == []


async def test_incidents_since_are_the_open_ones_and_the_new_ones(clickhouse: ClickHouse) -> None:
    """What is open comes first, however old it is; of what is resolved only what opened since."""
    day = 86_400_000
    resolved = {"status": Status.RESOLVED, "resolved_at": NOW}
    states = [
        incident(incident_id=bytes(15) + b"\1", opened_at=NOW - 40 * day),
        incident(incident_id=bytes(15) + b"\2", opened_at=NOW - 2 * day, **resolved),
        incident(incident_id=bytes(15) + b"\3", opened_at=NOW - day, **resolved),
        incident(incident_id=bytes(15) + b"\4", opened_at=NOW - 40 * day, **resolved),
        incident(incident_id=bytes(15) + b"\5", tenant="another"),
    ]
    await write(clickhouse, INCIDENTS.name, states)
    params = {"tenant": "default", "since": NOW - 30 * day, "limit": 10}
    rows = await clickhouse.query(queries.INCIDENTS_SINCE, params)
    assert [row["incident_id"].int for row in rows] == [1, 3, 2]
    assert [incident_of({**row, "tenant": "default"}) for row in rows] == [states[0], states[2], states[1]]
    assert len(await clickhouse.query(queries.INCIDENTS_SINCE, params | {"limit": 2})) == 2


async def test_timeline_is_in_order_and_once(clickhouse: ClickHouse) -> None:
    """Events come by version, the deliveries among them by time, and what was written twice comes once. A delivery that
    was not made has its reason.
    """
    late = structs.replace(incident_event(3, "late"), at=NOW - 60_000)
    events = [late, incident_event(2, "b"), incident_event(1, "a"), incident_event(2, "b")]
    await write(clickhouse, INCIDENTS_EVENTS.name, events)
    skip = structs.replace(
        delivery(1, "superseded"), notification_id=bytes(16), outcome=Outcome.SUPPRESSED, http_status=0
    )
    elsewhere = structs.replace(delivery(7), incident_id=bytes(16))
    await write(clickhouse, NOTIFICATIONS_RESULTS.name, [delivery(1, "unavailable"), delivery(2), skip, elsewhere])
    rows = await clickhouse.query(queries.TIMELINE, {"tenant": "default", "incident_id": str(UUID)})
    assert [(row["version"], row["note"]) for row in rows[:3]] == [(1, "a"), (2, "b"), (3, "late")]
    assert {row["actor"] for row in rows[:3]} == {"stream"}
    told = sorted((row["outcome"], row["attempt"], row["http_status"], row["note"]) for row in rows[3:])
    assert told == [("delivered", 2, 200, ""), ("retry", 1, 503, "unavailable"), ("suppressed", 1, 0, "superseded")]
    assert {(row["kind"], row["destination"], row["version"]) for row in rows[3:]} == {("triggered", "ops", 0)}
    assert await clickhouse.query(queries.TIMELINE, {"tenant": "another", "incident_id": str(UUID)}) == []


async def test_incidents_are_found_by_the_beginning_of_their_id(clickhouse: ClickHouse) -> None:
    """In any state, the newest version, of the tenant alone; what would be SQL or a pattern is text."""
    sibling = UUID.bytes[:4] + bytes(12)
    states = [incident(version=1), incident(version=2, status=Status.RESOLVED), incident(incident_id=sibling)]
    await write(clickhouse, INCIDENTS.name, [*states, incident(incident_id=bytes(16), tenant="another")])

    async def found(prefix: str, tenant: str = "default") -> list[tuple[object, object]]:
        scope = {"tenant": tenant, "prefix": prefix, "limit": 10}
        rows = await clickhouse.query(queries.INCIDENTS_BY_ID, scope)
        return [(row["incident_id"].bytes, row["version"]) for row in rows]

    assert await found(str(UUID)[:13]) == [(UUID.bytes, 2)]
    assert sorted(await found(str(UUID)[:8])) == sorted([(UUID.bytes, 2), (sibling, 1)])
    assert await found("0198", "another") == []
    for hostile in ("%", "_", "' OR 1=1 --", "{tenant:String}", "\\"):
        assert await found(hostile) == []
    newest = await clickhouse.query(queries.NEWEST_INCIDENTS, {"tenant": "default", "limit": 10})
    assert {(row["incident_id"].bytes, row["status"]) for row in newest} == {
        (UUID.bytes, "resolved"),
        (sibling, "open"),
    }


async def test_keys_have_fingerprints(clickhouse: ClickHouse) -> None:
    """Each once, of triggers of the tenant; quotes in a key are text."""
    other = uuid_column(UUID.bytes[::-1])
    rows = [
        alert_row(0, dedup_key="it's"),
        alert_row(1, dedup_key="it's"),
        alert_row(2, dedup_key="b", fingerprint=other),
        alert_row(3, dedup_key="c", action=Action.RESOLVE),
        alert_row(4, dedup_key="it's", tenant="another", fingerprint=other),
    ]
    await write_alerts(clickhouse, rows)
    found = await clickhouse.query(queries.FINGERPRINTS, {"tenant": "default", "keys": ["it's", "c"], "limit": 10})
    assert found == [{"fingerprint": UUID, "dedup_key": "it's"}]


async def test_who_was_told_and_who_was_not(clickhouse: ClickHouse) -> None:
    """Contract C123: every attempt and every skip of an incident with its reason, in order; not those of another."""
    skip = structs.replace(
        delivery(0, "quiet_hours"),
        notification_id=UUID.bytes[::-1],
        destination="chat",
        channel="",
        outcome=Outcome.SUPPRESSED,
        finished_at=NOW + 1,
    )
    other = structs.replace(skip, notification_id=bytes(16), incident_id=bytes(16))
    rows = [delivery(2), delivery(1, "http_503"), skip, skip, other]
    await write(clickhouse, NOTIFICATIONS_RESULTS.name, rows)
    found = await clickhouse.query(queries.TIMELINE, {"tenant": "default", "incident_id": str(UUID)})
    assert [(row["destination"], row["outcome"], row["attempt"], row["note"]) for row in found] == [
        ("chat", "suppressed", 0, "quiet_hours"),
        ("ops", "retry", 1, "http_503"),
        ("ops", "delivered", 2, ""),
    ]


async def test_changes_before_an_incident_are_those_of_its_service(clickhouse: ClickHouse) -> None:
    """Newest first, within the hours asked for; not those after it, of another service or of another tenant."""
    changes = [
        change(summary="an hour before", at=NOW - 3_600_000),
        change(summary="just before", at=NOW - 1_000, links=[{"href": "https://example.com/1", "text": "build"}]),
        change(summary="after", at=NOW + 1_000),
        change(summary="long before", at=NOW - 3 * 3_600_000),
        change(summary="elsewhere", service="cart"),
        change(summary="of another", tenant="another"),
    ]
    await write(clickhouse, CHANGES.name, changes)
    await write(clickhouse, INCIDENTS.name, [incident(version=1), incident(version=2)])
    scope = {"tenant": "default", "incident_id": str(UUID), "hours": 2}
    rows = await clickhouse.query(queries.CHANGES_BEFORE, scope)
    assert [(row["summary"], row["seconds_before"]) for row in rows] == [("just before", 1), ("an hour before", 3600)]
    assert rows[0]["links"] == '[{"href":"https://example.com/1","text":"build"}]'


async def test_why_the_requests_of_an_integration_were_refused(clickhouse: ClickHouse) -> None:
    """Each reason once with its count and times, the latest first; those of nobody under the empty name."""
    rejections = [
        rejection(at=NOW - 5_000),
        rejection(at=NOW - 1_000, count=2),
        rejection(at=NOW - 3_000, reason="bad_body", status=400, field="alerts", count=1),
        rejection(integration="", tenant="", reason="unauthorized"),
        rejection(at=NOW - 90_000, reason="disabled"),
    ]
    await write(clickhouse, REJECTIONS.name, rejections)
    scope = {"integration": "aaaaaa...", "since": NOW - 60_000}
    rows = await clickhouse.query(queries.REJECTED, scope)
    assert [(row["reason"], row["status"], row["field"], row["count"]) for row in rows] == [
        ("bad_signature", 401, "", 5),
        ("bad_body", 400, "alerts", 1),
    ]
    assert (rows[0]["last"] - rows[0]["first"]).total_seconds() == 4
    (nobody,) = await clickhouse.query(queries.REJECTED, {**scope, "integration": ""})
    assert (nobody["reason"], nobody["count"]) == ("unauthorized", 3)


async def test_traffic_of_integrations(clickhouse: ClickHouse) -> None:
    """C119: per integration what was stored, what was over its limit, and what was refused for another reason."""
    await write_alerts(clickhouse, [alert_row(0), alert_row(1), alert_row(2, integration="apikey/deploys")])
    limited = rejection(reason="rate_limited", status=429, count=7)
    await write(clickhouse, REJECTIONS.name, [limited, rejection(), rejection(tenant="another")])
    rows = await clickhouse.query(queries.INTEGRATION_TRAFFIC, {"tenant": "default", "since": 0})
    assert [tuple(row.values()) for row in rows] == [("aaaaaa...", 2, 7, 3), ("apikey/deploys", 1, 0, 0)]


async def test_attempts_are_chosen_and_the_latest_come_first(clickhouse: ClickHouse) -> None:
    """By tenant, destination, failure and time, each of which may be left open."""
    ends = [
        {"outcome": Outcome.RETRY, "error": "timeout", "finished_at": NOW + 1},
        {"outcome": Outcome.FAILED, "error": "timeout", "finished_at": NOW + 3},
        {"destination": "other", "outcome": Outcome.DELIVERED, "finished_at": NOW + 2},
        {"destination": "other", "outcome": Outcome.SUPPRESSED, "error": "digest", "finished_at": NOW + 4},
        {"tenant": "another", "outcome": Outcome.FAILED, "error": "gone", "finished_at": NOW + 5},
    ]
    rows = [
        structs.replace(delivery(number), **{"destination": "ops", "tenant": "default", **end})
        for number, end in enumerate(ends, 1)
    ]
    await write(clickhouse, NOTIFICATIONS_RESULTS.name, rows)
    everything = {"tenant": "", "destination": "", "failed": 0, "since": NOW, "limit": 10}

    async def attempts(**choice: Any) -> list[int]:
        return [row["attempt"] for row in await clickhouse.query(queries.ATTEMPTS, {**everything, **choice})]

    assert await attempts() == [5, 4, 2, 3, 1]
    assert await attempts(tenant="default") == [4, 2, 3, 1]
    assert await attempts(destination="ops") == [5, 2, 1]
    assert await attempts(failed=1) == [5, 2, 1]
    assert await attempts(since=NOW + 4) == [5, 4]
    assert await attempts(limit=1) == [5]
    assert await attempts(destination="' OR 1 = 1 --") == []


async def test_attempts_are_shown_as_text(server: Server, clickhouse: ClickHouse) -> None:
    """What `stormweir deliveries` prints: times with their zone, ids as text, and no time for what was never sent."""
    sent, never = delivery(1), structs.replace(delivery(2), sent_at=0, finished_at=NOW + 1)
    await write(clickhouse, NOTIFICATIONS_RESULTS.name, [structs.replace(sent, finished_at=NOW), never])
    settings = replace(server.settings, clickhouse_database=clickhouse._database)
    params = {"tenant": "", "destination": "", "failed": 0, "since": 0, "limit": 10}
    last, first = await read_attempts(settings, params)
    assert (last["attempt"], last["sent_at"]) == (2, None)
    assert first["finished_at"] == datetime.fromtimestamp(NOW / 1000, UTC).isoformat(timespec="milliseconds")
    assert first["notification_id"] == str(uuid.UUID(bytes=sent.notification_id))
    with pytest.raises(OperatorError, match="does not tell the attempts"):
        await read_attempts(replace(settings, clickhouse_database="gone"), params)


async def test_the_api_shows_every_column(clickhouse: ClickHouse) -> None:
    """What a query selects are the fields of its answer's rows, and each value is one of its field."""
    await write_alerts(clickhouse, [alert_row(0)])
    await write(clickhouse, INCIDENTS.name, [incident()])
    told = structs.replace(delivery(), tenant="default", outcome=Outcome.DELIVERED, transition=Transition.TRIGGERED)
    await write(clickhouse, NOTIFICATIONS_RESULTS.name, [told])
    scope = {"tenant": "default", "since": 0, "until": 2 * NOW, "limit": 10}
    chosen = {"before": 2 * NOW, "before_id": str(UUID), "service": "", "outcome": "", "text": ""}
    tables: list[tuple[str, type[BaseModel], dict[str, Any]]] = [
        (queries.ALERTS_PAGE, AlertShown, {**scope, **chosen}),
        (queries.ATTEMPTS, AttemptShown, {**scope, "destination": "", "failed": 0}),
        (queries.VOLUMES, HourShown, scope),
        (queries.NOISIEST, NoisyAlert, scope),
        (queries.RESPONSE, ServiceResponse, scope),
        (queries.PAGES_BY_DESTINATION, DestinationPages, scope),
    ]
    for sql, model, params in tables:
        row = (await clickhouse.query(sql, params))[0]
        assert set(row) == set(model.model_fields)
        assert json.loads(model(**shown(row)).model_dump_json()) == shown(row)
