"""The fakes refuse what their vendors refuse: each refusal, switched off, fails a test here."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from sinks.fakes import pagerduty, teams

KEY = "5f0c2a9d7e4b41c8a3d6f1b20e987c65"


@asynccontextmanager
async def served(application: web.Application) -> AsyncIterator[Callable[..., Any]]:
    """`await ask(path, body)` posts, `await ask(path)` gets; both give status and JSON."""
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        base = f"http://127.0.0.1:{runner.addresses[0][1]}"

        async with aiohttp.ClientSession() as session:

            async def ask(path: str, body: object = None) -> tuple[int, Any]:
                data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
                method = "GET" if data is None else "POST"
                async with session.request(method, base + path, data=data) as answer:
                    content = await answer.read()
                    return answer.status, json.loads(content) if content else None

            yield ask
    finally:
        await runner.cleanup()


def event(**changes: object) -> dict[str, Any]:
    """A good trigger of PagerDuty, changed; None takes a field away, `payload__x` is a field of the payload."""
    payload = {"summary": "s", "source": "h", "severity": "error"}
    good: dict[str, Any] = {"routing_key": KEY, "event_action": "trigger", "dedup_key": "d", "payload": payload}
    for name, value in changes.items():
        place = payload if name.startswith("payload__") else good
        field = name.removeprefix("payload__")
        place[field] = value
        if value is None:
            del place[field]
    return good


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"routing_key": None}, "'routing_key' is missing"),
        ({"routing_key": "short"}, "should be 32"),
        ({"routing_key": KEY[:-1] + "-"}, "non-alphanumeric"),
        ({"event_action": "open"}, "event_action"),
        ({"dedup_key": "x" * 256}, "dedup_key"),
        ({"payload": None}, "payload"),
        ({"payload__summary": None}, "summary"),
        ({"payload__summary": "x" * 1025}, "summary"),
        ({"payload__source": " "}, "source"),
        ({"payload__severity": None}, "severity"),
        ({"payload__severity": "fatal"}, "severity"),
        ({"event_action": "resolve", "dedup_key": None}, "dedup_key"),
    ],
)
async def test_pagerduty_refuses_a_wrong_event(changes: dict[str, Any], words: str) -> None:
    """400, `invalid event`, and which field; nobody sees anything."""
    async with served(pagerduty.application()) as ask:
        status, answer = await ask("/v2/enqueue", event(**changes))
        _, known = await ask("/_seen")
    assert (status, answer["status"]) == (400, "invalid event")
    assert words in " ".join(answer["errors"])
    assert (known["accepted"], known["alerts"]) == (0, {})


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"'])
async def test_pagerduty_refuses_what_is_no_event(body: bytes) -> None:
    """A body that is no JSON object is refused."""
    async with served(pagerduty.application()) as ask:
        status, _ = await ask("/v2/enqueue", body)
    assert status == 400


async def test_pagerduty_refuses_a_large_event() -> None:
    """512,000 bytes are taken, one more is not."""
    async with served(pagerduty.application()) as ask:
        good = json.dumps(event()).encode()
        statuses = [(await ask("/v2/enqueue", good.ljust(size)))[0] for size in (512_000, 512_001)]
    assert statuses == [202, 413]


async def test_pagerduty_takes_120_a_minute_of_a_key() -> None:
    """The 121st event within 60 s of one key is refused, another key's is not, and room comes back as time passes."""
    now = 0.0
    async with served(pagerduty.application(lambda: now)) as ask:
        first = [(await ask("/v2/enqueue", event()))[0] for _ in range(121)]
        other, _ = await ask("/v2/enqueue", event(routing_key=KEY[::-1]))
        now = 60.0
        again, _ = await ask("/v2/enqueue", event())
    assert first == [202] * 120 + [429]
    assert (other, again) == (202, 202)


