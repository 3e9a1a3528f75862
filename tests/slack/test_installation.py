"""Connecting a workspace: links, Slack's page, the callback; and the manifest."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
import yaml
from typer.testing import CliRunner

from schemas.control import Destination, control_key, dump
from schemas.settings import Settings
from sinks.channels.slack import SlackDestination
from sinks.fakes.slack import CLIENT, TOKEN, FakeSlack
from sinks.outbound import Outbound
from streams.cli import build
from streams.control.edits import FieldError
from streams.control.state import Control
from streams.control.transaction import Plan
from streams.gateway import slack as gateway_slack
from streams.process.errors import OperatorError
from streams.slack import installation
from streams.slack.channels import listed
from tests.sinks.fake_vendor import serving
from tests.sinks.samples import LOOPBACK, control, destination
from tests.sinks.slack_room import bot
from tests.slack.desk import Incidents, gateway

SCOPES = {"chat:write", "channels:read", "groups:read"}
NOW = 1_760_000_000.0


@dataclass
class Office:
    """A gateway, Slack, and the configuration that the gateway writes."""

    settings: Settings
    slack: FakeSlack
    control: Control
    http: aiohttp.ClientSession
    url: str

    def link(self, **fields: str) -> str:
        """The link that an operator gets, at the gateway's real address."""
        names = {"tenant": "default", "destination": "ops", "channel": "C0ALERTS", **fields}
        link = installation.start_link(self.settings, installation.new_ticket(**names, now=self.slack.clock()))
        return link.replace(self.settings.public_url, self.url)

    async def follow(self, link: str) -> tuple[str, dict[str, str]]:
        """Open the link and allow: the callback's address and query, which the browser goes to next."""
        async with self.http.get(link, allow_redirects=False) as got:
            assert got.status == 302, await got.text()
            page = got.headers["Location"]
        assert set(parse_qs(urlsplit(page).query)["scope"][0].split(",")) == SCOPES
        async with self.http.get(page, allow_redirects=False) as got:
            assert got.status == 302, await got.text()
            back = urlsplit(got.headers["Location"])
        assert f"{back.scheme}://{back.netloc}" == self.settings.public_url
        return back.path, {name: values[0] for name, values in parse_qs(back.query).items()}

    async def call(self, path: str, query: Mapping[str, str]) -> tuple[int, str]:
        async with self.http.get(self.url + path, params=query) as got:
            return got.status, await got.text()


@asynccontextmanager
async def office(*known: Destination) -> AsyncIterator[Office]:
    """The pages of a gateway whose Slack is the fake."""
    slack, state, outbound = FakeSlack(clock=lambda: NOW), control(*known), Outbound(LOOPBACK)

    async def store(plan: Plan[SlackDestination]) -> SlackDestination:
        result, change = plan(state)
        for record in change.records:
            assert state.apply(control_key(record), dump(record)) is None
        return result

    async with serving(slack.application()) as address, aiohttp.ClientSession() as http:
        settings = Settings(
            base_url="https://alerts.example.com",
            slack_url=address,
            slack_client_id=CLIENT[0],
            slack_client_secret=CLIENT[1],
        )
        pages = {
            installation.START: gateway_slack.Start(settings, lambda: slack.clock()),
            installation.CALLBACK: gateway_slack.Callback(settings, outbound, store, lambda: slack.clock()),
        }
        try:
            async with gateway(pages) as url:
                yield Office(settings, slack, state, http, url)
        finally:
            await outbound.close()


async def test_a_workspace_is_connected() -> None:
    """A2: from the link through Slack's page to a destination with a token, in the channel of the link."""
    async with office() as at:
        status, text = await at.call(*await at.follow(at.link()))
        assert (status, text) == (200, "Slack is connected: Fake workspace for the destination ops.")
        stored = at.control.destinations["default", "ops"]
        assert isinstance(stored, SlackDestination)
        assert (stored.bot_token, stored.channel, stored.workspace) == (TOKEN, "C0ALERTS", "Fake workspace")
        assert str(stored.api_url) == f"{at.settings.slack_url}/api"
        assert TOKEN not in text


async def test_connecting_again_keeps_the_other_settings() -> None:
    """A token that was revoked is replaced; mentions stay."""
    old = bot(mentions=["channel"], bot_token="xoxb-revoked", channel="C0OLD")
    async with office(old) as at:
        status, _ = await at.call(*await at.follow(at.link()))
        stored = at.control.destinations["default", "ops"]
        assert isinstance(stored, SlackDestination)
        assert (status, stored.bot_token, stored.mentions) == (200, TOKEN, ("channel",))


async def test_a_link_works_once() -> None:
    """A2: the state of a finished installation is 400, even with a new code."""
    async with office() as at:
        link = at.link()
        path, query = await at.follow(link)
        assert (await at.call(path, query))[0] == 200
        path, query = await at.follow(link)
        status, text = await at.call(path, query)
        assert (status, "was used" in text) == (400, True)


async def test_a_link_expires() -> None:
    """A2: after half an hour neither page takes it."""
    async with office() as at:
        link = at.link()
        path, query = await at.follow(link)
        at.slack.clock = lambda: NOW + installation.TICKET_S + 1
        assert (await at.call(path, query))[0] == 400
        async with at.http.get(link, allow_redirects=False) as got:
            assert (got.status, "expired" in await got.text()) == (400, True)
        assert at.control.destinations == {}


