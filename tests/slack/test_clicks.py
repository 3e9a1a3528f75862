"""Clicks on the buttons of real cards: fake Slack, the gateway's page, and commands in memory."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import aiohttp
import orjson
import pytest
from slack_sdk.signature import SignatureVerifier

from schemas.wire.command import Command, CommandAction, CommandEnd, CommandResult
from sinks.fakes.slack import SIGNING_SECRET, FakeSlack
from sinks.outbound import Outbound
from streams.gateway.slack import Interactions
from streams.slack import clicks
from streams.slack.handler import ClickHandler, Commands
from streams.slack.installation import INTERACTIONS
from tests.sinks.samples import INCIDENT, LOOPBACK, notification, until
from tests.sinks.slack_room import SlackRoom, slack_room
from tests.slack.desk import Incidents, gateway


@dataclass
class Desk:
    """A card in Slack, and the gateway that Slack tells of clicks."""

    on: SlackRoom
    url: str
    http: aiohttp.ClientSession

    @property
    def slack(self) -> FakeSlack:
        return self.on.slack

    async def send(self, body: bytes, headers: dict[str, str]) -> int:
        """The status of an interaction."""
        async with self.http.post(self.url + INTERACTIONS, data=body, headers=headers) as got:
            assert not await got.read() or got.status != 200
            return got.status

    async def click(self, action: str) -> str:
        """Click, and what the person is told."""
        before = len(self.slack.truth.responses)
        assert await self.send(*self.on.clicked(action)) == 200
        await until(lambda: len(self.slack.truth.responses) > before)
        return str(self.slack.truth.responses[-1]["text"])


@asynccontextmanager
async def desk(commands: Commands, wait: float = 2.0) -> AsyncIterator[Desk]:
    """A card of the sample incident, posted by the Slack channel."""
    async with slack_room() as on, aiohttp.ClientSession() as http:
        on.desk.take(notification())
        await on.ended(1)
        outbound = Outbound(LOOPBACK)
        handler = ClickHandler(commands, outbound)
        page = Interactions(SIGNING_SECRET, handler, wait, on.slack.clock)
        try:
            async with gateway({INTERACTIONS: page}) as url:
                yield Desk(on, url, http)
        finally:
            await handler.close()
            await outbound.close()


async def test_a_click_changes_the_state_once() -> None:
    """C98: acknowledge, acknowledge again, resolve: two changes, and the second click is told that it is done."""
    incidents = Incidents()
    async with desk(incidents) as at:
        assert await at.click("acknowledge") == "Acknowledged: Disk full"
        assert await at.click("acknowledge") == "Already done: the incident is acknowledged: Disk full"
        assert await at.click("resolve") == "Resolved: Disk full"
        assert [command.action for command in incidents.commands] == ["acknowledge", "acknowledge", "resolve"]
        command = incidents.commands[0]
        assert (command.tenant, command.incident_id, command.correlation_key) == (
            INCIDENT.tenant,
            INCIDENT.incident_id,
            INCIDENT.correlation_key,
        )
        assert command.actor == "slack:U0ADA (ada)"
        assert command.at == at.on.desk.time.now
        assert len(command.command_id) == 16


async def test_only_the_person_who_clicked_sees_the_answer_and_the_card_stays() -> None:
    """The card is changed by the notification that the command causes."""
    async with desk(Incidents()) as at:
        await at.click("acknowledge")
        [answer] = at.slack.truth.responses
        assert (answer["response_type"], answer["replace_original"]) == ("ephemeral", False)
        assert at.slack.truth.messages[0].edits == 0


async def test_a_copy_of_a_click_is_the_same_command() -> None:
    """A replay within five minutes has the id of the first, so it takes effect once."""
    incidents = Incidents()
    async with desk(incidents) as at:
        clicked = at.on.clicked("acknowledge")
        assert [await at.send(*clicked), await at.send(*clicked)] == [200, 200]
        assert len(incidents.commands) == 1
        await at.click("acknowledge")
        assert len({command.command_id for command in incidents.commands}) == 2


async def test_a_link_is_no_command() -> None:
    """Slack tells of clicks on links too, and wants 200."""
    incidents = Incidents()
    async with desk(incidents) as at:
        assert await at.send(*at.on.clicked("open")) == 200
        assert incidents.commands == []


async def test_what_slack_did_not_sign_is_refused() -> None:
    """Another body, another secret, an old time, no signature: 401, and no command."""
    incidents = Incidents()
    async with desk(incidents) as at:
        body, headers = at.on.clicked("acknowledge")
        assert await at.send(body + b" ", headers) == 401
        assert await at.send(body, {**headers, "X-Slack-Signature": "v0=" + "0" * 64}) == 401
        for name in ("X-Slack-Signature", "X-Slack-Request-Timestamp"):
            assert await at.send(body, {key: value for key, value in headers.items() if key != name}) == 401
        at.on.desk.time.advance(301)
        assert await at.send(body, headers) == 401
        assert await at.send(*at.slack.signed(body)) == 200
        assert len(incidents.commands) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"payload=",
        b"payload=[]",
        b"payload={}",
        b"\xff\xfe",
        b"&" * 1_000,
        urlencode({"payload": '{"type":"block_actions","user":7}'}).encode(),
        *(
            b"payload="
            + quote(
                orjson.dumps(
                    {
                        "type": "block_actions",
                        "user": {"id": "U1"},
                        "actions": [{"action_id": "resolve", "value": value}],
                    }
                )
            ).encode()
            for value in ("", "x", "..", f"{'0' * 32}.ab.", "\u0000", f"{'0' * 32}.AB.default")
        ),
    ],
)
async def test_a_signed_body_that_is_no_click_is_400(body: bytes) -> None:
    """It is refused by name, and nothing is commanded."""
    incidents = Incidents()
    async with desk(incidents) as at:
        assert await at.send(*at.slack.signed(body)) == 400
        assert incidents.commands == []


@pytest.mark.parametrize("type_", ["view_submission", "message_action", "shortcut"])
async def test_other_interactions_are_answered_and_ignored(type_: str) -> None:
    """A shortcut of the same app is nothing for us."""
    body = urlencode({"payload": orjson.dumps({"type": type_, "user": {"id": "U1"}}).decode()}).encode()
    async with desk(Incidents()) as at:
        assert await at.send(*at.slack.signed(body)) == 200


class Slow:
    """Takes longer than Slack waits."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def submit(self, command: Command) -> CommandResult:
        await self.go.wait()
        return CommandResult(end=CommandEnd.PENDING)


