"""The fake Slack refuses what Slack refuses. Each refusal is asked for by a request that is right but for one thing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import aiohttp
import orjson
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.signature import Clock, SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient
from yarl import URL

from sinks.fakes import fakes
from sinks.fakes.slack import CLIENT, SIGNING_SECRET, TOKEN, WEBHOOK, FakeSlack
from tests.sinks.fake_vendor import serving

CHANNEL = "C0ALERTS"


class Standing(Clock):
    """The fake's time."""

    def now(self) -> float:
        return 1_000.0


def section(**fields: Any) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": "x"}, **fields}


def header_of(content: str) -> dict[str, Any]:
    return {"type": "header", "text": {"type": "plain_text", "text": content}}


def header(length: int) -> dict[str, Any]:
    return header_of("x" * length)


def mrkdwn(content: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": content}


def actions(count: int, action_id: str = "") -> dict[str, Any]:
    button = {"type": "button", "text": {"type": "plain_text", "text": "x"}, "value": "x"}
    return {"type": "actions", "elements": [{**button, "action_id": action_id or f"a{n}"} for n in range(count)]}


def text(length: int) -> dict[str, Any]:
    return mrkdwn("x" * length)


@asynccontextmanager
async def client(token: str = TOKEN) -> AsyncIterator[tuple[FakeSlack, AsyncWebClient]]:
    """The fake, and Slack's own client for it; its clock stands still."""
    fake = FakeSlack(clock=lambda: 1_000.0)
    async with serving(fake.application()) as url, aiohttp.ClientSession() as session:
        yield fake, AsyncWebClient(token=token, base_url=f"{url}/api/", session=session)


async def refusal(**fields: Any) -> str:
    """The error of a message that is right but for these fields."""
    async with client() as (fake, slack):
        with pytest.raises(SlackApiError) as caught:
            await slack.api_call("chat.postMessage", json={"channel": CHANNEL, "text": "x", **fields})
        assert fake.truth.messages == []
        return str(caught.value.response["error"])


@pytest.mark.parametrize(
    ("taken", "refused", "error"),
    [
        ([header(150)], [header(151)], "invalid_blocks"),
        ([section(text=text(3_000))], [section(text=text(3_001))], "invalid_blocks"),
        ([section(fields=[text(1)] * 10)], [section(fields=[text(1)] * 11)], "invalid_blocks"),
        ([section(fields=[text(2_000)])], [section(fields=[text(2_001)])], "invalid_blocks"),
        ([actions(25)], [actions(26)], "invalid_blocks"),
        ([section()] * 50, [section()] * 51, "invalid_blocks"),
        ([section(block_id="a"), section(block_id="b")], [section(block_id="a")] * 2, "invalid_blocks"),
        ([section()], [{"type": "sections"}], "invalid_blocks"),
        ([section()], "blocks", "invalid_blocks"),
        ([header_of("🚨" * 75)], [header_of("🚨" * 76)], "invalid_blocks"),
        ([section(text=mrkdwn("🚨" * 1_500))], [section(text=mrkdwn("🚨" * 1_501))], "invalid_blocks"),
        ([actions(2)], [actions(2, "same")], "invalid_blocks"),
        ([section(text=text(3_000))] * 4, [section(text=text(2_700))] * 5, "msg_blocks_too_long"),
    ],
)
async def test_blocks(taken: object, refused: object, error: str) -> None:
    """What is just right is taken, one more is not."""
    async with client() as (fake, slack):
        await slack.api_call("chat.postMessage", json={"channel": CHANNEL, "text": "x", "blocks": taken})
        assert len(fake.truth.messages) == 1
        with pytest.raises(SlackApiError) as caught:
            await slack.api_call("chat.postMessage", json={"channel": CHANNEL, "text": "x", "blocks": refused})
        assert caught.value.response["error"] == error
        assert len(fake.truth.messages) == 1


@pytest.mark.parametrize(
    ("channel", "error"),
    [
        ("C0OTHERS", "not_in_channel"),
        ("C0NOWHERE", "channel_not_found"),
        ("G0SECRET", "channel_not_found"),
        ("C0OLD", "is_archived"),
    ],
)
async def test_channels(channel: str, error: str) -> None:
    """The bot must be in a channel that exists and is not archived; a private one is not even there."""
    assert await refusal(channel=channel) == error


async def test_text() -> None:
    """A message needs one, and an update takes 4000 bytes of it."""
    assert await refusal(text="") == "no_text"
    async with client() as (fake, slack):
        posted = await slack.chat_postMessage(channel=CHANNEL, text="x" * 5_000)
        await slack.chat_update(channel=CHANNEL, ts=posted["ts"], text="é" * 2_000)
        with pytest.raises(SlackApiError, match="msg_too_long"):
            await slack.chat_update(channel=CHANNEL, ts=posted["ts"], text="é" * 2_001)
        with pytest.raises(SlackApiError, match="message_not_found"):
            await slack.chat_update(channel="C0GENERAL", ts=posted["ts"], text="x")
        assert [message.text for message in fake.truth.messages] == ["é" * 2_000]


@pytest.mark.parametrize(("token", "error"), [("xoxb-unknown", "invalid_auth"), ("", "not_authed")])
async def test_tokens(token: str, error: str) -> None:
    """A token is known, not revoked, and has the method's scope."""
    async with client(token) as (_, slack):
        with pytest.raises(SlackApiError, match=error):
            await slack.chat_postMessage(channel=CHANNEL, text="x")
    async with client() as (fake, slack):
        fake.tokens[TOKEN] = {"channels:read"}
        await slack.conversations_list()
        with pytest.raises(SlackApiError, match="missing_scope"):
            await slack.chat_postMessage(channel=CHANNEL, text="x")
        fake.revoked.add(TOKEN)
        with pytest.raises(SlackApiError, match="token_revoked"):
            await slack.conversations_list()
        with pytest.raises(SlackApiError, match="unknown_method"):
            await slack.api_call("files.upload")


async def test_rates() -> None:
    """A second message of a channel in one second is 429; other channels and updates have rates of their own."""
    async with client() as (fake, slack):
        posted = await slack.chat_postMessage(channel=CHANNEL, text="x")
        with pytest.raises(SlackApiError) as caught:
            await slack.chat_postMessage(channel=CHANNEL, text="x")
        assert (caught.value.response.status_code, caught.value.response.headers["Retry-After"]) == (429, "1")
        await slack.chat_postMessage(channel="C0GENERAL", text="x")
        for _ in range(50):
            await slack.chat_update(channel=CHANNEL, ts=posted["ts"], text="x")
        with pytest.raises(SlackApiError, match="ratelimited"):
            await slack.chat_update(channel=CHANNEL, ts=posted["ts"], text="x")
        fake.clock = lambda: 1_001.0
        await slack.chat_postMessage(channel=CHANNEL, text="x")


async def test_a_code_is_for_one_use() -> None:
    """OAuth: other scopes, another client or secret, and the second exchange of a code are refused."""
    wanted = {
        "client_id": CLIENT[0],
        "scope": "chat:write,channels:read,groups:read",
        "redirect_uri": "https://stormweir.example.com/slack/oauth/callback",
    }
    fake = FakeSlack()
    async with serving(fake.application()) as url, aiohttp.ClientSession() as session:
        for wrong in ({"scope": "chat:write,users:read"}, {"client_id": "other"}):
            async with session.get(f"{url}/oauth/v2/authorize", params={**wanted, **wrong}) as got:
                assert got.status == 400
        async with session.get(f"{url}/oauth/v2/authorize", params=wanted, allow_redirects=False) as got:
            code = URL(got.headers["Location"]).query["code"]
        ends = []
        for secret in ("other", CLIENT[1], CLIENT[1]):
            headers = {"Authorization": aiohttp.encode_basic_auth(CLIENT[0], secret)}
            async with session.post(f"{url}/api/oauth.v2.access", data={"code": code}, headers=headers) as got:
                answer = await got.json()
                ends.append(answer.get("error") or answer["access_token"])
        assert ends == ["invalid_client_id", TOKEN, "invalid_code"]


async def test_channels_are_paged() -> None:
    """Two a page, with a cursor until the last; private ones only if asked for."""
    async with client() as (_, slack):
        names: list[str] = []
        async for page in await slack.conversations_list(types="public_channel,private_channel", exclude_archived=True):
            assert len(page["channels"]) <= 2
            names += [channel["name"] for channel in page["channels"]]
        assert names == ["general", "alerts", "others", "private"]


@pytest.mark.parametrize(
    ("path", "body", "status", "answer"),
    [
        (WEBHOOK, b'{"text":"x"}', 200, "ok"),
        (WEBHOOK, b'{"text":', 400, "invalid_payload"),
        (WEBHOOK, b"[]", 400, "invalid_payload"),
        (WEBHOOK, b'{"text":""}', 400, "no_text"),
        (WEBHOOK, b'{"text":"x","attachments":{}}', 400, "invalid_payload"),
        (WEBHOOK, b'{"text":"x","attachments":[%b{}]}' % (b"{}," * 100), 400, "too_many_attachments"),
        (WEBHOOK, b'{"text":"x","blocks":[{"type":"?"}]}', 400, "invalid_blocks"),
        (WEBHOOK + "x", b'{"text":"x"}', 403, "invalid_token"),
        ("/services/T1/B1/x", b'{"text":"x"}', 404, "no_service"),
    ],
)
async def test_webhooks(path: str, body: bytes, status: int, answer: str) -> None:
    """A webhook answers in plain text; 429 is JSON with `retry_after`, 410 is an archived channel."""
    fake = FakeSlack(clock=lambda: 1_000.0)
    async with serving(fake.application()) as url, aiohttp.ClientSession() as session:
        async with session.post(url + path, data=body) as got:
            assert (got.status, got.content_type, await got.text()) == (status, "text/plain", answer)
        assert fake.truth.accepted == len(fake.truth.messages) == (status == 200)
        if status == 200:
            async with session.post(url + path, data=body) as got:
                assert (got.status, (await got.json())["retry_after"]) == (429, 1)
            fake.channels["C0GENERAL"].archived = True
            async with session.post(url + path, data=body) as got:
                assert (got.status, await got.text()) == (410, "channel_is_archived")


async def test_a_click_is_signed_and_its_address_works_five_times() -> None:
    """Slack's own verifier takes the signature; the sixth answer is refused."""
    async with client() as (fake, slack):
        button = {"type": "button", "text": {"type": "plain_text", "text": "x"}, "action_id": "a", "value": "v"}
        posted = await slack.chat_postMessage(
            channel=CHANNEL, text="x", blocks=[{"type": "actions", "elements": [button]}]
        )
        url = str(slack.base_url).removesuffix("/api/")
        body, headers = fake.click(posted["ts"], "a", url)
        verifier = SignatureVerifier(SIGNING_SECRET, Standing())
        assert verifier.is_valid_request(body, headers)
        assert not verifier.is_valid_request(body + b" ", headers)
        response_url = orjson.loads(parse_qs(body.decode())["payload"][0])["response_url"]
        async with aiohttp.ClientSession() as session:
            statuses = []
            for _ in range(6):
                async with session.post(response_url, json={"text": "done"}) as got:
                    statuses.append(got.status)
            assert statuses == [200] * 5 + [404]
            body, _ = fake.click(posted["ts"], "a", url)
            response_url = orjson.loads(parse_qs(body.decode())["payload"][0])["response_url"]
            fake.clock = lambda: 1_000.0 + 1_801
            async with session.post(response_url, json={"text": "late"}) as got:
                assert got.status == 404
        assert len(fake.truth.responses) == 5


async def test_it_tells_what_it_saw() -> None:
    """`GET /_seen`: received, accepted, what people see, and who was notified."""
    async with client() as (_, slack), aiohttp.ClientSession() as session:
        await slack.chat_postMessage(channel=CHANNEL, text="<!channel> x")
        async with session.get(str(slack.base_url).removesuffix("/api/") + "/_seen") as got:
            seen = await got.json()
        assert (len(seen["received"]), seen["accepted"], seen["refusals"]) == (1, 1, [])
        assert (seen["messages"][0]["text"], seen["messages"][0]["notified"]) == ("<!channel> x", ["<!channel>"])
        assert TOKEN not in str(seen)


def test_it_is_found_by_being_there() -> None:
    """Each module of the folder is a fake with a description and an application."""
    found = fakes()
    assert "slack" in found
    assert all(fake.about and callable(fake.application) for fake in found.values())
