"""The list of incidents, one of them, and commands: what is asked, answered, refused, and waited for."""

import re
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from schemas.wire.alert import Severity
from schemas.wire.command import CommandAction, CommandEnd, CommandResult
from schemas.wire.incident import Status
from sinks.clickhouse.client import ClickHouseError
from streams.api.app import PREFIX, application
from streams.api.routes import commands
from streams.history import queries
from tests.api.conftest import MakeClient, parts
from tests.api.reading import NOW, incident, reading, records
from tests.api.worker import Worker

ONE, TWO, OTHER = (str(UUID(int=number)) for number in (1, 2, 9))
ROUTES = sorted(
    (method.upper(), path.removeprefix(PREFIX))
    for path, methods in application(parts()).openapi()["paths"].items()
    if "{incident_id}" in path
    for method in methods
)


async def test_a_page_has_what_a_list_needs(client: MakeClient, tmp_path: Path) -> None:
    """The incidents in order of priority, where the next page begins, counts, and the time of the answer."""
    made = [incident(number, severity=Severity(number), labels={"env": "prod"}) for number in (1, 2, 3)]
    made.append(incident(4, status=Status.ACKNOWLEDGED, acknowledged_at=NOW + 9_000, acknowledged_by="viewer"))
    async with reading(tmp_path, *made) as model:
        api = await client(parts(model=model), "viewer")
        first = (await api.get("/incidents", params={"limit": 3})).json()
        assert [item["severity"] for item in first["items"]] == ["error", "warning", "info"]
        assert first["items"][0] == {
            "id": "00000000-0000-0000-0000-000000000003",
            "version": 1,
            "status": "open",
            "severity": "error",
            "urgency": "high",
            "service": "web",
            "title": "disk 3 is full",
            "dedup_key": "disk/3",
            "source": "",
            "opened_at": "2026-11-18T11:06:43.000Z",
            "updated_at": "2026-11-18T11:06:43.000Z",
            "acknowledged_at": None,
            "acknowledged_by": None,
            "resolved_at": None,
            "alert_count": 1,
            "member_count": 1,
            "group": {"env": "prod"},
        }
        assert (first["total"], first["as_of"]) == (4, "2026-11-18T11:06:40.000Z")
        assert first["facets"]["status"] == {"open": 3, "acknowledged": 1}
        rest = (await api.get("/incidents", params={"limit": 3, "after": first["next"]})).json()
        assert [(item["status"], item["acknowledged_by"]) for item in rest["items"]] == [("acknowledged", "viewer")]
        assert (rest["next"], rest["items"][0]["updated_at"]) == (None, "2026-11-18T11:06:49.000Z")
        mine = (await api.get("/incidents", params={"mine": "true"})).json()
        assert (mine["items"], mine["total"]) == (rest["items"], 1)
        some = (await api.get("/incidents?severity=info,error&severity=warning&status=open&order=-opened_at")).json()
        assert [item["title"] for item in some["items"]] == ["disk 3 is full", "disk 2 is full", "disk 1 is full"]
        assert (await api.get("/incidents", params={"q": "disk 2"})).json()["total"] == 1


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("status=gone", "status.0"),
        ("status=open,gone", "status.1"),
        ("severity=Critical", "severity.0"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=many", "limit"),
        ("order=title", "order"),
        ("mine=perhaps", "mine"),
        ("q=" + "x" * 201, "q"),
        ("service=" + "x" * 201, "service.0"),
        ("service=" + ",".join(["x"] * 101), "service"),
        ("after=x", "after"),
        ("after=o-1.1", "after"),
        ("after=p1", "after"),
        ("order=-opened_at&after=p1.1", "after"),
        ("after=" + "p1." + "1" * 50, "after"),
        ("stauts=open", "stauts"),
    ],
)
async def test_a_wrong_parameter_is_named(client: MakeClient, tmp_path: Path, query: str, path: str) -> None:
    """422, with the path; nothing of it is ignored."""
    async with reading(tmp_path) as model:
        answer = await (await client(parts(model=model), "viewer")).get(f"/incidents?{query}")
        assert (answer.status_code, [error["path"] for error in answer.json()["errors"]]) == (422, [path])


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=lambda value: value)
async def test_an_incident_of_another_tenant_is_not_there(
    client: MakeClient, tmp_path: Path, method: str, path: str
) -> None:
    """404, as for an id that nobody has; an id that is none is refused."""
    async with reading(tmp_path, incident(1), incident(9, tenant="acme")) as model:
        made = parts(model=model)
        api = await client(made, "owner")
        body = {"json": {"action": "resolve"}} if method == "POST" else {}
        for unknown in (OTHER, str(UUID(int=77))):
            answer = await api.request(method, path.replace("{incident_id}", unknown), **body)
            assert (answer.status_code, answer.json()["detail"]) == (404, "there is no such incident")
        answer = await api.request(method, path.replace("{incident_id}", "1 OR 1"), **body)
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "incident_id")
        assert made.commands.commands == []  # type: ignore[attr-defined]