@pytest.mark.parametrize("state", ["", "x", ".", "x.y", "é.é", "e30=.00"])
async def test_a_wrong_state_is_400(state: str) -> None:
    """A2: nobody connects a workspace without a link of ours."""
    async with office() as at:
        for query in ({"state": state, "code": "code1"}, {"ticket": state}):
            path = installation.CALLBACK if "state" in query else installation.START
            assert (await at.call(path, query))[0] == 400
        assert at.slack.truth.received == []
        ticket = installation.new_ticket("default", "ops", "C1", NOW)
        forged = installation.sealed(ticket, "another secret")
        assert (await at.call(installation.CALLBACK, {"state": forged, "code": "code1"}))[0] == 400


async def test_who_does_not_allow_is_told() -> None:
    """Slack sends `error=access_denied`: nothing is stored; a code that Slack does not know is told too."""
    async with office() as at:
        for answer, said in (({"error": "access_denied"}, "not allowed"), ({"code": "x"}, "invalid_code")):
            _, query = await at.follow(at.link())
            status, text = await at.call(installation.CALLBACK, {"state": query["state"], **answer})
            assert (status, said in text) == (400, True)
        assert at.control.destinations == {}


async def test_another_channel_s_destination_is_not_replaced() -> None:
    """A webhook of the same id stays."""
    async with office(destination("https://example.com")) as at:
        status, text = await at.call(*await at.follow(at.link()))
        assert (status, "type webhook" in text) == (400, True)
        assert at.control.destinations["default", "ops"].type == "webhook"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "did not answer"),
        (b"[]", "no token"),
        (b'{"ok":false,"error":"bad_redirect_uri"}', "bad_redirect_uri"),
        (b'{"ok":false,"error":"<script>"}', "no token"),
        (b'{"ok":true,"access_token":"xoxb-1","scope":"chat:write"}', "channels:read, groups:read"),
    ],
)
def test_an_answer_without_a_usable_token(answer: bytes, reason: str) -> None:
    """It is told in words, and nothing of Slack's text that is not a word."""
    with pytest.raises(ValueError, match=reason):
        installation.workspace(answer)


# -- channels


async def test_channels_are_listed_over_pages() -> None:
    """A5: all that are not archived and that the bot may see, through more than two cursors, by name."""
    slack, outbound = FakeSlack(), Outbound(LOOPBACK)
    slack.page = 1
    async with serving(slack.application()) as url:
        found = await listed(outbound, bot(url))
    await outbound.close()
    assert [(each.name, each.private, each.member) for each in found] == [
        ("alerts", False, True),
        ("general", False, True),
        ("others", False, False),
        ("private", True, True),
    ]
    assert len(slack.truth.received) == 4


async def test_listing_waits_as_slack_asks_and_tells_what_is_wrong() -> None:
    """A 429 is waited for; a revoked token is an error in words, without the token."""
    slack, outbound, waits = FakeSlack(), Outbound(LOOPBACK), []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async with serving(slack.application()) as url:
        slack.script.append("ratelimited")
        assert await listed(outbound, bot(url), sleep)
        assert waits == [1.0]
        slack.revoked.add(TOKEN)
        with pytest.raises(OperatorError, match="token_revoked: The app was removed") as caught:
            await listed(outbound, bot(url), sleep)
    await outbound.close()
    assert TOKEN not in str(caught.value)


def test_another_channel_is_chosen_without_the_token() -> None:
    """`stormweir slack choose` changes the channel alone."""
    known = control(bot(mentions=["here"]))
    record, change = installation.moved(known, "default", "ops", "C0OTHERS")
    assert list(change.records) == [record]
    assert record == bot(mentions=["here"], channel="C0OTHERS")
    with pytest.raises(FieldError, match="no destination"):
        installation.moved(known, "default", "nobody", "C0OTHERS")


# -- the manifest and the settings


def test_the_manifest_asks_for_three_scopes_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A3: the list is frozen; addresses are the gateway's."""
    monkeypatch.setenv("STORMWEIR_BASE_URL", "https://alerts.example.com")
    done = CliRunner().invoke(build(), ["slack", "manifest"])
    assert done.exit_code == 0
    made: dict[str, Any] = yaml.safe_load(done.output)
    assert set(made["oauth_config"]["scopes"]["bot"]) == SCOPES
    assert list(made["oauth_config"]["scopes"]) == ["bot"]
    assert made["oauth_config"]["redirect_urls"] == ["https://alerts.example.com/slack/oauth/callback"]
    assert made["settings"]["interactivity"]["request_url"] == "https://alerts.example.com/slack/interactions"


def test_the_manifest_for_socket_mode_has_no_address_for_clicks() -> None:
    """Slack refuses a request URL beside Socket Mode to be verified, and needs none."""
    made = installation.manifest(Settings(), socket_mode=True)["settings"]
    assert (made["socket_mode_enabled"], made["interactivity"]) == (True, {"is_enabled": True})


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({}, set()),
        ({"slack_signing_secret": "s"}, {"/slack/interactions"}),
        ({"slack_client_id": "i"}, set()),
        (
            {"slack_client_id": "i", "slack_client_secret": "s"},
            {"/slack/oauth/start", "/slack/oauth/callback"},
        ),
    ],
)
async def test_pages_exist_if_they_are_set_up(fields: dict[str, str], paths: set[str]) -> None:
    """Without a secret there is no address that could be open to everybody."""
    outbound = Outbound(LOOPBACK)

    async def store(plan: Plan[SlackDestination]) -> SlackDestination:
        raise AssertionError

    assert set(gateway_slack.Slack(Settings(**fields), outbound, Incidents(), store).pages) == paths
    await outbound.close()


def test_settings_show_no_secret() -> None:
    """No secret is in the settings' text form."""
    shown = repr(Settings(slack_signing_secret="geheim", slack_client_secret="geheim", slack_app_token="geheim"))
    assert "geheim" not in shown
