"""A fake Slack whose clock is the outbox's, and destinations in it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from schemas.control import Destination
from sinks.channels.slack import SlackDestination
from sinks.channels.slack_webhook import SlackWebhookDestination
from sinks.fakes.slack import TOKEN, WEBHOOK, FakeSlack
from sinks.outbound import Answer, Outbound
from tests.sinks.fake_vendor import serving
from tests.sinks.outbox_room import Room, room
from tests.sinks.samples import control, until


@dataclass
class SlackRoom:
    """The fake, its address, and the outbox."""

    slack: FakeSlack
    url: str
    desk: Room
    #: Requests on their way.
    busy: int = 0

    async def ended(self, count: int, step: float = 0.1) -> None:
        """Wait until `count` notifications have ended; the clock moves by `step` s whenever no request is on its way.

        So a request arrives at the time at which it was sent. A look that finds none is not enough: one may be about
        to go.
        """
        idle = 0

        def enough() -> bool:
            nonlocal idle
            assert not self.desk.failures, self.desk.failures
            idle = 0 if self.busy else idle + 1
            if idle > 1:
                self.desk.time.advance(step)
                idle = 0
            return sum(outcome != "retry" for outcome, _ in self.desk.ends) >= count

        await until(enough)

    def clicked(self, action: str, number: int = 0) -> tuple[bytes, dict[str, str]]:
        """The request that a click on the card of this number makes."""
        return self.slack.click(self.slack.truth.messages[number].ts, action, self.url)


def bot(url: str = "", **fields: object) -> SlackDestination:
    """The destination `ops`: a channel that the bot is in."""
    api = {"api_url": f"{url}/api"} if url else {}
    return SlackDestination.model_validate({"id": "ops", "bot_token": TOKEN, "channel": "C0ALERTS", **api, **fields})


def hook(url: str = "https://hooks.example.com", **fields: object) -> SlackWebhookDestination:
    """The destination `ops`: an incoming webhook."""
    return SlackWebhookDestination.model_validate({"id": "ops", "url": f"{url}{WEBHOOK}", **fields})


@asynccontextmanager
async def slack_room(*made: dict[str, object], webhook: bool = False) -> AsyncIterator[SlackRoom]:
    """A Slack with an outbox for one destination per mapping of fields; without any, for `ops`."""
    slack = FakeSlack()
    async with serving(slack.application()) as url:
        make = hook if webhook else bot
        destinations: list[Destination] = [make(url, **fields) for fields in made or ({},)]
        async with room(control(*destinations)) as desk:
            slack.clock = lambda: desk.time.now / 1000
            opened = SlackRoom(slack, url, desk)
            post = Outbound.post

            async def counted(*arguments: Any) -> Answer:
                opened.busy += 1
                try:
                    return await post(*arguments)
                finally:
                    opened.busy -= 1

            with patch.object(Outbound, "post", counted):
                yield opened
