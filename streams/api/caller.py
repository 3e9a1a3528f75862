"""Who calls, and whether the operation is theirs to use."""

import time
from typing import Annotated, NamedTuple, Protocol

from fastapi import Depends, Request

from streams.api.identity.browser import require_own_origin
from streams.api.identity.sessions import Active
from streams.api.problems import ProblemError
from streams.api.roles import LEAST, PUBLIC, Role, operation_of
from streams.control.audit import Actor


class Caller(NamedTuple):
    """Somebody with an account, or a token; everything they see and change is `tenant`'s.

    `actor` is how timelines and the audit name them: `ada`, or `token:deploy`. `id` is the account's or the token's,
    `account` the account that a token acts for, or the same. `session` is a browser's.
    """

    tenant: str
    id: str
    actor: str
    role: Role
    account: str
    address: str = ""
    session: Active | None = None

    @property
    def by(self) -> Actor:
        """Who the audit says it was."""
        return Actor(self.actor, self.address)


class Identity(Protocol):
    """Finds callers by what their requests carry."""

    async def caller(self, request: Request) -> Caller | None:
        """The caller, None if the request names none that is valid. Raises ProblemError if it must be refused."""


async def authorize(request: Request) -> None:
    """Let the request pass if its caller has the operation's least role; the caller is kept on the request.

    Every operation has this dependency. Raises ProblemError: 401 without a caller, 403 without the role or from another
    site, 429 for too many requests.
    """
    operation = operation_of(request)
    if operation in LEAST and LEAST[operation] is PUBLIC:
        require_own_origin(request)
        return
    parts = request.app.state.parts
    caller = await parts.identity.caller(request)
    if caller is None:
        raise ProblemError(401, "log in, or send a token: `Authorization: Bearer <token>`")
    request.state.caller = caller
    require_own_origin(request)
    least = LEAST.get(operation)
    if least is None or caller.role < least:
        needed = least.text if least else "nobody"
        raise ProblemError(403, f"this needs the role {needed}; {caller.actor} is {caller.role.text}")
    if wait := parts.limit.take(caller.id, time.monotonic()):
        raise ProblemError(429, "too many requests", headers={"Retry-After": str(wait)})


def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


#: A route's parameter of this type is its caller.
CallerOf = Annotated[Caller, Depends(_caller)]
