"""The Teams channel: what people see, and what answers mean. The outside judge is Microsoft's own model of cards."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from microsoft_teams.cards.core import SerializableObject
from pydantic import ValidationError

from schemas.control import dump
from schemas.wire.alert import Severity
from schemas.wire.incident import Status
from schemas.wire.notification import MAX_RELATED, Transition
from sinks.channels import teams
from sinks.channels.teams import TeamsDestination, classify
from sinks.contract import Digest, End, Message, Request
from sinks.fakes.teams import SIG, application
from sinks.outbound import Answer, ErrorCode
from tests.sinks.outbox_room import Room, room
from tests.sinks.samples import BASE_URL, QUEUED_AT, control, message, notification, of_incident, related

URL = "https://default0.1.environment.api.powerplatform.com/powerautomate/automations/direct/workflows/0/paths/invoke?sig=x"
LINK = "https://stormweir.example.com/incidents/00010203-0405-0607-0809-0a0b0c0d0e0f"


def settings(url: str = URL, **fields: object) -> TeamsDestination:
    """The destination `ops`."""
    return TeamsDestination.model_validate({"id": "ops", "url": url, **fields})


def _models(base: type[SerializableObject] = SerializableObject) -> Iterator[tuple[str, type[SerializableObject]]]:
    """Microsoft's models by the `type` that they stand for."""
    for model in base.__subclasses__():
        if "type" in model.model_fields:
            yield model.model_fields["type"].default, model
        yield from _models(model)


MODELS = dict(_models())


def _parts(value: object) -> Iterator[dict[str, Any]]:
    """All objects with a type in a card."""
    if isinstance(value, dict):
        if "type" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _parts(each)


