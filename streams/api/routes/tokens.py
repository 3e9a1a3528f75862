"""Tokens, with which programs call the API."""

from typing import Any

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, Field

from schemas.control import Account, RoleName, Schedule, Token, control_key
from streams.api.caller import Caller, CallerOf
from streams.api.parts import Parts, PartsOf
from streams.api.problems import ProblemError
from streams.api.roles import Role
from streams.api.times import Time, moment, moment_or_none
from streams.control import accounts
from streams.control.edits import FieldError
from streams.control.state import Control
from streams.control.write import Change

router = APIRouter()


class TokenShown(BaseModel):
    """A token. `prefix` are its first characters; `created_by` is the id of the account that it acts for.

    `feed` is the schedule whose calendar is all that it reads, empty for a token of the API.
    """

    id: str
    name: str
    role: RoleName
    feed: str
    prefix: str
    created_by: str
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None


class MadeToken(TokenShown):
    """A new token, which is shown this once."""

    token: str


class Tokens(BaseModel):
    """All of them, the newest first."""

    items: list[TokenShown]
    next: None = None


class NewToken(BaseModel):
    """What the token may do, and until when; without an end it works until it is deleted.

    With `feed`, a schedule's id, it is for `/calendars/<token>.ics` only, which calendar programs subscribe to.
    """

    name: str = Field(min_length=1, max_length=100)
    role: RoleName = "viewer"
    feed: str = Field(default="", max_length=200)
    expires_at: AwareDatetime | None = None


@router.get("/tokens")
async def list_tokens(parts: PartsOf, caller: CallerOf) -> Tokens:
    """The caller's own tokens, for an admin all of the tenant's."""
    found = [token for token in parts.control.tokens.values() if _theirs(caller, token)]
    found.sort(key=lambda token: (token.created_at, token.id), reverse=True)
    return Tokens(items=[TokenShown(**_shown(parts, token)) for token in found])


@router.post("/tokens", status_code=201)
async def create_token(parts: PartsOf, caller: CallerOf, wanted: NewToken) -> MadeToken:
    """Make a token that acts for the caller."""
    if caller.session is None:
        raise ProblemError(403, "a token cannot make tokens: log in")
    if Role.of(wanted.role) > caller.role:
        raise FieldError("role", f"is above the caller's own, {caller.role.text}")
    if wanted.feed and (caller.tenant, wanted.feed) not in parts.control.every(Schedule):
        raise FieldError("feed", "there is no such schedule")
    if wanted.feed and wanted.role != "viewer":
        raise FieldError("role", "is viewer for a feed, which is only read")
    now = moment(parts.now())

    def plan(control: Control) -> tuple[accounts.Made, Change]:
        account = control.every(Account).get((caller.tenant, caller.account))
        if account is None:
            raise ProblemError(401, "the account is gone")
        made = accounts.new_token(account, wanted.model_dump(), now)
        return made, Change([made.record])

    made = await parts.transact(plan, caller.by)
    assert isinstance(made.record, Token)
    return MadeToken(**_shown(parts, made.record), token=made.token)


@router.delete("/tokens/{token_id}", status_code=204)
async def delete_token(parts: PartsOf, caller: CallerOf, token_id: str) -> None:
    """Delete a token: requests with it are answered 401 from then on."""

    def plan(control: Control) -> tuple[None, Change]:
        found = control.records.get(f"token/{token_id}")
        if not isinstance(found, Token) or not _theirs(caller, found):
            raise ProblemError(404, "there is no such token")
        return None, Change(deletes=[control_key(found)])

    await parts.transact(plan, caller.by)


def _theirs(caller: Caller, token: Token) -> bool:
    return token.tenant == caller.tenant and (caller.role >= Role.ADMIN or token.created_by == caller.account)


def _shown(parts: Parts, token: Token) -> dict[str, Any]:
    shown = token.model_dump(exclude={"tenant", "sha256"})
    return {**shown, "last_used_at": moment_or_none(parts.sessions.seen_at(token.id))}
