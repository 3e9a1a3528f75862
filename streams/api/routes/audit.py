"""Who changed what, and who was refused."""

import csv
import io
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import AwareDatetime, BaseModel, Field

from streams.api.caller import Caller, CallerOf
from streams.api.parts import Parts, PartsOf
from streams.api.problems import ProblemError, Wrong
from streams.api.times import Time, iso
from streams.history.times import milliseconds

router = APIRouter()

_EXPORTED = 50_000
#: What a spreadsheet would take for the beginning of a formula.
#: https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_COLUMNS = ("at", "actor", "action", "kind", "id", "outcome", "before", "after", "address")
_SQL = """
SELECT at, toString(audit_id) AS place, actor, action, kind, id, outcome, before, after, address
FROM audit
WHERE tenant = {tenant:String}
  AND (empty({actors:Array(String)}) OR has({actors:Array(String)}, actor))
  AND (empty({actions:Array(String)}) OR has({actions:Array(String)}, action))
  AND (empty({kinds:Array(String)}) OR has({kinds:Array(String)}, kind))
  AND ({q:String} = '' OR positionCaseInsensitiveUTF8(concat(actor, ' ', id, ' ', before, ' ', after), {q:String}) > 0)
  AND at >= {since:DateTime64(3, 'UTC')} AND at < {until:DateTime64(3, 'UTC')}
  AND ({after:String} = '' OR (at, audit_id) <
    (fromUnixTimestamp64Milli({after_ms:Int64}, 'UTC'), toUUIDOrZero({after:String})))
ORDER BY at DESC, audit_id DESC
LIMIT {limit:UInt32}
"""
_FIRST, _LAST = "1970-01-01 00:00:00.000", "2200-01-01 00:00:00.000"


class AuditEntry(BaseModel):
    """One action. `outcome` is `done`, or why not; `before` and `after` have the fields that differ, secrets masked."""

    at: Time
    actor: str
    action: str
    kind: str
    id: str
    outcome: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    address: str


class AuditEntries(BaseModel):
    """A page, the newest first; `next` is the next one's `after`."""

    items: list[AuditEntry]
    next: str | None


class Filter(BaseModel):
    """Which entries: of any of the actors, actions and kinds (with commas), with a text, in a time."""

    actor: str = ""
    action: str = ""
    kind: str = ""
    q: str = ""
    since: AwareDatetime | None = Field(default=None, alias="from")
    until: AwareDatetime | None = Field(default=None, alias="to")


@router.get("/audit")
async def list_audit(
    parts: PartsOf,
    caller: CallerOf,
    wanted: Annotated[Filter, Query()],
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    after: str = "",
) -> AuditEntries:
    """The tenant's audit."""
    rows = await _rows(parts, caller, wanted, limit + 1, after)
    page = rows[:limit]
    items = [
        AuditEntry(
            **{name: row[name] for name in _COLUMNS if name not in ("at", "before", "after")},
            at=row["at"],
            before=orjson.loads(row["before"]) if row["before"] else None,
            after=orjson.loads(row["after"]) if row["after"] else None,
        )
        for row in page
    ]
    more = len(rows) > limit
    return AuditEntries(items=items, next=_place(page[-1]) if more else None)


@router.get(
    "/audit.csv",
    response_class=Response,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
async def export_audit(parts: PartsOf, caller: CallerOf, wanted: Annotated[Filter, Query()]) -> Response:
    """The same as a table for spreadsheets, at most 50,000 entries. No cell can be taken for a formula."""
    rows = await _rows(parts, caller, wanted, _EXPORTED, "")
    text = as_csv([_COLUMNS, *([iso(row["at"]), *(row[name] for name in _COLUMNS[1:])] for row in rows)])
    return Response(text, media_type="text/csv", headers={"Content-Disposition": 'attachment; filename="audit.csv"'})


def as_csv(rows: Iterable[Iterable[str]]) -> str:
    """The rows as CSV (RFC 4180). A quotation mark stands before what a spreadsheet would take for a formula."""
    written = io.StringIO()
    writer = csv.writer(written)
    for row in rows:
        writer.writerow([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in row])
    return written.getvalue()


async def _rows(parts: Parts, caller: Caller, wanted: Filter, limit: int, after: str) -> list[dict[str, Any]]:
    after_ms, _, after_id = after.partition("~")
    if after and not (after_ms.isdecimal() and len(after_ms) <= 15 and len(after_id) == 36):
        raise ProblemError(422, "the request is not valid", [Wrong("after", "is not the `next` of a page")])
    return await parts.query(
        _SQL,
        {
            "tenant": caller.tenant,
            "actors": _words(wanted.actor),
            "actions": _words(wanted.action),
            "kinds": _words(wanted.kind),
            "q": wanted.q,
            "since": _sql_time(wanted.since, _FIRST),
            "until": _sql_time(wanted.until, _LAST),
            "after": after_id,
            "after_ms": int(after_ms or 0),
            "limit": limit,
        },
    )


def _place(row: dict[str, Any]) -> str:
    return f"{milliseconds(row['at'])}~{row['place']}"


def _words(text: str) -> list[str]:
    return [word for part in text.split(",") if (word := part.strip())]


def _sql_time(time: datetime | None, missing: str) -> str:
    return iso(time)[:-1].replace("T", " ") if time else missing
