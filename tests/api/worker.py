"""A worker for the tests of the API."""

import asyncio

from schemas.wire.command import Command, CommandEnd, CommandResult
from schemas.wire.incident import Status
from tests.api.reading import Fed, incident, records


class Worker:
    """Stands for the stream: each command makes the next version, which the list has after `delay` seconds."""

    def __init__(self, model: Fed, delay: float = 0.0, result: CommandResult | None = None) -> None:
        self.commands: list[Command] = []
        self._model = model
        self._delay = delay
        self._result = result

    async def submit(self, command: Command) -> CommandResult:
        """Answer at once."""
        self.commands.append(command)
        if self._result is not None:
            return self._result
        found = await self._model.find(command.tenant, command.incident_id)
        assert found is not None
        number = int.from_bytes(command.incident_id, "big")
        after = incident(number, version=found.version + 1, status=Status.ACKNOWLEDGED, acknowledged_by=command.actor)
        if self._delay >= 0:
            asyncio.get_running_loop().call_later(self._delay, self._model.feed, records(after))
        return CommandResult(end=CommandEnd.DONE, version=after.version, status="acknowledged")
