"""Logging in and out, and setting a password."""

import time
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from schemas.control import DEFAULT_TENANT, Account
from streams.api.caller import CallerOf
from streams.api.identity import passwords
from streams.api.identity.browser import address_of, clear_session, set_session
from streams.api.identity.sessions import LONGEST_MS
from streams.api.parts import Parts, PartsOf
from streams.api.problems import ProblemError
from streams.api.times import Time, moment
from streams.control import accounts
from streams.control.audit import Actor
from streams.control.edits import FieldError
from streams.control.state import Control
from streams.control.write import Change

router = APIRouter()

Password = Annotated[str, Field(min_length=passwords.SHORTEST, max_length=passwords.LONGEST)]


class SessionShown(BaseModel):
    """Who calls. `account` is an id; `expires_at` is when the session ends without a further request."""

    account: str
    login: str
    name: str
    tenant: str
    role: str
    expires_at: Time | None
    csrf: None = None


class Credentials(BaseModel):
    """A login and a password."""

    login: str = Field(min_length=1, max_length=100)
    password: str = Field(min_length=1, max_length=passwords.LONGEST)


class SetUp(BaseModel):
    """A link's token, and what its receiver chooses. Who is invited has a login already."""

    token: str = Field(min_length=1, max_length=100)
    login: str = Field(default="", max_length=100)
    password: Password
    name: str = Field(default="", max_length=200)


class NewPassword(BaseModel):
    """The present password and the next one."""

    current: str = Field(min_length=1, max_length=passwords.LONGEST)
    password: Password


class Provider(BaseModel):
    """An identity provider to log in by."""

    title: str


class LoginMethods(BaseModel):
    """How to log in. `setup_needed`: nobody can yet, as there is no account."""

    password: Literal[True] = True
    oidc: Provider | None
    setup_needed: bool


@router.get("/session")
async def show_session(parts: PartsOf, caller: CallerOf) -> SessionShown:
    """The caller."""
    account = parts.control.every(Account).get((caller.tenant, caller.account))
    return SessionShown(
        account=caller.account,
        login=caller.actor,
        name=account.name if account else "",
        tenant=caller.tenant,
        role=caller.role.text,
        expires_at=moment(caller.session.expires_at) if caller.session else None,
    )


@router.post("/session", status_code=204)
async def log_in(parts: PartsOf, request: Request, credentials: Credentials) -> Response:
    """Begin a session; its cookie is in the answer. 401 for a wrong login or password, 429 for too many attempts."""
    account = accounts.by_login(parts.control, credentials.login)
    _limit(parts, request, credentials.login)
    right = await parts.passwords.verify(account.password if account else None, credentials.password)
    if account is None or not account.enabled or not right:
        tenant, login = (account.tenant, account.login) if account else (DEFAULT_TENANT, "")
        parts.audit.refused(tenant, Actor(login, address_of(request)), "log_in", "wrong_password")
        raise ProblemError(401, "the login or the password is wrong")
    parts.logins.give_back(account.login)
    return await begin(parts, request, account)


@router.delete("/session", status_code=204)
async def log_out(parts: PartsOf, request: Request, caller: CallerOf) -> Response:
    """End the caller's session."""
    if caller.session is None:
        raise ProblemError(400, "a token has no session")
    await parts.sessions.end(caller.session)
    await parts.audit.add(caller.tenant, caller.by, "logged_out", "session", caller.session.id)
    response = Response(status_code=204)
    clear_session(request, response)
    return response


@router.put("/session/password", status_code=204)
async def change_password(parts: PartsOf, request: Request, caller: CallerOf, wanted: NewPassword) -> None:
    """Change the caller's own password; all other sessions of the account end."""
    account = parts.control.every(Account).get((caller.tenant, caller.account))
    if caller.session is None or account is None or account.password is None:
        raise ProblemError(403, "only who has logged in with a password can change it")
    _limit(parts, request, account.login)
    if not await parts.passwords.verify(account.password, wanted.current):
        parts.audit.refused(caller.tenant, caller.by, "change_password", "wrong_password")
        raise FieldError("current", "is not the present password")
    parts.logins.give_back(account.login)
    hashed = await parts.passwords.hash(wanted.password)

    def plan(control: Control) -> tuple[None, Change]:
        current = control.every(Account).get((caller.tenant, caller.account))
        return None, Change([current.model_copy(update={"password": hashed})] if current else [])

    await parts.transact(plan, caller.by)
    await parts.sessions.end_all(caller.tenant, caller.account, but=caller.session)


@router.get("/login-methods")
async def list_login_methods(parts: PartsOf) -> LoginMethods:
    """How to log in."""
    oidc = Provider(title=parts.oidc.title) if parts.oidc else None
    return LoginMethods(oidc=oidc, setup_needed=not accounts.accounts_of(parts.control, DEFAULT_TENANT))


@router.post("/setup", status_code=204)
async def set_up(parts: PartsOf, request: Request, wanted: SetUp) -> Response:
    """Take an invitation, or the link of the first owner, and begin a session. 410 for a link that is not valid now."""
    _limit(parts, request, "")
    now = moment(parts.now())
    _taken(parts.control, parts, wanted, "", now)  # before the effort for the hash
    hashed = await parts.passwords.hash(wanted.password)

    def plan(control: Control) -> tuple[Account, Change]:
        account = _taken(control, parts, wanted, hashed, now)
        return account, Change([account])

    login = _taken(parts.control, parts, wanted, "", now).login
    account = await parts.transact(plan, Actor(login, address_of(request)))
    await parts.sessions.end_all(account.tenant, account.id)
    return await begin(parts, request, account)


async def begin(parts: Parts, request: Request, account: Account) -> Response:
    """Begin a session of this account."""
    agent = request.headers.get("user-agent", "")
    value = await parts.sessions.begin(account.id, account.tenant, address_of(request), agent)
    by = Actor(account.login, address_of(request))
    await parts.audit.add(account.tenant, by, "logged_in", "account", account.id)
    response = Response(status_code=204)
    set_session(request, response, value, LONGEST_MS // 1000)
    return response


def _taken(control: Control, parts: Parts, wanted: SetUp, hashed: str, now: datetime) -> Account:
    """The account once the link is taken. Raises ProblemError 410 for a link that is not valid, FieldError."""
    password = hashed or None
    invited = accounts.invited_by(control, wanted.token, now)
    if invited is not None:
        if wanted.login and wanted.login.lower() != invited.login:
            raise FieldError("login", f"this link is for {invited.login}")
        taken = {"password": password, "invitation": None, "invited_until": None, "name": wanted.name or invited.name}
        return invited.model_copy(update=taken)
    link = parts.store.console.setups.get(accounts.hash_of(wanted.token))
    if link is None or link.expires_at <= parts.now() or accounts.accounts_of(control, link.tenant):
        raise ProblemError(410, "this link is not valid any more; `stormweir accounts invite` makes a new one")
    values = {"tenant": link.tenant, "login": wanted.login, "name": wanted.name, "role": "owner"}
    return accounts.new_account(control, {**values, "password": password}, now)


def _limit(parts: Parts, request: Request, login: str) -> None:
    now = time.monotonic()
    wait = parts.addresses.take(address_of(request), now)
    if login and not wait:
        wait = parts.logins.take(login.lower(), now)
    if wait:
        raise ProblemError(429, "too many attempts", headers={"Retry-After": str(wait)})
