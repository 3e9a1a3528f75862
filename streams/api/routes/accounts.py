"""People who may log in. Only an owner may make, change or delete an owner."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from schemas.control import Account, RoleName
from streams.api.caller import Caller, CallerOf
from streams.api.identity.setup import link_of
from streams.api.parts import Parts, PartsOf
from streams.api.problems import ProblemError
from streams.api.roles import Role
from streams.api.times import Time, moment, moment_or_none
from streams.control import accounts
from streams.control.state import Control
from streams.control.write import Change

router = APIRouter()


class AccountShown(BaseModel):
    """An account. `invited_until` is when its invitation ends, if it has one that was not taken."""

    id: str
    login: str
    name: str
    role: RoleName
    enabled: bool
    created_at: Time
    last_seen_at: Time | None
    invited_until: Time | None


class InvitedAccount(AccountShown):
    """An account, and the link by which its person sets a password, once."""

    invitation_url: str


class Accounts(BaseModel):
    """All of the tenant's, by their logins."""

    items: list[AccountShown]
    next: None = None


class NewAccount(BaseModel):
    """Whom to invite."""

    login: str = Field(min_length=1, max_length=100)
    name: str = Field(default="", max_length=200)
    role: RoleName = "viewer"


class AccountChange(BaseModel):
    """What to change; what is left out stays."""

    name: str = Field(default="", max_length=200)
    role: RoleName = "viewer"
    enabled: bool = True


@router.get("/accounts")
async def list_accounts(parts: PartsOf, caller: CallerOf) -> Accounts:
    """The tenant's accounts."""
    found = accounts.accounts_of(parts.control, caller.tenant)
    return Accounts(items=[AccountShown(**_shown(parts, account)) for account in found])


@router.post("/accounts", status_code=201)
async def create_account(parts: PartsOf, caller: CallerOf, wanted: NewAccount) -> InvitedAccount:
    """Make an account and invite its person."""
    _require_role(caller, wanted.role)
    now = moment(parts.now())

    def plan(control: Control) -> tuple[accounts.Made, Change]:
        account = accounts.new_account(control, {**wanted.model_dump(), "tenant": caller.tenant}, now)
        made = accounts.invited(account, now)
        return made, Change([made.record])

    return _invited(parts, await parts.transact(plan, caller.by))


@router.patch("/accounts/{account_id}")
async def change_account(parts: PartsOf, caller: CallerOf, account_id: str, wanted: AccountChange) -> AccountShown:
    """Change an account. One that is disabled loses its sessions, and its tokens do not work."""
    values = wanted.model_dump(exclude_unset=True)
    _require_role(caller, values.get("role", "viewer"))

    def plan(control: Control) -> tuple[Account, Change]:
        changed = accounts.changed_account(control, _found(control, caller, account_id), values)
        return changed, Change([changed])

    changed = await parts.transact(plan, caller.by)
    if not changed.enabled:
        await parts.sessions.end_all(caller.tenant, account_id)
    return AccountShown(**_shown(parts, changed))


@router.post("/accounts/{account_id}/invitation")
async def invite_account(parts: PartsOf, caller: CallerOf, account_id: str) -> InvitedAccount:
    """Invite the account's person again: the password and all sessions end, the link sets a new password."""
    now = moment(parts.now())

    def plan(control: Control) -> tuple[accounts.Made, Change]:
        made = accounts.invited(_found(control, caller, account_id), now)
        return made, Change([made.record])

    made = await parts.transact(plan, caller.by)
    await parts.sessions.end_all(caller.tenant, account_id)
    return _invited(parts, made)


@router.delete("/accounts/{account_id}", status_code=204)
async def delete_account(parts: PartsOf, caller: CallerOf, account_id: str) -> None:
    """Delete an account with its sessions and tokens."""

    def plan(control: Control) -> tuple[None, Change]:
        return None, accounts.without_account(control, _found(control, caller, account_id))

    await parts.transact(plan, caller.by)
    await parts.sessions.end_all(caller.tenant, account_id)


def _found(control: Control, caller: Caller, name: str) -> Account:
    """The account, which the caller may change. Raises ProblemError."""
    account = control.every(Account).get((caller.tenant, name))
    if account is None:
        raise ProblemError(404, "there is no such account")
    _require_role(caller, account.role)
    return account


def _require_role(caller: Caller, role: RoleName) -> None:
    if Role.of(role) > caller.role:
        raise ProblemError(403, f"{caller.actor} is {caller.role.text}: only an owner may do this to an owner")


def _shown(parts: Parts, account: Account) -> dict[str, Any]:
    shown = account.model_dump(include={"id", "login", "name", "role", "enabled", "created_at", "invited_until"})
    return {**shown, "last_seen_at": moment_or_none(parts.sessions.seen_at(account.id))}


def _invited(parts: Parts, made: accounts.Made) -> InvitedAccount:
    assert isinstance(made.record, Account)
    return InvitedAccount(**_shown(parts, made.record), invitation_url=link_of(parts.settings, made.token))
