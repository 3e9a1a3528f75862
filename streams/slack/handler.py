"""Carries clicks out: puts the command on Kafka, and tells the person who clicked what came of it."""

import asyncio
from collections.abc import Mapping
from typing import Protocol

import structlog

from schemas.wire.command import Command, CommandResult
from sinks.outbound import Answer
from streams.slack import clicks
from streams.slack.clicks import Click

log = structlog.get_logger(__name__)


class Commands(Protocol):
    """Takes commands on incidents."""

    async def submit(self, command: Command) -> CommandResult:
        """Put the command on Kafka and wait a moment for its effect. Raises any error if Kafka does not have it."""


class Client(Protocol):
    """The outgoing client: bounded in time and size, never redirected, never into a private network."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], /) -> Answer: ...


class ClickHandler:
    """Each click is a task of its own. Belongs to one event loop; `close` ends the tasks."""

    def __init__(self, commands: Commands, client: Client) -> None:
        self._commands = commands
        self._client = client
        self._under_way: set[asyncio.Task[None]] = set()

    def start(self, click: Click) -> asyncio.Task[None]:
        """Begin to carry out a click; the task ends when the person was told."""
        task = asyncio.create_task(self._carry_out(click), name="click")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def close(self) -> None:
        """End what is under way."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _carry_out(self, click: Click) -> None:
        try:
            result = await self._commands.submit(click.command)
            text = clicks.told(click.command.action, result)
        except Exception as error:
            log.error("a click on a card was not carried out", error=type(error).__name__)
            text = clicks.NOT_TAKEN
        headers = {"Content-Type": "application/json"}
        answer = await self._client.post(click.response_url, clicks.response(text), headers)
        if answer.status != 200:
            log.warning("a click on a card was not answered", status=answer.status, error=answer.error_code)