async def test_slack_is_answered_in_time_and_told_later() -> None:
    """The answer does not wait for the command's effect; the person is told when there is one."""
    slow = Slow()
    async with desk(slow, wait=0.05) as at:
        started = time.monotonic()
        assert await at.send(*at.on.clicked("resolve")) == 200
        assert time.monotonic() - started < 3
        assert at.slack.truth.responses == []
        slow.go.set()
        await until(lambda: at.slack.truth.responses)
        assert at.slack.truth.responses[0]["text"] == "Taken, it takes effect in a moment."


class Away:
    """Kafka is away."""

    async def submit(self, command: Command) -> CommandResult:
        raise ConnectionError("no broker")


async def test_a_click_that_kafka_did_not_take_is_told() -> None:
    """The person knows that nothing happened."""
    async with desk(Away()) as at:
        assert await at.click("resolve") == clicks.NOT_TAKEN


def test_what_is_told_has_no_markup_of_an_alert() -> None:
    """The incident's title is text."""
    result = CommandResult(end=CommandEnd.DONE, title="<!channel> & <https://evil.example.com|x>")
    told = clicks.told(CommandAction.RESOLVE, result)
    assert told == "Resolved: &lt;!channel&gt; &amp; &lt;https://evil.example.com|x&gt;"
    assert clicks.told(CommandAction.RESOLVE, CommandResult(end=CommandEnd.NOT_FOUND)).startswith("There is no such")


def test_slack_s_own_verifier_agrees() -> None:
    """The fake's signature, which the page takes, is one that slack_sdk takes."""
    fake = FakeSlack()
    body, headers = fake.signed(b"payload=x")
    assert SignatureVerifier(SIGNING_SECRET).is_valid_request(body, headers)
