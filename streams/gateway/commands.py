"""Sends people's commands on incidents (schemas.wire.command), and waits for their answers.

A command takes effect once, by its id: a sender that does not know whether Kafka has it submits the same command again.
"""

import asyncio
from functools import partial

from schemas.fingerprint import scope_of, uuid7
from schemas.topics import ALERTS_UNIQUE
from schemas.wire.codec import encode
from schemas.wire.command import COMMAND_HEADER, Command, CommandEnd, CommandResult
from streams.gateway.lanes import Headers, Lanes
from streams.gateway.verdicts import Verdicts
from streams.process.kafka import Kafka

#: Seconds in which a command is answered; after them it is pending.
BUDGET_S = 1.0
PENDING = CommandResult(end=CommandEnd.PENDING)


class Commands:
    """Submits commands. `verdicts` follows the answers; the caller starts and stops it. Used on one event loop."""

    def __init__(self, kafka: Kafka, verdicts: Verdicts) -> None:
        self._lanes = Lanes(kafka, ALERTS_UNIQUE.name)
        self._verdicts = verdicts
        self._connecting: asyncio.Task[None] | None = None

    def start(self) -> asyncio.Task[None]:
        """Connect in a task, which ends once connected. A gateway does not wait for it: if its user may not write
        `alerts.unique`, it takes alerts all the same.
        """
        self._connecting = asyncio.create_task(self._lanes.start(), name="commands")
        return self._connecting

    async def submit(self, command: Command) -> CommandResult:
        """The answer, or PENDING if none comes within BUDGET_S: the command may still take effect then.

        Actor and note must not be longer than MAX_ACTOR and MAX_NOTE. Raises UnavailableError if Kafka is away.
        """
        try:
            async with asyncio.timeout(BUDGET_S):
                # Not the command's id: the same command may be submitted twice at a time.
                verdict = await self._verdicts.answer(uuid7(), BUDGET_S, partial(self._put, command))
        except TimeoutError:
            return PENDING
        return PENDING if verdict is None or verdict.command is None else verdict.command

    def pending_since(self) -> float | None:
        """As Lanes.pending_since."""
        return self._lanes.pending_since()

    async def stop(self) -> None:
        """Send what waits, and disconnect."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        await self._lanes.stop()

    def _put(self, command: Command, headers: Headers) -> asyncio.Future[None]:
        marked = [*headers, (COMMAND_HEADER, b"")]
        return self._lanes.put(scope_of(command.incident_id), encode(command), command.at, marked)
