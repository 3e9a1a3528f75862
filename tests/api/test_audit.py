"""The audit: what a change leaves in it, and how it is read."""

import csv
import io
from datetime import datetime
from typing import Any

import orjson
import pytest

from schemas.control import AnyRecord, Integration, Service, control_key, installation_of
from streams.api.routes.audit import _SQL, as_csv
from streams.control.audit import Actor, audit_of
from streams.control.kinds import validate
from streams.control.write import Change
from tests.api.people import browsing, inhabited, person

CANARY = "S3CRET-canary"
HOOK = validate("destination", {"id": "hook", "url": f"https://hooks.example.com/{CANARY}", "secret": CANARY})
BY = Actor("ada", "192.0.2.1")
ROW: dict[str, Any] = {
    "at": datetime(2026, 11, 26, 20, 0, 0, 1000),
    "place": "0193b0f2-0000-7000-8000-000000000001",
    "actor": "=cmd|' /C calc'!A0",
    "action": "changed",
    "kind": "service",
    "id": "shop",
    "outcome": "done",
    "before": '{"name": "a"}',
    "after": '{"name": "b"}',
    "address": "192.0.2.1",
}


def _entries(change: Change, *known: AnyRecord) -> list[tuple[str, str, str, Any, Any]]:
    found = [*audit_of(change, {control_key(record): record for record in known}, BY, 1)]
    assert {(entry.actor, entry.address, entry.outcome, entry.at) for entry in found} <= {(*BY, "done", 1)}
    return [
        (entry.action, entry.kind, entry.id, *(orjson.loads(text or "null") for text in (entry.before, entry.after)))
        for entry in found
    ]


def test_a_change_leaves_what_differs() -> None:
    """One entry for each record that is made, changed or deleted; none for one that stays as it is."""
    shop, same = Service(id="shop"), Service(id="same")
    change = Change([shop.model_copy(update={"name": "Shop"}), same, Service(id="new")], ["service/default/old"])
    changed, created, deleted = _entries(change, shop, same, Service(id="old"))
    assert changed == ("changed", "service", "shop", {"name": ""}, {"name": "Shop"})
    assert (created[:3], created[3], created[4]["id"]) == (("created", "service", "new"), None, "new")
    assert (deleted[:3], deleted[3]["id"], deleted[4]) == (("deleted", "service", "old"), "old", None)


def test_secrets_are_masked_and_a_changed_one_is_said_to_be_another() -> None:
    """Nothing of a secret is in the audit, nor the key of an integration."""
    other = HOOK.model_copy(update={"secret": f"{CANARY}-2"})
    sender = Integration(id="5f" * 16, name="n", type="webhook", service="shop", signature_secret=CANARY)
    found = _entries(Change([other, sender]), HOOK)
    assert found[0] == ("changed", "destination", "hook", {"secret": "***"}, {"secret": "*** (another one)"})
    assert found[1][2] == installation_of(sender.id)
    assert CANARY not in str(found)
    assert sender.id not in str(found)


def test_long_values_are_cut_and_unknown_records_are_named() -> None:
    """A lookup table is not copied into the audit; of a record that cannot be opened its key is told."""
    lookup = validate("lookup", {"id": "h", "key": "labels.h", "rows": {f"h{n}": {"rack": "r"} for n in range(500)}})
    ((*_, after),) = _entries(Change([lookup]))
    assert len(after["rows"]) < 3_000
    assert _entries(Change(deletes=["destination/acme/gone", "apikey/ci"])) == [
        ("deleted", "destination", "gone", None, None),
        ("deleted", "apikey", "ci", None, None),
    ]


async def test_a_page_is_read_with_its_filter() -> None:
    """The rows are the tenant's own; `next` is there if there is more, and no other text is taken for it."""
    asked: list[dict[str, Any]] = []
    made = inhabited(person("ada", "owner"))

    async def query(sql: str, params: Any) -> list[dict[str, Any]]:
        asked.append({"sql": sql, **params})
        return [ROW] * 2

    made.query = query
    async with browsing(made, "ada") as ada:
        path = "/audit?limit=1&kind=service,integration&actor=ada&q=%25x&from=2026-11-01T00:00:00%2B01:00"
        page = (await ada("GET", path)).json()
        assert page["items"] == [
            {name: value for name, value in ROW.items() if name != "place"}
            | {"at": "2026-11-26T20:00:00.001Z", "before": {"name": "a"}, "after": {"name": "b"}}
        ]
        assert page["next"] == f"1795723200001~{ROW['place']}"
        assert (asked[0]["sql"], asked[0]["tenant"], asked[0]["limit"]) == (_SQL, "default", 2)
        assert (asked[0]["kinds"], asked[0]["actors"]) == (["service", "integration"], ["ada"])
        assert (asked[0]["q"], asked[0]["since"]) == ("%x", "2026-10-31 23:00:00.000")
        assert (await ada("GET", f"/audit?after={page['next']}")).status_code == 200
        assert (asked[1]["after_ms"], asked[1]["after"]) == (1795723200001, ROW["place"])
        for wrong in ("x", "1~x", "~"):
            assert (await ada("GET", f"/audit?after={wrong}")).json()["errors"][0]["path"] == "after"


async def test_the_export_holds_no_formula() -> None:
    """A spreadsheet shows what an attacker named themselves, and computes nothing."""
    made = inhabited(person("ada", "owner"), rows={_SQL: [ROW]})
    async with browsing(made, "ada") as ada:
        answer = await ada("GET", "/audit.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    head, row = csv.reader(io.StringIO(answer.text))
    assert dict(zip(head, row, strict=True))["actor"] == "'=cmd|' /C calc'!A0"


@pytest.mark.parametrize("cell", ["=1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_no_cell_begins_as_a_formula(cell: str) -> None:
    """Each beginning that spreadsheets evaluate has a mark before it; a plain text stays as it is."""
    ((neutral, plain),) = csv.reader(io.StringIO(as_csv([(cell, "a=1")]), newline=""))
    assert (neutral, plain) == (f"'{cell}", "a=1")
