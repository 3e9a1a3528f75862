"""People's commands on one incident, or on several. When one is answered, the list shows what it did."""

import asyncio
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from schemas.fingerprint import uuid7
from schemas.wire.command import MAX_ACTOR, MAX_MEMBERS, MAX_NOTE, Command, CommandAction, CommandEnd
from schemas.wire.incident import Incident
from streams.api.caller import Caller, CallerOf
from streams.api.found import IncidentOf, find_incident
from streams.api.incident import STATUSES, StatusName
from streams.api.parts import Parts, PartsOf
from streams.api.problems import ProblemError, Wrong
from streams.history.incidents import MembersError, members_of

router = APIRouter()

#: Seconds that an answer waits for the list to show what the command did.
SHOWN_S = 2.0
MAX_BULK = 500
#: Commands of one request that are under way at a time.
_TOGETHER = 64

Note = Annotated[str, Field(max_length=MAX_NOTE)]


class NewCommand(BaseModel):
    """`note` is a line for the timeline; of a split it is the title of the new incident.

    A merge makes the alerts of this incident those of the incident `into`; a split moves those with the dedup keys
    `keys` into a new incident.
    """

    model_config = ConfigDict(extra="forbid")

    action: CommandAction
    note: Note = ""
    into: UUID | None = None
    keys: Annotated[list[str], Field(max_length=MAX_MEMBERS)] = []


class BulkCommand(BaseModel):
    """The same command for several incidents."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[list[UUID], Field(min_length=1, max_length=MAX_BULK)]
    action: Literal[CommandAction.ACKNOWLEDGE, CommandAction.UNACKNOWLEDGE, CommandAction.RESOLVE, CommandAction.NOTE]
    note: Note = ""


class CommandAnswer(BaseModel):
    """`end` is `done`; `already` if somebody did the same before; `not_found` if the incident is not open (or, of a
    merge or a split, the other one, or the alerts); `pending` if it takes effect later, or is not shown yet.

    `version` and `status` are the incident's after it, null if they are not known.
    """

    end: CommandEnd
    version: int | None
    status: StatusName | None


class BulkItem(CommandAnswer):
    """How the command ended on one incident."""

    id: UUID


class BulkAnswer(BaseModel):
    """One for each id, in the same order."""

    items: list[BulkItem]
    next: None = None


@router.post("/incidents/{incident_id}/commands", responses={202: {"model": CommandAnswer}})
async def command_incident(
    parts: PartsOf, caller: CallerOf, incident: IncidentOf, wanted: NewCommand, response: Response
) -> CommandAnswer:
    """Tell Stormweir what to do with an incident. 202 if it takes effect later."""
    _check(wanted)
    other = members = None
    if wanted.into is not None:
        other = await find_incident(parts, caller.tenant, wanted.into)
        if other is None:
            raise _invalid("into", "there is no such incident")
    if wanted.keys:
        try:
            members = await members_of(parts.query, caller.tenant, wanted.keys)
        except MembersError as error:
            raise _invalid("keys" if error.index is None else f"keys.{error.index}", str(error)) from None
    command = _command(caller, incident, wanted.action, wanted.note, parts.now(), other, members or ())
    answer = await _submit(parts, caller, command)
    if answer.end == CommandEnd.PENDING:
        response.status_code = 202
    return answer


@router.post("/incidents/commands", responses={202: {"model": BulkAnswer}})
async def command_incidents(parts: PartsOf, caller: CallerOf, wanted: BulkCommand, response: Response) -> BulkAnswer:
    """Tell Stormweir to do the same with several incidents. 202 if it takes effect later on one of them."""
    if wanted.action == CommandAction.NOTE and not wanted.note.strip():
        raise _invalid("note", "is empty")
    gate = asyncio.Semaphore(_TOGETHER)

    async def one(incident_id: UUID) -> BulkItem:
        async with gate:
            incident = await find_incident(parts, caller.tenant, incident_id)
            if incident is None:
                return BulkItem(id=incident_id, end=CommandEnd.NOT_FOUND, version=None, status=None)
            command = _command(caller, incident, wanted.action, wanted.note, parts.now())
            answer = await _submit(parts, caller, command)
            return BulkItem(id=incident_id, **answer.model_dump())

    items = await asyncio.gather(*(one(each) for each in dict.fromkeys(wanted.ids)))
    if any(item.end == CommandEnd.PENDING for item in items):
        response.status_code = 202
    return BulkAnswer(items=items)


async def _submit(parts: Parts, caller: Caller, command: Command) -> CommandAnswer:
    result = await parts.commands.submit(command)
    identity = UUID(bytes=command.incident_id)
    after = {"command": str(command.action), "note": command.note, "version": result.version}
    await parts.audit.add(
        caller.tenant, caller.by, "commanded", "incident", str(identity), outcome=str(result.end), after=after
    )
    end = result.end
    if end == CommandEnd.DONE and not await parts.model.shows(
        caller.tenant, command.incident_id, result.version, SHOWN_S
    ):
        end = CommandEnd.PENDING
    status = result.status if result.status in STATUSES.values() else None
    return CommandAnswer.model_validate({"end": end, "version": result.version or None, "status": status})


def _command(
    caller: Caller,
    incident: Incident,
    action: CommandAction,
    note: str,
    now: int,
    other: Incident | None = None,
    members: tuple[bytes, ...] = (),
) -> Command:
    return Command(
        command_id=uuid7(),
        tenant=caller.tenant,
        incident_id=incident.incident_id,
        correlation_key=incident.correlation_key,
        action=action,
        actor=caller.actor[:MAX_ACTOR],
        at=now,
        note=note,
        other_id=other.incident_id if other is not None else bytes(16),
        other_key=other.correlation_key if other is not None else bytes(16),
        members=members,
    )


def _check(wanted: NewCommand) -> None:
    """Raise ProblemError for a field that is missing, or that the action does not have."""
    if wanted.action == CommandAction.NOTE and not wanted.note.strip():
        raise _invalid("note", "is empty")
    for field, action, given in (
        ("into", CommandAction.MERGE, wanted.into is not None),
        ("keys", CommandAction.SPLIT, bool(wanted.keys)),
    ):
        if given != (wanted.action == action):
            raise _invalid(field, f"is needed by `{action}`" if not given else f"is of `{action}` only")


def _invalid(path: str, message: str) -> ProblemError:
    return ProblemError(422, "the request is not valid", [Wrong(path, message)])
