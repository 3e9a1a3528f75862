"""Sessions that have not ended."""

from fastapi import APIRouter
from pydantic import BaseModel

from schemas.control import Account
from streams.api.caller import CallerOf
from streams.api.parts import PartsOf
from streams.api.problems import ProblemError
from streams.api.roles import Role
from streams.api.times import Time, moment

router = APIRouter()


class OpenSession(BaseModel):
    """One browser in which somebody is logged in. `account` is an id, `current` the session of the request."""

    id: str
    account: str
    login: str
    created_at: Time
    last_seen_at: Time
    address: str
    agent: str
    current: bool


class OpenSessions(BaseModel):
    """All of them, the last used first."""

    items: list[OpenSession]
    next: None = None


@router.get("/sessions")
async def list_sessions(parts: PartsOf, caller: CallerOf) -> OpenSessions:
    """The caller's own sessions, for an admin all of the tenant's."""
    people = parts.control.every(Account)
    found = [
        OpenSession(
            id=active.id,
            account=active.session.account,
            login=account.login,
            created_at=moment(active.session.created_at),
            last_seen_at=moment(active.seen_at),
            address=active.session.address,
            agent=active.session.agent,
            current=caller.session is not None and caller.session.hash == active.hash,
        )
        for active in parts.sessions.of(caller.tenant)
        if (account := people.get((caller.tenant, active.session.account))) is not None
        and (caller.role >= Role.ADMIN or account.id == caller.account)
    ]
    return OpenSessions(items=sorted(found, key=lambda each: each.last_seen_at, reverse=True))


@router.delete("/sessions/{session_id}", status_code=204)
async def end_session(parts: PartsOf, caller: CallerOf, session_id: str) -> None:
    """End a session at once."""
    for active in parts.sessions.of(caller.tenant):
        if active.id == session_id and (caller.role >= Role.ADMIN or active.session.account == caller.account):
            await parts.sessions.end(active)
            await parts.audit.add(caller.tenant, caller.by, "ended", "session", session_id)
            return
    raise ProblemError(404, "there is no such session")