async def test_pagerduty_drops_the_end_of_what_it_does_not_know() -> None:
    """202, but nobody sees an acknowledge or resolve of another key's alert, or of a resolved one."""
    async with served(pagerduty.application()) as ask:
        await ask("/v2/enqueue", event())
        await ask("/v2/enqueue", event(event_action="resolve", routing_key=KEY[::-1]))
        await ask("/v2/enqueue", event(event_action="acknowledge", dedup_key="other"))
        _, before = await ask("/_seen")
        await ask("/v2/enqueue", event(event_action="resolve"))
        await ask("/v2/enqueue", event(event_action="acknowledge"))
        _, after = await ask("/_seen")
    assert (len(before["dropped"]), len(after["dropped"])) == (2, 3)
    assert [alert["state"] for alert in before["alerts"].values()] == ["triggered"]
    assert [alert["state"] for alert in after["alerts"].values()] == ["resolved"]
    assert after["accepted"] == 5


def card(*body: object, **fields: object) -> dict[str, Any]:
    """A good message of Teams with these elements; `fields` are the card's."""
    content = {"type": "AdaptiveCard", "version": "1.5", "body": list(body), **fields}
    return {
        "type": "message",
        "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": content}],
    }


TEXT = {"type": "TextBlock", "text": "hello"}
WORKFLOW = f"/workflow?sig={teams.SIG}"


async def test_teams_refuses_another_signature() -> None:
    """401 if the address's `sig` is wrong or missing; nothing runs."""
    async with served(teams.application()) as ask:
        statuses = [(await ask(path, card(TEXT)))[0] for path in ("/workflow", "/workflow?sig=other")]
        _, known = await ask("/_seen")
    assert statuses == [401, 401]
    assert known["runs"] == []


@pytest.mark.parametrize(
    "message",
    [
        b"{",
        {"text": "an old message card"},
        {"type": "message", "attachments": []},
        {"type": "message", "attachments": [{"contentType": "text/html", "content": {}}]},
        card(TEXT)["attachments"][0]["content"],
    ],
    ids=range(5),
)
async def test_teams_refuses_another_envelope(message: object) -> None:
    """400 for what is no message with Adaptive Cards in it."""
    async with served(teams.application()) as ask:
        status, answer = await ask(WORKFLOW, message)
        _, known = await ask("/_seen")
    assert (status, known["runs"]) == (400, [])
    assert answer["error"]["code"]


async def test_teams_throttles() -> None:
    """The 101st call of a minute is answered 429."""
    now = 0.0
    async with served(teams.application(lambda: now)) as ask:
        statuses = [(await ask(WORKFLOW, card(TEXT)))[0] for _ in range(101)]
        now = 60.0
        again, _ = await ask(WORKFLOW, card(TEXT))
    assert statuses == [202] * 100 + [429]
    assert again == 202


@pytest.mark.parametrize(
    "message",
    [
        card({"type": "TextBlock", "text": "x" * 28_800}),
        card(TEXT, version="1.6"),
        card({"type": "Text", "text": "hello"}),
        card({"type": "TextBlock"}),
        card({"type": "TextBlock", "text": ""}),
        card({"type": "TextBlock", "text": "hello", "onclick": "x"}),
        card({"type": "TextBlock", "text": "hello", "color": "Red"}),
        card({"type": "Container", "items": [{"type": "TextBlock"}]}),
        card(TEXT, actions=[{"type": "Action.Submit", "title": "Acknowledge"}]),
        card(TEXT, actions=[{"type": "Action.OpenUrl", "url": "javascript:alert(1)"}]),
        card(TEXT, actions=[{"type": "Action.OpenUrl", "url": "https://example.com", "style": "destructive"}]),
    ],
    ids=range(11),
)
async def test_teams_takes_what_it_cannot_show(message: object) -> None:
    """202, but the run fails and nobody sees a post."""
    async with served(teams.application()) as ask:
        status, _ = await ask(WORKFLOW, message)
        _, known = await ask("/_seen")
    assert status == 202
    assert [run["status"] for run in known["runs"]] == ["Failed"]
    assert known["posts"] == []


async def test_teams_reads_markdown_and_mentions() -> None:
    """Links in text blocks can be clicked, and entities are mentioned."""
    mention = {"entities": [{"type": "mention", "text": "<at>Ann</at>"}]}
    block = {"type": "TextBlock", "text": "see [this](https://evil.example)"}
    async with served(teams.application()) as ask:
        await ask(WORKFLOW, card(block, msteams=mention))
        _, known = await ask("/_seen")
    assert known["posts"] == [
        {"text": "see this", "links": ["https://evil.example"], "mentions": ["<at>Ann</at>"]},
    ]
