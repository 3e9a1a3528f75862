"""Pages of the gateway behind a small HTTP server, and commands that are kept in memory."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from schemas.wire.command import Command, CommandAction, CommandEnd, CommandResult
from streams.gateway.answers import Answer, Refusal
from streams.gateway.pages import Page
from streams.gateway.routes import Request
from tests.sinks.fake_vendor import serving

AFTER = {CommandAction.ACKNOWLEDGE: "acknowledged", CommandAction.RESOLVE: "resolved"}


class Incidents:
    """Carries commands out: one id takes effect once, and a state that is reached already is no change."""

    def __init__(self, title: str = "Disk full") -> None:
        self.title = title
        self.commands: list[Command] = []
        self.states: dict[bytes, str] = {}
        self._seen: dict[bytes, CommandResult] = {}

    async def submit(self, command: Command) -> CommandResult:
        if command.command_id in self._seen:
            return self._seen[command.command_id]
        self.commands.append(command)
        wanted, state = AFTER[command.action], self.states.get(command.incident_id, "open")
        end = CommandEnd.ALREADY if state in (wanted, "resolved") else CommandEnd.DONE
        if end is CommandEnd.DONE:
            self.states[command.incident_id] = state = wanted
        result = CommandResult(end=end, version=len(self.commands), status=state, title=self.title)
        self._seen[command.command_id] = result
        return result


class _Scope:
    def __init__(self, request: web.Request) -> None:
        self.method = request.method
        self.path = request.path
        self.query_string = request.query_string
        self.headers: Mapping[str, Any] = {name.lower(): value for name, value in request.headers.items()}


@asynccontextmanager
async def gateway(pages: Mapping[str, Page]) -> AsyncIterator[str]:
    """The address of a server with these pages."""

    async def handle(request: web.Request) -> web.Response:
        seen = Request(_Scope(request), 100_000)  # type: ignore[arg-type]
        seen.sent = await request.read()
        try:
            answer: Answer = await pages[request.path].answer(seen)
        except Refusal as refusal:
            answer = refusal.answer
        return web.Response(status=answer.status, body=answer.body, headers=dict(answer.headers))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with serving(app) as url:
        yield url
