"""Every operation, as everybody: the table of roles holds for each, and no tenant reaches into another."""

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from fastapi import Request

from schemas.control import Token
from schemas.wire.console import View
from streams.api.app import PREFIX, application
from streams.api.caller import authorize
from streams.api.problems import ProblemError
from streams.api.roles import LEAST, Role
from streams.control.accounts import hash_of
from tests.api.conftest import Offline, parts
from tests.api.people import PASSWORD, browsing, inhabited, person


class Operation(NamedTuple):
    """One operation of the API."""

    id: str
    method: str
    path: str
    tag: str


def _operations() -> Iterator[Operation]:
    for path, methods in application(parts()).openapi()["paths"].items():
        for method, operation in methods.items():
            yield Operation(operation["operationId"], method.upper(), path, operation["tags"][0])


OPERATIONS = sorted(_operations())


@pytest.mark.parametrize("role", [*Role, None], ids=lambda role: role.text if role else "nobody")
async def test_the_table_decides(role: Role | None) -> None:
    """Who has the least role passes, who has less is told which is needed, and nobody is told to log in."""
    app = application(parts())
    for operation, least in LEAST.items():
        headers = [(b"x-caller", f"default/{role.text}".encode())] if role else []
        route = SimpleNamespace(operation_id=None, name=operation)
        scope = {"type": "http", "method": "POST", "headers": headers, "app": app, "route": route, "state": {}}
        expected = 200 if least is None or (role and role >= least) else 403 if role else 401
        found = 200
        try:
            await authorize(Request(scope))
        except ProblemError as refused:
            found = refused.status
        assert (operation, found) == (operation, expected)


async def test_an_operation_without_a_row_is_nobodys() -> None:
    """Not even an owner may call what the table does not have."""
    scope = {
        "type": "http", "method": "GET", "headers": [(b"x-caller", b"default/owner")], "app": application(parts()),
        "route": SimpleNamespace(operation_id=None, name="forgotten"), "state": {},
    }  # fmt: skip
    with pytest.raises(ProblemError, match="nobody"):
        await authorize(Request(scope))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
async def test_every_operation_asks_the_table(operation: Operation) -> None:
    """Over HTTP: each role below the least, and nobody, is refused whatever else the request says; the audit tells."""
    least = LEAST[operation.id]
    path = re.sub(r"\{\w+\}", "x", operation.path.removeprefix(PREFIX))
    made = inhabited(*(person(role.text, role.text) for role in Role))
    for role in Role if least else ():
        if role < least:
            async with browsing(made, role.text) as browser:
                answer = await browser(operation.method, path)
                assert (answer.status_code, least.text in answer.json()["detail"]) == (403, True)
                last = made.memory.audit[-1]
                assert (last.actor, last.action, last.outcome) == (role.text, operation.id, "forbidden")
    async with browsing(made) as browser:
        answer = await browser(operation.method, path)
        assert (answer.status_code == 401) == (least is not None)
        assert answer.headers["cache-control"] == "no-store"


#: The routes of identity; those of the other nouns are tried in their own files.
_OURS = {"accounts", "audit", "session", "sessions", "tokens", "views"}


def _two_tenants() -> Offline:
    """The tenant `default` has one of everything, whose ids and names have CANARY in them; `acme` has an owner."""
    token = Token.model_validate(
        {
            "id": "canary-token",
            "name": "canary",
            "sha256": hash_of("t"),
            "created_by": "id-canary",
            "created_at": "2026-11-01T00:00:00Z",
        }
    )
    made = inhabited(person("canary", "owner"), person("far", "owner", tenant="acme"), token)
    made.memory.console.views["canary-view"] = View(
        account="id-canary", tenant="default", name="canary", query="canary", created_at=1
    )
    return made


@pytest.mark.parametrize(
    "operation", [each for each in OPERATIONS if each.tag in _OURS], ids=lambda operation: operation.id
)
async def test_nothing_of_another_tenant_is_seen_or_changed(operation: Operation) -> None:
    """Its things are not there: 404 by their ids, and in no list; nothing of it is different afterwards."""
    made = _two_tenants()
    async with browsing(made, "canary") as canary, browsing(made, "far") as far:
        (session,) = made.sessions.of("default")
        ids = {
            "account_id": "id-canary", "token_id": "canary-token", "view_id": "canary-view", "session_id": session.id,
        }  # fmt: skip
        bodies: dict[str, Any] = {
            "change_account": {"name": "mine"},
            "log_in": {"login": "far", "password": PASSWORD},
            "create_account": {"login": "new"},
            "create_token": {"name": "new"},
            "create_view": {"name": "new", "query": ""},
        }
        before = _of_default(made)
        path = operation.path.removeprefix(PREFIX).format_map(ids)
        answer = await far(operation.method, path, bodies.get(operation.id))
        if "{" in operation.path:
            assert answer.status_code == 404
        assert answer.status_code < 500
        assert "canary" not in answer.text
        assert _of_default(made) == before
        assert (await canary("GET", "/session")).status_code == 200


def _of_default(made: Offline) -> tuple[dict[str, Any], ...]:
    console = made.memory.console
    return (
        {key: record for key, record in made.control.records.items() if record.owner == "default"},
        {key: session for key, session in console.sessions.items() if session.tenant == "default"},
        {key: view for key, view in console.views.items() if view.tenant == "default"},
    )
