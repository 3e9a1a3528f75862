"""On-call, silences, rehearsals, history, services, deliveries and what could not be used, over HTTP."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiokafka.errors import KafkaConnectionError

from schemas.control import Heartbeat, Rule, Schedule, Service, User
from schemas.wire.alert import RawEvent
from schemas.wire.audit import AuditRecord
from schemas.wire.codec import encode
from schemas.wire.incident import Status
from sinks.channels import CHANNELS
from sinks.clickhouse.client import ClickHouseError
from streams.api.audit import Audit
from streams.api.routes import deliveries, rejections
from streams.api.routes.history import QUESTIONS
from streams.delivery import letters
from streams.delivery.letters import Found, Place
from streams.history import queries
from streams.process.kafka import Kafka
from tests.api.conftest import Client, MakeClient, parts
from tests.api.people import browsing, inhabited, person
from tests.api.reading import incident, reading

HOOK = CHANNELS["webhook"].settings.model_validate({"id": "hook", "type": "webhook", "url": "https://example.com/x"})
SCHEDULE = Schedule.model_validate(
    {
        "id": "ops",
        "zone": "UTC",
        "layers": [{"users": ["ada", "grace"], "start": "2026-11-23", "handover": "08:00"}],
    }
)
AT = datetime(2026, 11, 26, 12, tzinfo=UTC)
INCIDENT: dict[str, Any] = {
    "incident_id": UUID(int=7),
    "version": 1,
    "status": "open",
    "severity": "error",
    "service": "web",
    "title": "disk",
    "dedup_key": "disk",
    "correlation_key": UUID(int=8),
    "opened_at": AT,
    "acknowledged_at": AT,
    "resolved_at": AT,
    "last_alert_at": AT,
    "alert_count": 1,
    "repeat_count": 0,
    "member_count": 1,
    "labels": {},
    "source": "",
}


async def test_a_silence_is_previewed(client: MakeClient, tmp_path: Path) -> None:
    """What it hides now and a day, and a warning if it may hide everything; a wrong line is named."""
    opened = [
        incident(7),
        incident(8, service="db"),
        incident(9, status=Status.RESOLVED),
        incident(10, tenant="other"),
        *(incident(number, service="many") for number in range(100, 750)),
    ]
    now = datetime.now(UTC) - timedelta(days=1)
    rows = {queries.INCIDENTS_SINCE: [INCIDENT | {"status": "resolved", "opened_at": now}] * 60}
    async with reading(tmp_path, *opened) as model:
        member = await client(parts(rows=rows, model=model), "member")
        found = (await member.post("/silences/preview", json={"match": ['service="web"']})).json()
        shown = found["hides_now"][0]
        many = (await member.post("/silences/preview", json={"match": ['service="many"']})).json()
        await _broad_and_wrong(member)
    assert (found["total"], found["hidden_a_day"], found["days"], found["warnings"]) == (1, 2.0, 30.0, [])
    assert (shown["id"], shown["status"], shown["severity"]) == (str(UUID(int=7)), "open", "error")
    assert found["sentence"] == "hides this open incident and about 2.0 a day (of the last 30 days)"
    assert (many["total"], len(many["hides_now"])) == (650, 100)


async def test_a_silence_is_previewed_without_history(client: MakeClient, tmp_path: Path) -> None:
    """What it hides now does not depend on ClickHouse; how many a day is told as not known."""

    async def away(*_: object) -> list[dict[str, Any]]:
        raise ClickHouseError("away", None, "away")

    async with reading(tmp_path, incident(7)) as model:
        member = await client(parts(query=away, model=model), "member")
        answer = await member.post("/silences/preview", json={"match": ['service="web"']})
    found = answer.json()
    assert (answer.status_code, found["total"], found["hidden_a_day"], found["days"]) == (200, 1, None, None)
    assert found["sentence"] == "hides this open incident; how many a day is not known, as history does not answer"


async def _broad_and_wrong(member: Client) -> None:
    broad = (await member.post("/silences/preview", json={"match": ['severity="error"']})).json()
    assert broad["warnings"][0]["path"] == "match"
    wrong = await member.post("/silences/preview", json={"match": ['service="web"', "==="]})
    assert (wrong.status_code, wrong.json()["errors"][0]["path"]) == (422, "match.1")


async def test_who_is_on_call(client: MakeClient) -> None:
    """Now and next, the shifts, and a calendar; of another tenant 404."""
    made = parts(
        User.model_validate({"id": "ada", "name": "Ada", "destinations": [{"destination": "hook"}]}),
        User.model_validate({"id": "grace", "name": "Grace", "destinations": [{"destination": "hook"}]}),
        HOOK,
        SCHEDULE,
    )
    viewer = await client(made, "viewer")
    (now,) = (await viewer.get("/oncall?at=2026-11-26T12:00:00Z")).json()["items"]
    assert (now["users"], now["until"]) == ([{"id": "ada", "name": "Ada"}], "2026-11-30T08:00:00.000Z")
    assert (now["next"]["user"]["id"], now["next"]["starts_at"]) == ("grace", "2026-11-30T08:00:00.000Z")
    shifts = await viewer.get("/schedules/ops/shifts?from=2026-11-26T12:00:00Z&to=2026-12-01T12:00:00Z")
    assert [turn["user"]["id"] for turn in shifts.json()["items"]] == ["ada", "grace"]
    ics = await viewer.get("/schedules/ops.ics")
    assert (ics.headers["content-type"], "SUMMARY" in ics.text) == ("text/calendar; charset=utf-8", True)
    wrong = await viewer.get("/schedules/ops/shifts?from=2026-11-26T12:00:00Z&to=2020-01-01T00:00:00Z")
    assert (wrong.status_code, wrong.json()["errors"][0]["path"]) == (422, "to")
    other = await client(made, "viewer", "other")
    for path in ("/schedules/ops/shifts", "/schedules/ops.ics"):
        assert (await other.get(path)).status_code == 404
    assert (await other.get("/oncall")).json()["items"] == []


async def test_a_calendar_program_follows_one_schedule() -> None:
    """By an address alone, which opens nothing else, can be revoked, and is not in the audit."""
    made = inhabited(
        person("ada", "member"), person("bob", "owner", "other"), SCHEDULE, SCHEDULE.model_copy(update={"id": "db"})
    )
    async with browsing(made, "ada") as ada, browsing(made) as calendar, browsing(made, "bob") as bob:
        wanted = {"name": "phone", "feed": "ops"}
        begun = (await ada("POST", "/tokens", wanted)).json()
        path = f"/calendars/{begun['token']}.ics"
        read = await calendar("GET", path)
        assert (read.status_code, read.headers["content-type"]) == (200, "text/calendar; charset=utf-8")
        assert "X-WR-CALNAME:ops" in read.text
        bearer = {"authorization": f"Bearer {begun['token']}"}
        assert (await calendar("GET", "/oncall", **bearer)).status_code == 401
        plain = (await ada("POST", "/tokens", {"name": "deploy"})).json()["token"]
        for wrong in (plain, "swc_x"):
            assert (await calendar("GET", f"/calendars/{wrong}.ics")).status_code == 404
        assert (await ada("POST", "/tokens", {**wanted, "feed": "gone"})).status_code == 422
        assert (await ada("POST", "/tokens", {**wanted, "role": "member"})).status_code == 422
        assert (await bob("POST", "/tokens", wanted)).status_code == 422
        assert (await bob("DELETE", f"/tokens/{begun['id']}")).status_code == 404
        listed = (await ada("GET", "/tokens")).json()["items"]
        assert [each["last_used_at"] is not None for each in listed if each["feed"] == "ops"] == [True]
        assert (await ada("DELETE", f"/tokens/{begun['id']}")).status_code == 204
        assert (await calendar("GET", path)).status_code == 404
    noted = [entry for entry in made.memory.audit if entry.kind == "token" and entry.id == begun["id"]]
    assert [entry.action for entry in noted] == ["created", "deleted"]
    assert begun["token"] not in str(made.memory.audit)


async def test_an_alert_is_routed_on_paper(client: MakeClient) -> None:
    """By today's configuration, or with a file applied to it; problems of either are named."""
    made = parts(HOOK, Service(id="web"), Rule(id="page", match=('service="web"',), route=("hook",)))
    viewer = await client(made, "viewer")
    alert = {"service": "web", "severity": "error"}
    told = (await viewer.post("/route-test", json={"alert": alert})).json()
    assert (told["outcome"], told["rules"]) == ("opened", ["page"])
    assert (told["steps"][0]["destination"], told["steps"][0]["reason"]) == ("hook", "")
    hush = "rules: [{id: page, match: ['service=\"web\"'], suppress: true}]"
    assert (await viewer.post("/route-test", json={"alert": alert, "configuration": hush})).json()["steps"] == []
    assert made.control.rules["default", "page"].route == ("hook",)
    wrong = await viewer.post("/route-test", json={"alert": alert, "configuration": "rules: [{id: page, colour: 1}]"})
    assert (wrong.status_code, wrong.json()["errors"][0]["path"]) == (422, "configuration.rules.0.colour")
    wrong = await viewer.post("/route-test", json={"alert": {"service": 7}})
    assert (wrong.status_code, wrong.json()["errors"][0]["path"]) == (422, "alert")