async def test_another_tenant_is_not_listed_nor_commanded(client: MakeClient, tmp_path: Path) -> None:
    """Its incidents are in no page, no count and no search; a command for several leaves them out."""
    async with reading(tmp_path, incident(1), incident(9, tenant="acme", service="secret")) as model:
        made = parts(model=model)
        api = await client(made, "owner")
        for query in ("", "?q=disk", "?service=secret", "?mine=true&q=disk"):
            answer = await api.get(f"/incidents{query}")
            assert OTHER not in answer.text
            assert "secret" not in str(answer.json()["facets"])
        model.feed(records(incident(1, version=2)))
        answer = await api.post("/incidents/commands", json={"ids": [ONE, OTHER], "action": "acknowledge"})
        assert [item["end"] for item in answer.json()["items"]] == ["done", "not_found"]
        assert [each.incident_id for each in made.commands.commands] == [UUID(ONE).bytes]  # type: ignore[attr-defined]
        answer = await api.post(f"/incidents/{ONE}/commands", json={"action": "merge", "into": OTHER})
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "into")


async def test_an_incident_is_shown_without_history(client: MakeClient, tmp_path: Path) -> None:
    """While ClickHouse is away people see what they act on; what is unknown is null, not empty."""

    async def away(*_: object) -> list[dict[str, Any]]:
        raise ClickHouseError("no", None, "TimeoutError")

    async with reading(tmp_path, incident(1)) as model:
        api = await client(parts(model=model, query=away), "viewer")
        shown = (await api.get(f"/incidents/{ONE}")).json()
        assert (shown["title"], shown["told"], shown["children"]) == ("disk 1 is full", None, None)
        answer = await api.get(f"/incidents/{ONE}/timeline")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


async def test_an_answer_waits_until_the_list_shows_it(client: MakeClient, tmp_path: Path) -> None:
    """What is read next has it; the command says who acts, and the audit too."""
    async with reading(tmp_path, incident(1)) as model:
        worker = Worker(model, 0.05)
        made = parts(model=model, commands=worker)
        api = await client(made, "member")
        answer = await api.post(f"/incidents/{ONE}/commands", json={"action": "acknowledge", "note": "on it"})
        assert (answer.status_code, answer.json()) == (200, {"end": "done", "version": 2, "status": "acknowledged"})
        (shown,) = (await api.get("/incidents")).json()["items"]
        assert (shown["version"], shown["acknowledged_by"]) == (2, "member")
        (command,) = worker.commands
        assert (command.action, command.actor, command.note) == (CommandAction.ACKNOWLEDGE, "member", "on it")
        assert command.correlation_key == incident(1).correlation_key
        (entry,) = made.memory.audit
        assert (entry.action, entry.kind, entry.id, entry.outcome) == ("commanded", "incident", ONE, "done")
        assert not model._waiting


