"""Finds the callers of requests: by a token, or by the session of a browser."""

from collections.abc import Callable

from fastapi import Request

from streams.api.caller import Caller
from streams.api.identity.browser import address_of, session_of
from streams.api.identity.sessions import Sessions
from streams.api.roles import Role
from streams.api.times import moment
from streams.control.accounts import held_token, usable_account
from streams.control.state import Control


class People:
    """The callers that the configuration knows. `now` is the clock, ms UTC."""

    def __init__(self, control: Control, sessions: Sessions, now: Callable[[], int]) -> None:
        self._control = control
        self._sessions = sessions
        self._now = now

    async def caller(self, request: Request) -> Caller | None:
        """See Identity. A token that is not valid is not made up for by a cookie."""
        if (header := request.headers.get("authorization")) is not None:
            scheme, _, text = header.partition(" ")
            return self._by_token(text.strip(), request) if scheme.lower() == "bearer" else None
        value = session_of(request)
        active = self._sessions.find(value) if value else None
        if active is None:
            return None
        account = usable_account(self._control, active.session.tenant, active.session.account)
        if account is None:
            return None
        self._sessions.see(active.id, account.id)
        return Caller(
            tenant=account.tenant,
            id=account.id,
            actor=account.login,
            role=Role.of(account.role),
            account=account.id,
            address=address_of(request),
            session=active,
        )

    def _by_token(self, text: str, request: Request) -> Caller | None:
        held = held_token(self._control, text, moment(self._now()))
        if held is None or held[0].feed:
            return None
        token, account = held
        self._sessions.see(token.id)
        return Caller(
            tenant=token.tenant,
            id=token.id,
            actor=f"token:{token.name}",
            role=min(Role.of(token.role), Role.of(account.role)),
            account=account.id,
            address=address_of(request),
        )