def judged(request: Request) -> dict[str, Any]:
    """The card of a message, which Microsoft's model knows in every part, within Teams' size and version."""
    assert len(request.body) <= 28_000
    envelope = json.loads(request.body)
    [attachment] = envelope["attachments"]
    assert (envelope["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    card: dict[str, Any] = attachment["content"]
    parts = list(_parts(card))
    assert len(parts) > 5
    for part in parts:
        model = MODELS[part["type"]].model_validate(part)
        assert not set(model.model_extra or {}) - {"$schema"}
    assert tuple(map(int, card["version"].split("."))) <= (1, 5)
    assert {action["type"] for action in card["actions"]} == {"Action.OpenUrl"}
    assert not any("style" in action for action in card["actions"])
    return card


def rendered(one: Message) -> dict[str, Any]:
    """The card of a message."""
    [request] = teams.render(one, settings(), "")
    return judged(request)


def lines(card: dict[str, Any]) -> list[str]:
    """The lines of a card."""
    return ["".join(run["text"] for run in block["inlines"]) for block in card["body"]]


@asynccontextmanager
async def channel() -> AsyncIterator[tuple[Room, str]]:
    """An outbox whose destination is a workflow on loopback; its address."""
    async with room(control()) as opened:
        runner = web.AppRunner(application(lambda: opened.time.now / 1000), access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            address = f"http://127.0.0.1:{runner.addresses[0][1]}"
            opened.control.apply("destination/default/ops", dump(settings(f"{address}/workflow?sig={SIG}")))
            yield opened, address
        finally:
            await runner.cleanup()


async def seen(address: str) -> dict[str, Any]:
    """What the workflow and its channel know."""
    async with aiohttp.ClientSession() as session, session.get(f"{address}/_seen") as answer:
        found: dict[str, Any] = await answer.json()
        return found


def test_a_card_has_what_people_need() -> None:
    """Contract A9: name, severity, what triggered it, figures, and a button that opens the incident."""
    card = rendered(message())
    assert lines(card) == [
        'Disk "full" on db-1 ☃',
        "Status: triggered",
        "Severity: critical, urgency high",
        "Service: pay ments/eu",
        "Source: db-1",
        "Opened: 2025-10-09T08:48:20Z",
        "Alerts: 7, of these 5 repeats",
        "env: prod",
    ]
    assert card["actions"] == [{"type": "Action.OpenUrl", "title": "Open the incident", "url": LINK}]
    assert card["fallbackText"] == 'Disk "full" on db-1 ☃'


def test_colours_and_words_follow_the_state() -> None:
    """A resolved incident is green; a message tells all that happened; a test says that it is one."""
    resolved = message(notification(transition=Transition.RESOLVED, status=Status.RESOLVED))
    both = resolved._replace(told=(Transition.TRIGGERED, Transition.RESOLVED), test=True)
    card = rendered(both)
    assert lines(card)[1] == "Status: triggered, resolved (this is a test)"
    assert card["body"][0]["inlines"][0]["color"] == "Good"
    warned = rendered(message(notification(severity=Severity.WARNING)))
    assert warned["body"][0]["inlines"][0]["color"] == "Warning"


@pytest.mark.parametrize("fill", ["x", "\x01", "\U0001f6a8", "\U0001f469\U0001f3fd\u200d\U0001f692", "e\u0301"])
@pytest.mark.parametrize("count", [1, 40, 3_000])
def test_a_card_is_kept_small(fill: str, count: int) -> None:
    """28 KB hold in the worst case: labels are left out and counted, then texts are cut, the rest stays."""
    text = fill * 3_000
    labels = {f"{number}{text}": text for number in range(count)}
    card = rendered(message(notification(title=text, source=text, service=text, labels=labels)))
    others = related(MAX_RELATED, title=text, service=text)
    named = lines(rendered(message(msgspec.structs.replace(notification(title=text, labels=labels), related=others))))
    listed = [line for line in named if line.startswith("Also new: ")]
    assert len(listed) == MAX_RELATED or f"and {MAX_RELATED - len(listed)} more incidents" in named
    shown = lines(card)
    assert len(shown[0]) <= 500
    assert shown[5] == "Opened: 2025-10-09T08:48:20Z"
    left = shown[-1].removeprefix("and ").removesuffix(" more labels")
    assert (len(shown) == 7 + count) or (int(left) == count - (len(shown) - 8))
    assert card["actions"][0]["url"] == LINK


def test_a_summary_names_the_worst() -> None:
    """A digest says how many changed, names what fits with links, and counts the rest."""
    incidents = [of_incident(number, title=f"t{number} " + "\U0001f6a8" * 500).incident for number in range(40)]
    many = Digest("x", 4_000, {Severity.CRITICAL: 3_990, Severity.INFO: 10}, 12, incidents, BASE_URL[:-1], QUEUED_AT)
    [request] = teams.summarise(many, settings())
    card = judged(request)
    shown = lines(card)
    assert shown[:3] == ["4000 incidents changed", "3990 critical, 10 info", "12 of them are resolved."]
    named = shown[3:-1]
    assert named[0].startswith("critical: t0 ")
    assert len(named) >= 10
    assert shown[-1] == f"and {4_000 - len(named)} more"
    assert card["actions"] == [{"type": "Action.OpenUrl", "title": "Open Stormweir", "url": BASE_URL[:-1]}]


@pytest.mark.parametrize(
    "url",
    [
        "https://example.webhook.office.com/webhookb2/1@2/IncomingWebhook/geheim/3",
        "https://outlook.office.com/webhook/1@2/IncomingWebhook/geheim/3",
        "https://OUTLOOK.office365.com/webhook/geheim",
    ],
)
def test_an_old_connector_is_refused_with_what_to_do(url: str) -> None:
    """The error names the field and the way out, and shows nothing of the address."""
    with pytest.raises(ValidationError) as caught:
        settings(url)
    [issue] = caught.value.errors()
    assert issue["loc"] == ("url",)
    assert "Send webhook alerts to a channel" in issue["msg"]
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("host", ["prod-01.westeurope.logic.azure.com", "notwebhook.office.com.example.com"])
def test_other_hosts_are_taken(host: str) -> None:
    """An older workflow's address, and any that only looks like a connector's, may be tried."""
    assert settings(f"https://{host}/workflows/x?sig=y").url


@pytest.mark.parametrize(
    ("answer", "end", "reason", "broken"),
    [
        (Answer(202), End.DONE, "", False),
        (Answer(200), End.DONE, "", False),
        (Answer(400, body=b'{"error":{"code":"TriggerInputSchemaMismatch"}}'), End.REFUSED, "bad_message", False),
        (Answer(400, body=b'{"error":{"code":"WorkflowTriggerIsNotEnabled"}}'), End.REFUSED, "workflow_off", True),
        (Answer(401), End.REFUSED, "bad_signature", True),
        (Answer(403, body=b'{"error": 5}'), End.REFUSED, "bad_signature", True),
        (Answer(404), End.REFUSED, "workflow_gone", True),
        (Answer(429, 10.0), End.RETRY, "rate_limited", False),
        (Answer(502), End.RETRY, "unavailable", False),
        (Answer(0, error_code=ErrorCode.DNS), End.RETRY, "dns", False),
    ],
)
def test_verdict(answer: Answer, end: End, reason: str, broken: bool) -> None:
    """202 is done, as Teams tells no more; a wrong signature breaks the destination, a wrong message does not."""
    verdict = classify(answer)
    assert (verdict.end, verdict.reason, verdict.broken) == (end, reason, broken)
    assert verdict.retry_after_s == answer.retry_after_s


HOSTILE = (
    "<at>all</at> <!channel> @everyone",
    "[click](https://evil.example) **b** ![x](https://evil.example/x.png)",
    "a\r\nb\x00\x1b[31m",
    '<img src=x onerror="alert(1)">',
    "{{ 7*7 }} {{DATE(2020-01-01T00:00:00Z)}} ${title} @{triggerBody()}",
    "=cmd()|' /C calc'!A0",
    "x" * 499 + "\U0001f469\U0001f3fd\u200d\U0001f692",
)


async def test_people_see_hostile_text_as_it_is() -> None:
    """What Teams shows is the text itself: no link but ours, nobody is mentioned, and every run succeeds."""
    async with channel() as (opened, address):
        for number, text in enumerate(HOSTILE, 1):
            labels = {text: text}
            opened.take(of_incident(number, title=text, source=text, service=text, labels=labels))
        await opened.ended(len(HOSTILE), step=0.1)
        found = await seen(address)
    assert [run["status"] for run in found["runs"]] == ["Succeeded"] * len(HOSTILE)
    for post in found["posts"]:
        assert len(post["links"]) == 1
        assert post["links"][0].startswith("https://stormweir.example.com/incidents/")
        assert post["mentions"] == []
    titles = {post["text"].split("\nStatus: ")[0] for post in found["posts"]}
    assert titles >= {text for text in HOSTILE if len(text) < 500}
    assert "x" * 499 + "…" in titles


async def test_a_storm_becomes_a_few_cards() -> None:
    """More than the rate carries is told in summaries; critical incidents have their own cards; none is throttled."""
    async with channel() as (opened, address):
        minor = [of_incident(number, severity=Severity.WARNING) for number in range(1, 301)]
        opened.take(*minor, *(of_incident(number) for number in range(301, 304)))
        await opened.ended(303, step=0.1)
        found = await seen(address)
    assert found["limited"] == 0
    assert {run["status"] for run in found["runs"]} == {"Succeeded"}
    texts = [post["text"] for post in found["posts"]]
    assert len([text for text in texts if "Severity: critical" in text]) == 3
    summaries = [text for text in texts if "incidents changed" in text]
    assert summaries
    assert len(texts) < 100
    single = len([text for text in texts if "Severity: warning" in text])
    assert single + sum(int(text.split(" ")[0]) for text in summaries) == 300