async def test_an_answer_that_is_late_is_pending(
    client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """202 if no worker answers in time, and if the list does not show it in time; nobody waits on."""
    monkeypatch.setattr(commands, "SHOWN_S", 0.05)
    async with reading(tmp_path, incident(1)) as model:
        for worker in (Worker(model, -1), Worker(model, result=CommandResult(end=CommandEnd.PENDING))):
            api = await client(parts(model=model, commands=worker), "member")
            answer = await api.post(f"/incidents/{ONE}/commands", json={"action": "resolve"})
            assert (answer.status_code, answer.json()["end"]) == (202, "pending")
            answer = await api.post("/incidents/commands", json={"ids": [ONE], "action": "resolve"})
            assert (answer.status_code, answer.json()["items"][0]["end"]) == (202, "pending")
        assert not model._waiting


async def test_several_incidents_at_once(client: MakeClient, tmp_path: Path) -> None:
    """One answer for each id, in order; what was done before is said."""
    async with reading(tmp_path, *(incident(number) for number in range(1, 151))) as model:
        worker = Worker(model, 0.01)
        api = await client(parts(model=model, commands=worker), "member")
        ids = [str(UUID(int=number)) for number in range(150, 0, -1)]
        answer = await api.post("/incidents/commands", json={"ids": [*ids, ids[0]], "action": "acknowledge"})
        assert (answer.status_code, [item["id"] for item in answer.json()["items"]]) == (200, ids)
        assert {(item["end"], item["version"]) for item in answer.json()["items"]} == {("done", 2)}
        assert (await api.get("/incidents", params={"status": "acknowledged"})).json()["total"] == 150
        worker._result = CommandResult(end=CommandEnd.ALREADY, version=2, status="acknowledged")
        answer = await api.post("/incidents/commands", json={"ids": ids[:1], "action": "acknowledge"})
        assert answer.json()["items"] == [{"id": ids[0], "end": "already", "version": 2, "status": "acknowledged"}]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"action": "explode"}, "action"),
        ({"action": "note"}, "note"),
        ({"action": "note", "note": " \n"}, "note"),
        ({"action": "note", "note": "x" * 2_001}, "note"),
        ({"action": "merge"}, "into"),
        ({"action": "merge", "into": "x"}, "into"),
        ({"action": "resolve", "into": TWO}, "into"),
        ({"action": "merge", "into": str(UUID(int=77))}, "into"),
        ({"action": "split"}, "keys"),
        ({"action": "split", "keys": ["nobody"]}, "keys.0"),
        ({"action": "acknowledge", "keys": ["a"]}, "keys"),
        ({"action": "split", "keys": ["a"] * 1_001}, "keys"),
        ({"action": "resolve", "actor": "root"}, "actor"),
    ],
    ids=str,
)
async def test_a_wrong_command_is_refused(client: MakeClient, tmp_path: Path, body: dict[str, Any], path: str) -> None:
    """The field is named, and nothing is sent."""
    async with reading(tmp_path, incident(1), incident(2)) as model:
        made = parts(model=model)
        answer = await (await client(made, "member")).post(f"/incidents/{ONE}/commands", json=body)
        assert (answer.status_code, answer.json()["errors"][0]["path"].split(".")[-2:]) == (
            422,
            path.split(".")[-2:],
        ), answer.text
        assert made.commands.commands == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"ids": [], "action": "resolve"}, "ids"),
        ({"ids": [ONE] * 501, "action": "resolve"}, "ids"),
        ({"ids": ["x"], "action": "resolve"}, "ids.0"),
        ({"ids": [ONE], "action": "merge"}, "action"),
        ({"ids": [ONE], "action": "note"}, "note"),
    ],
    ids=str,
)
async def test_a_wrong_command_for_several_is_refused(
    client: MakeClient, tmp_path: Path, body: dict[str, Any], path: str
) -> None:
    """The field is named."""
    async with reading(tmp_path, incident(1)) as model:
        answer = await (await client(parts(model=model), "member")).post("/incidents/commands", json=body)
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, path)


async def test_merge_and_split_name_the_others(client: MakeClient, tmp_path: Path) -> None:
    """A merge has the id and key of the other incident, a split the fingerprints of the alerts."""
    rows = {queries.FINGERPRINTS: [{"dedup_key": "a", "fingerprint": UUID(int=5)}]}
    done = CommandResult(end=CommandEnd.NOT_FOUND, version=3, status="open")
    async with reading(tmp_path, incident(1), incident(2)) as model:
        worker = Worker(model, result=done)
        api = await client(parts(model=model, commands=worker, rows=rows), "member")
        answer = await api.post(f"/incidents/{ONE}/commands", json={"action": "merge", "into": TWO})
        assert answer.json() == {"end": "not_found", "version": 3, "status": "open"}
        await api.post(f"/incidents/{ONE}/commands", json={"action": "split", "keys": ["a"], "note": "the other"})
        merge, split = worker.commands
        assert (merge.other_id, merge.other_key) == (UUID(TWO).bytes, incident(2).correlation_key)
        assert (split.members, split.note) == ((UUID(int=5).bytes,), "the other")


async def test_a_damaged_file_is_said_and_made_again(client: MakeClient, tmp_path: Path) -> None:
    """503 for now; the follower is told."""
    async with reading(tmp_path, *(incident(number) for number in range(1, 500))) as model:
        model.store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        content = bytearray(model.store.path.read_bytes())
        content[100:] = b"\xff" * (len(content) - 100)
        model.store.path.write_bytes(content)
        answer = await (await client(parts(model=model), "viewer")).get("/incidents")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert model._follower._damaged


def test_every_part_of_an_incident_is_there() -> None:
    """The routes of the plan."""
    found = {re.sub(r"^/incidents/\{incident_id\}/?", "", path) for _, path in ROUTES}
    assert found == {
        "", "timeline", "alerts", "deliveries", "changes", "similar", "activity", "explain", "commands",
    }  # fmt: skip
