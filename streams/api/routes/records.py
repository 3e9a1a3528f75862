"""Records of any kind: listed, shown, written by version, deleted. Secrets are shown as `***`, and kept if sent so."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Header, Query, Response
from pydantic import BaseModel

from schemas.control import AnyRecord, control_key
from streams.api.caller import Caller, CallerOf
from streams.api.parts import PartsOf
from streams.api.problems import ProblemError, Wrong
from streams.api.record_schemas import BODY
from streams.api.routes.kinds import writer
from streams.control import document
from streams.control.records import Planned, key_of, planned, records_of, removal, version_of
from streams.control.shown import masked_values
from streams.control.state import Control
from streams.control.write import Change

router = APIRouter()

IfMatch = Annotated[str | None, Header(description='The version that was seen, `"..."`.')]
IfNoneMatch = Annotated[str | None, Header(description="`*`: only if there is none yet.")]
DryRun = Annotated[bool, Query(description="Check and compare, change nothing.")]


class RecordShown(BaseModel):
    """A record. `version` goes into If-Match. What comes from the `environment` has no record on the topic yet."""

    id: str
    version: str
    source: Literal["topic", "environment"]
    record: dict[str, Any]


class RecordsShown(BaseModel):
    """A page; `next` is the `after` of the next one."""

    items: list[RecordShown]
    next: str | None


class Written(BaseModel):
    """What was written, or with `dry_run` would be: the differences in lines, and what should be thought about."""

    valid: Literal[True] = True
    dry_run: bool
    id: str
    version: str
    diff: list[str]
    warnings: list[Wrong]
    record: dict[str, Any]


class Deleted(BaseModel):
    """The records that are gone or changed, in lines."""

    diff: list[str]


@router.get("/records/{kind}")
async def list_records(
    parts: PartsOf,
    caller: CallerOf,
    kind: str,
    q: Annotated[str, Query(max_length=200, description="A part of its values.")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    after: Annotated[str, Query(max_length=200)] = "",
) -> RecordsShown:
    """The tenant's records of a kind by id."""
    _require_kind(kind, caller.tenant)
    shown = [_shown(parts.control, record) for record in records_of(parts.control, kind, caller.tenant).values()]
    part = q.lower()
    found = [each for each in shown if each.id > after and part in str(each.record).lower()]
    return RecordsShown(items=found[:limit], next=found[limit - 1].id if len(found) > limit else None)


@router.get("/records/{kind}/{name}")
async def show_record(parts: PartsOf, caller: CallerOf, kind: str, name: str, response: Response) -> RecordShown:
    """One record; its version is the ETag too."""
    shown = _shown(parts.control, _found(parts.control, caller, kind, name))
    response.headers["ETag"] = _tag(shown.version)
    return shown


@router.put(
    "/records/{kind}/{name}",
    openapi_extra={"requestBody": {"content": {"application/json": {"schema": BODY}}}},
)
async def write_record(
    parts: PartsOf,
    caller: CallerOf,
    kind: str,
    name: str,
    values: Annotated[dict[str, Any], Body(description="Its fields; what is left out has its default.")],
    response: Response,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
    dry_run: DryRun = False,
) -> Written:
    """Write a record as a whole, with If-Match of the version that was seen, or `If-None-Match: *` for a new one."""
    _require_writer(caller, kind, name)
    if not dry_run and if_match is None and if_none_match is None:
        raise ProblemError(428, 'send If-Match with the version that you saw, or "If-None-Match: *" for a new record')

    def plan(control: Control) -> tuple[tuple[Planned, list[str]], Change]:
        old = records_of(control, kind, caller.tenant).get(name)
        _require_version(old, if_match, if_none_match)
        made = planned(control, kind, caller.tenant, name, values)
        lines = document.plan({control_key(made.record): made.record}, control.records).lines
        return (made, lines), Change() if dry_run or not lines else Change([made.record])

    made, lines = await parts.transact(plan, caller.by)
    version = version_of(made.record)
    response.headers["ETag"] = _tag(version)
    warnings = [Wrong(path, text) for path, text in made.warnings]
    record = masked_values(made.record)
    return Written(dry_run=dry_run, id=name, version=version, diff=lines, warnings=warnings, record=record)


@router.delete("/records/{kind}/{name}")
async def delete_record(
    parts: PartsOf,
    caller: CallerOf,
    kind: str,
    name: str,
    confirm: Annotated[bool, Query(description="Needed: it cannot be undone.")] = False,
    if_match: IfMatch = None,
    dry_run: DryRun = False,
) -> Deleted:
    """Delete a record. A destination is taken out of those that name it; of other kinds none may be in use (409)."""
    _require_writer(caller, kind, name)
    if not (confirm or dry_run):
        raise ProblemError(400, "deleting cannot be undone", [Wrong("confirm", "say confirm=true")])

    def plan(control: Control) -> tuple[list[str], Change]:
        record = _found(control, caller, kind, name)
        _require_version(record, if_match, None)
        change = removal(control, record)
        changed = document.plan({control_key(each): each for each in change.records}, control.records)
        lines = [*changed.lines, *(f"- {key}" for key in change.deletes)]
        return lines, Change() if dry_run else change

    return Deleted(diff=await parts.transact(plan, caller.by))


def _require_kind(kind: str, tenant: str) -> None:
    try:
        key_of(kind, tenant, "")
    except KeyError:
        raise ProblemError(404, "there is no such kind of record") from None


def _require_writer(caller: Caller, kind: str, name: str) -> None:
    _require_kind(kind, caller.tenant)
    if caller.role < (least := writer(kind)):
        raise ProblemError(403, f"this needs the role {least.text}; {caller.actor} is {caller.role.text}")


def _found(control: Control, caller: Caller, kind: str, name: str) -> AnyRecord:
    _require_kind(kind, caller.tenant)
    found = records_of(control, kind, caller.tenant).get(name)
    if found is None:
        raise ProblemError(404, f"there is no such {kind}")
    return found


def _require_version(old: AnyRecord | None, if_match: str | None, if_none_match: str | None) -> None:
    if if_none_match is not None and old is not None:
        raise ProblemError(409, "there is one of this id already", [Wrong("id", "is taken")])
    if if_match is not None and (old is None or (if_match != "*" and if_match != _tag(version_of(old)))):
        raise ProblemError(409, "somebody else changed it since you saw it: look at it and send it again")


def _shown(control: Control, record: AnyRecord) -> RecordShown:
    source: Literal["topic", "environment"] = "topic" if control_key(record) in control.records else "environment"
    return RecordShown(id=record.id, version=version_of(record), source=source, record=masked_values(record))


def _tag(version: str) -> str:
    return f'"{version}"'