async def test_a_replay_is_a_job(client: MakeClient) -> None:
    """Without Kafka it fails and says so; a second one beside it is refused; another tenant knows nothing of it."""
    made = parts()
    member = await client(made, "member")
    wanted = {"from": "2026-11-26T10:00:00Z", "to": "2026-11-26T11:00:00Z"}
    begun = await member.post("/replays", json=wanted)
    assert (begun.status_code, begun.json()["state"]) == (202, "running")
    assert (await member.post("/replays", json=wanted)).status_code == 409
    path = f"/replays/{begun.json()['id']}"
    assert (await (await client(made, "owner", "other")).get(path)).status_code == 404
    async with asyncio.timeout(60):
        while (found := (await member.get(path)).json())["state"] == "running":  # noqa: ASYNC110 - it is polled
            await asyncio.sleep(0.1)
    assert (found["state"], "Kafka" in found["error"]) == ("failed", True)
    assert [item["id"] for item in (await member.get("/replays")).json()["items"]] == [begun.json()["id"]]
    assert (await member.delete(path)).status_code == 204
    noted = [(entry.actor, entry.action, entry.kind, entry.outcome) for entry in made.memory.audit]
    assert noted == [("member", "started", "replay", "done"), ("member", "deleted", "replay", "done")]
    assert (await member.get(path)).status_code == 404
    wrong = await member.post("/replays", json={**wanted, "to": "2026-11-26T09:00:00Z"})
    assert (wrong.status_code, wrong.json()["errors"][0]["path"]) == (422, "to")


async def test_a_replay_is_on_record_before_it_begins(client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """No process runs while the audit is written; without the audit's record there is no replay."""
    course: list[str] = []

    async def run(*_: object, **__: object) -> None:
        course.append("process")
        raise OSError("no process")

    async def keep(entry: AuditRecord) -> None:
        await asyncio.sleep(0)
        course.append(entry.action)

    async def fail(_: AuditRecord) -> None:
        raise KafkaConnectionError("away")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", run)
    made = parts()
    member = await client(made, "member")
    wanted = {"from": "2026-11-26T10:00:00Z", "to": "2026-11-26T11:00:00Z"}
    made.audit = Audit(fail, made.now)
    assert (await member.post("/replays", json=wanted)).status_code == 503
    assert (await member.get("/replays")).json()["items"] == []
    made.audit = Audit(keep, made.now)
    assert (await member.post("/replays", json=wanted)).status_code == 202
    (job,) = made.replays.of("default")
    assert job.task is not None
    await asyncio.wait([job.task])
    assert course == ["started", "process"]


async def test_a_replay_that_cannot_begin_has_failed(client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody expected ends the job, so that the next replay can run."""

    async def refuse(*_: object, **__: object) -> None:
        raise OSError("no process")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)
    made = parts()
    member = await client(made, "member")
    wanted = {"from": "2026-11-26T10:00:00Z", "to": "2026-11-26T11:00:00Z"}
    for _ in range(2):
        begun = await member.post("/replays", json=wanted)
        assert begun.status_code == 202
        (job,) = (each for each in made.replays.of("default") if each.id == begun.json()["id"])
        assert job.task is not None
        await asyncio.wait([job.task])
        found = (await member.get(f"/replays/{job.id}")).json()
        assert (found["state"], found["error"]) == ("failed", "the replay could not be run: OSError")


@pytest.mark.parametrize("name", QUESTIONS)
async def test_each_question_is_asked_about_the_callers_tenant(client: MakeClient, name: str) -> None:
    """With the parameters that its query has."""
    asked: list[dict[str, object]] = []

    async def query(sql: str, params: Any) -> list[dict[str, Any]]:
        asked.append(params)
        assert set(params) == set(re.findall(r"\{(\w+):", sql))
        return [{"service": "web", "hour": AT, "count": 3}]

    viewer = await client(parts(query=query), "viewer", "mine")
    answer = (await viewer.get(f"/queries/{name}")).json()
    assert (answer["columns"], answer["rows"]) == (
        ["service", "hour", "count"],
        [["web", "2026-11-26T12:00:00.000Z", 3]],
    )
    assert asked[0]["tenant"] == "mine"
    assert (await viewer.get("/queries/none")).status_code == 404


async def test_alerts_have_pages(client: MakeClient) -> None:
    """`next` is the place of the last one shown; what is no such place is refused."""
    names = ("provider", "integration", "service", "action", "outcome", "dedup_key", "summary", "source", "rule")
    row = {
        **dict.fromkeys(names, "s"),
        "severity": "error",
        "labels": {},
        "received_at": AT,
        "incident_id": UUID(int=0),
    }
    rows = [{**row, "event_id": UUID(int=9 - number)} for number in range(3)]
    viewer = await client(parts(rows={queries.ALERTS_PAGE: rows}), "viewer")
    page = (await viewer.get("/alerts?limit=2")).json()
    assert [item["incident_id"] for item in page["items"]] == [None, None]
    assert page["next"] == f"{int(AT.timestamp() * 1000)}:{UUID(int=8)}"
    assert (await viewer.get(f"/alerts?limit=2&after={page['next']}")).status_code == 200
    wrong = await viewer.get("/alerts?after=yesterday")
    assert (wrong.status_code, wrong.json()["errors"][0]["path"]) == (422, "after")


async def test_insights_sum_the_hours(client: MakeClient) -> None:
    """Noise is what opened nothing."""
    volumes = [
        {"hour": AT, "alerts": 90, "incidents": 5, "pages": 7},
        {"hour": AT, "alerts": 10, "incidents": 5, "pages": 0},
    ]
    viewer = await client(parts(rows={queries.VOLUMES: volumes}), "viewer")
    found = (await viewer.get("/insights")).json()
    assert (found["alerts"], found["incidents"], found["pages"], found["noise_ratio"]) == (100, 10, 7, 0.9)


async def test_services_are_a_map(client: MakeClient) -> None:
    """Declared ones and those with open incidents; heartbeats with their state."""
    beat = Heartbeat(id="cron", service="web", every=60, key="c" * 32)
    made = parts(
        Service(id="web", depends_on=("db",)), Service(id="db"), beat,
        rows={
            queries.OPEN_BY_SERVICE: [{"service": "api", "severity": "error", "count": 2}],
            queries.MISSING_HEARTBEATS: [{"service": "web", "dedup_key": "heartbeat/cron", "opened_at": AT}],
        },
    )  # fmt: skip
    viewer = await client(made, "viewer")
    found = {item["id"]: item for item in (await viewer.get("/topology")).json()["items"]}
    assert (found["web"]["depends_on"], found["api"]["open"], found["db"]["open"]) == (["db"], {"error": 2}, {})
    answer = await viewer.get("/heartbeats")
    assert answer.json()["items"][0]["state"] == "missing"
    assert "c" * 32 not in answer.text
    assert (await (await client(made, "viewer", "other")).get("/heartbeats")).json()["items"] == []


def _letter(tenant: str, offset: int) -> Found:
    letter = letters.DeadLetter("normalize", "bad", "no", "alerts.raw", 0, 1, 1, b"k", encode(_raw(tenant)))
    return Found(Place(0, offset), int(AT.timestamp() * 1000), letter)


def _raw(tenant: str) -> Any:
    values: dict[str, Any] = {}
    for field in RawEvent.__struct_fields__:
        kind = str(RawEvent.__annotations__[field])
        values[field] = tenant if field == "tenant" else b"" if "bytes" in kind else 0 if "int" in kind else ""
    return RawEvent(**{**values, **({"headers": {}} if "headers" in values else {})})


async def test_dead_letters_are_the_tenants_own(client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen, put back by id, and of another tenant 404; nothing goes without a choice."""
    everything = [_letter("default", 1), _letter("other", 2)]
    put: list[Any] = []

    async def collect(kafka: Kafka, wanted: letters.Wanted, *, most: int | None = None) -> list[Found]:
        return [each for each in everything if wanted(each)]

    async def replay(kafka: Kafka, planned: Any) -> None:
        put.extend(planned.letters)

    monkeypatch.setattr(letters, "collect", collect)
    monkeypatch.setattr(deliveries, "replay", replay)
    made = parts()
    admin = await client(made)
    assert [item["id"] for item in (await admin.get("/deadletters")).json()["items"]] == ["0/1"]
    assert (await admin.post("/deadletters/replay", json={})).status_code == 422
    assert (await admin.post("/deadletters/replay", json={"ids": ["0/2"]})).status_code == 404
    assert (await admin.post("/deadletters/replay", json={"ids": ["x"]})).status_code == 422
    done = await admin.post("/deadletters/replay", json={"ids": ["0/1"]})
    assert (done.json()["topics"], len(put)) == ({"alerts.raw": 1}, 1)
    assert made.memory.audit[-1].action == "replayed"


async def test_kept_bodies_of_others_are_not_there(client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown id is 404, and none at all 422."""

    async def kept(kafka: Kafka) -> list[Any]:
        return []

    monkeypatch.setattr(rejections, "kept", kept)
    admin = await client(parts())
    assert (await admin.get("/rejections")).json() == {"items": []}
    assert (await admin.post("/rejections/replay", json={"ids": ["x"]})).status_code == 404
    assert (await admin.post("/rejections/replay", json={"ids": []})).status_code == 422


async def test_sending_again_is_in_the_audit(client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """With how many; a dry run is not."""

    async def collect(kafka: Kafka, wanted: letters.Wanted, *, most: int | None = None) -> list[Found]:
        return []

    async def redeliver(*_: object) -> int:
        return 3

    async def replay(kafka: Kafka, planned: Any) -> None:
        return None

    monkeypatch.setattr(letters, "collect", collect)
    monkeypatch.setattr(deliveries, "redeliver", redeliver)
    monkeypatch.setattr(deliveries, "replay", replay)
    made = parts(HOOK)
    admin = await client(made)
    for more in ({}, {"failed_only": True, "dry_run": True}, {"failed_only": True}):
        answer = await admin.post("/deliveries/redeliver", json={"destination": "hook", **more})
        assert answer.status_code == 200
    assert [(entry.actor, entry.action, entry.id, entry.after) for entry in made.memory.audit] == [
        ("admin", "redelivered", "hook", '{"count": 3, "failed_only": false}'),
        ("admin", "redelivered", "hook", '{"count": 0, "failed_only": true}'),
    ]


async def test_an_unknown_destination_is_not_redelivered(client: MakeClient) -> None:
    """422 names the field; also of another tenant's."""
    made = parts(HOOK)
    for tenant, name in (("default", "none"), ("other", "hook")):
        answer = await (await client(made, "owner", tenant)).post("/deliveries/redeliver", json={"destination": name})
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "destination")
