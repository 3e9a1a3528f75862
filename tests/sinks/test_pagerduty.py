"""The PagerDuty channel: what the vendor sees, and what its answers mean.

The outside judge is SCHEMA, written from PagerDuty's documentation of the event
(https://developer.pagerduty.com/docs/send-alert-event, https://developer.pagerduty.com/api-reference events-v2).
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import jsonschema
import pytest
from aiohttp import web
from pydantic import ValidationError

from schemas.control import dump
from schemas.wire.alert import Severity
from schemas.wire.incident import Status
from schemas.wire.notification import Notification, Transition
from sinks.channels import pagerduty
from sinks.channels.pagerduty import PagerDutyDestination, classify
from sinks.contract import DONE, End, Message
from sinks.fakes.pagerduty import application
from sinks.outbound import Answer, ErrorCode
from tests.sinks.outbox_room import room
from tests.sinks.samples import QUEUED_AT, control, message, notification, of_incident, recording

KEY = "5f0c2a9d7e4b41c8a3d6f1b20e987c65"
ALERT = "00010203-0405-0607-0809-0a0b0c0d0e0f"
SCHEMA = {
    "type": "object",
    "required": ["routing_key", "event_action"],
    "additionalProperties": False,
    "properties": {
        "routing_key": {"type": "string", "pattern": "^[A-Za-z0-9]{32}$"},
        "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
        "dedup_key": {"type": "string", "minLength": 1, "maxLength": 255},
        "client": {"type": "string"},
        "client_url": {"type": "string", "pattern": "^https?://"},
        "payload": {
            "type": "object",
            "required": ["summary", "source", "severity"],
            "additionalProperties": False,
            "properties": {
                "summary": {"type": "string", "minLength": 1, "maxLength": 1024},
                "source": {"type": "string", "minLength": 1},
                "severity": {"enum": ["critical", "error", "warning", "info"]},
                "timestamp": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z$"},
                "component": {"type": "string"},
                "group": {"type": "string"},
                "class": {"type": "string"},
                "custom_details": {"type": "object"},
            },
        },
        "links": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["href"],
                "additionalProperties": False,
                "properties": {"href": {"type": "string", "pattern": "^https?://"}, "text": {"type": "string"}},
            },
        },
        "images": {"type": "array"},
    },
    "if": {"properties": {"event_action": {"const": "trigger"}}},
    "then": {"required": ["payload"]},
    "else": {"required": ["dedup_key"]},
}
CHANGES = {
    Transition.TRIGGERED: Status.OPEN,
    Transition.ESCALATED: Status.OPEN,
    Transition.ACKNOWLEDGED: Status.ACKNOWLEDGED,
    Transition.RESOLVED: Status.RESOLVED,
    Transition.UNACKNOWLEDGED: Status.OPEN,
    Transition.REMINDER: Status.OPEN,
    Transition.SLA_BREACH: Status.OPEN,
    Transition.UPDATED: Status.OPEN,
}


def settings(**fields: object) -> PagerDutyDestination:
    """The destination `ops`."""
    return PagerDutyDestination.model_validate({"id": "ops", "routing_key": KEY, **fields})


def told(*transitions: Transition, **changes: object) -> Message:
    """A message of these changes."""
    newest = notification(transition=transitions[-1], status=CHANGES[transitions[-1]], **changes)
    return message(newest)._replace(told=transitions)


def events(one: Message, **fields: object) -> list[dict[str, Any]]:
    """The events of a message, each valid by PagerDuty's schema and within its size."""
    bodies = [request.body for request in pagerduty.render(one, settings(**fields), "")]
    assert max(map(len, bodies)) <= 512_000
    found = [json.loads(body) for body in bodies]
    for event in found:
        jsonschema.validate(event, SCHEMA)
    return found


@asynccontextmanager
async def vendor(clock: Any = None) -> AsyncIterator[str]:
    """A PagerDuty on loopback; its address."""
    runner = web.AppRunner(application(clock) if clock else application(), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def seen(address: str) -> dict[str, Any]:
    """What PagerDuty knows."""
    async with aiohttp.ClientSession() as session, session.get(f"{address}/_seen") as answer:
        found: dict[str, Any] = await answer.json()
        return found


def test_an_event_has_what_pagerduty_shows() -> None:
    """Title, source, severity, time, service, details, link and client; the key of the service is in the body."""
    [request] = pagerduty.render(told(Transition.TRIGGERED), settings(), "")
    assert request.url == "https://events.pagerduty.com/v2/enqueue"
    assert request.headers == {"Content-Type": "application/json"}
    link = f"https://stormweir.example.com/incidents/{ALERT}"
    assert json.loads(request.body) == {
        "routing_key": KEY,
        "event_action": "trigger",
        "dedup_key": ALERT,
        "client": "Stormweir",
        "client_url": link,
        "links": [{"href": link, "text": "Incident in Stormweir"}],
        "payload": {
            "summary": 'Disk "full" on db-1 ☃',
            "source": "db-1",
            "severity": "critical",
            "timestamp": "2025-10-09T08:48:20.000Z",
            "group": "pay ments/eu",
            "custom_details": {
                "service": "pay ments/eu",
                "dedup_key": "db-1/disk",
                "urgency": "high",
                "alert_count": 7,
                "repeat_count": 5,
                "member_count": 2,
                "labels": {"env": "prod"},
            },
        },
    }


@pytest.mark.parametrize(
    ("transitions", "actions"),
    [
        ((Transition.TRIGGERED,), ["trigger"]),
        ((Transition.ESCALATED,), ["trigger"]),
        ((Transition.ACKNOWLEDGED,), ["acknowledge"]),
        ((Transition.RESOLVED,), ["resolve"]),
        ((Transition.TRIGGERED, Transition.ACKNOWLEDGED), ["trigger", "acknowledge"]),
        ((Transition.TRIGGERED, Transition.RESOLVED), ["trigger", "resolve"]),
        ((Transition.ESCALATED, Transition.RESOLVED), ["resolve"]),
        ((Transition.ACKNOWLEDGED, Transition.ESCALATED), ["trigger", "acknowledge"]),
        ((Transition.ACKNOWLEDGED, Transition.UNACKNOWLEDGED), ["trigger"]),
        ((Transition.REMINDER,), ["trigger"]),
        ((Transition.REMINDER, Transition.RESOLVED), ["resolve"]),
        ((Transition.SLA_BREACH, Transition.ACKNOWLEDGED), ["trigger", "acknowledge"]),
        (tuple(Transition), ["trigger", "resolve"]),
    ],
)
def test_the_actions_tell_what_changed(transitions: tuple[Transition, ...], actions: list[str]) -> None:
    """What PagerDuty has not heard of is triggered first, all with the incident's own key."""
    found = events(told(*transitions, severity=Severity.WARNING))
    assert [event["event_action"] for event in found] == actions
    assert {event["dedup_key"] for event in found} == {ALERT}
    assert {event["payload"]["severity"] for event in found if "payload" in event} <= {"warning"}


def test_a_test_leaves_no_alert_behind() -> None:
    """A test is triggered and resolved, under a key that no incident has."""
    found = events(message()._replace(test=True))
    assert [event["event_action"] for event in found] == ["trigger", "resolve"]
    assert {event["dedup_key"] for event in found} == {f"test-{ALERT}"}


@pytest.mark.parametrize("fill", ["x", "\U0001f6a8", "e\u0301", "\U0001f469\U0001f3fd\u200d\U0001f692", "\x01"])
def test_a_long_summary_is_cut(fill: str) -> None:
    """A summary has at most 1,024 characters, and none of them is cut through."""
    [event] = events(told(Transition.TRIGGERED, title=fill * 2_000))
    summary = event["payload"]["summary"]
    assert 1_010 < len(summary) <= 1_024
    assert summary.removesuffix("…").replace(fill, "") == ""


@pytest.mark.parametrize("size", [60, 600])
def test_an_event_that_is_too_large_goes_without_details(size: int) -> None:
    """Over 512,000 bytes the details are left out, and nothing else is."""
    labels = {f"label {number}": "\u96ea" * 500 for number in range(size)}
    [event] = events(told(Transition.TRIGGERED, labels=labels))
    assert ("custom_details" in event["payload"]) is (size == 60)
    assert event["payload"]["summary"] == 'Disk "full" on db-1 ☃'


@pytest.mark.parametrize("blank", ["", " ", "\t\n"])
def test_what_is_blank_has_another_text(blank: str) -> None:
    """PagerDuty refuses a blank summary or source."""
    [event] = events(told(Transition.TRIGGERED, title=blank, source=blank, service="pay"))
    assert event["payload"]["summary"].strip()
    assert event["payload"]["source"] == "pay"
    [event] = events(told(Transition.TRIGGERED, source=blank, service=blank))
    assert event["payload"]["source"].strip()


def test_europe_has_its_own_address() -> None:
    """`region` decides where events go, `url` overrides it."""
    [europe] = pagerduty.render(message(), settings(region="eu"), "")
    [other] = pagerduty.render(message(), settings(region="eu", url="https://proxy.example.com/v2/enqueue"), "")
    assert europe.url == "https://events.eu.pagerduty.com/v2/enqueue"
    assert other.url == "https://proxy.example.com/v2/enqueue"


@pytest.mark.parametrize("given", [KEY, f"Token token={KEY}", f'Token token="{KEY}"', f" {KEY}\n"])
def test_the_key_may_be_copied_with_its_header(given: str) -> None:
    """Contract A36: the header's form that other products ask for is taken; the key goes into the body."""
    assert settings(routing_key=given).routing_key == KEY


@pytest.mark.parametrize("wrong", ["u+wyKs9TxAbcDefGhiJk", KEY[:-1], KEY + "a", KEY[:-1] + "-", "", 5])
def test_another_key_is_refused_without_being_shown(wrong: object) -> None:
    """An API access key, or one that was cut, is refused by its field's name."""
    with pytest.raises(ValidationError) as caught:
        settings(routing_key=wrong)
    assert [issue["loc"] for issue in caught.value.errors()] == [("routing_key",)]
    assert not wrong or wrong == 5 or str(wrong) not in str(caught.value)


@pytest.mark.parametrize("limit", [10, 19, 120, 600, 10_000])
def test_no_minute_has_more_events_than_the_limit(limit: int) -> None:
    """What the bucket holds and what refills in 60 s is no more than the limit, and nearly all of it."""
    [request] = pagerduty.render(message(), settings(rate_limit=limit), "")
    [rate] = request.rates
    assert limit * 0.9 < rate.burst + 60 * rate.per_second <= limit


def test_destinations_of_one_key_share_its_limit() -> None:
    """The scope follows from the key alone, and does not show it."""
    scopes = [
        pagerduty.render(message(), settings(**fields), "")[0].rates[0].scope
        for fields in ({}, {"id": "other"}, {"routing_key": KEY[::-1]})
    ]
    assert scopes[0] == scopes[1] != scopes[2]
    assert KEY not in scopes[0]


INVALID = b'{"status":"invalid event","message":"Event object is invalid","errors":["%s"]}'


@pytest.mark.parametrize(
    ("answer", "end", "reason", "broken"),
    [
        (Answer(202, body=b'{"status":"success","message":"Event processed","dedup_key":"x"}'), End.DONE, "", False),
        (Answer(200, body=b'{"status":"success"}'), End.DONE, "", False),
        (Answer(200, body=b"<html>log in</html>"), End.REFUSED, "not_pagerduty", True),
        (
            Answer(400, body=INVALID % b"Length of 'routing_key' is incorrect (should be 32 characters)"),
            End.REFUSED,
            "bad_routing_key",
            True,
        ),
        (
            Answer(400, body=b'{"status":"invalid event","message":"Invalid routing key"}'),
            End.REFUSED,
            "bad_routing_key",
            True,
        ),
        (Answer(400, body=INVALID % b"'payload.severity' is invalid"), End.REFUSED, "invalid_event", False),
        (Answer(400), End.REFUSED, "invalid_event", False),
        (Answer(404), End.REFUSED, "not_found", True),
        (Answer(429, 7.0), End.RETRY, "rate_limited", False),
        (Answer(503), End.RETRY, "unavailable", False),
        (Answer(0, error_code=ErrorCode.TIMEOUT), End.RETRY, "timeout", False),
    ],
)
def test_verdict(answer: Answer, end: End, reason: str, broken: bool) -> None:
    """Only PagerDuty's own success is done; a wrong key breaks the destination, a wrong event does not."""
    verdict = classify(answer)
    assert (verdict.end, verdict.reason, verdict.broken) == (end, reason, broken)
    assert verdict == DONE or verdict.retry_after_s == answer.retry_after_s


def _life(number: int) -> list[Notification]:
    return [
        of_incident(number, Transition.TRIGGERED, severity=Severity.WARNING),
        of_incident(number, Transition.ESCALATED, version=4),
        of_incident(number, Transition.ACKNOWLEDGED, version=5, status=Status.ACKNOWLEDGED),
        of_incident(number, Transition.RESOLVED, version=6, status=Status.RESOLVED),
    ]


async def test_the_life_of_an_incident_is_one_alert() -> None:
    """Trigger, a rise, an acknowledge and a resolve are one alert in PagerDuty that ends resolved."""
    async with vendor() as address, room(control(settings(url=f"{address}/v2/enqueue"))) as opened:
        for count, each in enumerate(_life(1), 1):
            opened.take(each)
            await opened.ended(count)
        found = await seen(address)
    [alert] = found["alerts"].values()
    assert alert["history"] == ["trigger", "trigger", "acknowledge", "resolve"]
    assert (alert["state"], alert["severity"]) == ("resolved", "critical")
    assert found["dropped"] == []
    assert opened.ends == [("delivered", "")] * 4


async def test_what_joins_is_told_in_order() -> None:
    """An incident that was acknowledged before its first message left is triggered and acknowledged, none dropped."""
    target = settings(url="http://127.0.0.1:1/", enabled=False)
    async with vendor() as address, room(control(target)) as opened:
        opened.take(*_life(1)[:3])
        opened.control.apply("destination/default/ops", dump(settings(url=f"{address}/v2/enqueue")))
        await opened.ended(3, step=1)
        found = await seen(address)
    [alert] = found["alerts"].values()
    assert (alert["history"], alert["state"], found["dropped"]) == (["trigger", "acknowledge"], "acknowledged", [])


async def test_what_is_sent_twice_is_one_alert() -> None:
    """A message that is sent again, as after a kill, changes nothing in PagerDuty: the same key is the same alert."""
    async with vendor() as address, room(control(settings(url=f"{address}/v2/enqueue"))) as opened:
        for count in (1, 2):
            opened.take(notification(), redeliver=True)
            await opened.ended(count)
        found = await seen(address)
    assert (found["accepted"], len(found["alerts"])) == (2, 1)
    first, second = found["received"]
    assert first == second


async def test_a_storm_stays_within_the_limit() -> None:
    """250 incidents at once: PagerDuty, which counts a sliding minute, refuses none, and all are there."""
    async with room(control()) as opened, vendor(lambda: opened.time.now / 1000) as address:
        opened.control.apply("destination/default/ops", dump(settings(url=f"{address}/v2/enqueue")))
        opened.take(*(of_incident(number) for number in range(250)))
        await opened.ended(250, step=0.1)
        found = await seen(address)
    assert (found["limited"], found["accepted"], len(found["alerts"])) == (0, 250, 250)
    assert opened.time.now - QUEUED_AT > 60_000


async def test_a_key_that_pagerduty_does_not_know_is_told() -> None:
    """A 400 about the key ends the message with that reason, and nobody sees an alert."""
    refusal = {"status": "invalid event", "message": "Event object is invalid", "errors": ["Invalid routing key"]}
    async with (
        recording(web.json_response(refusal, status=400)) as server,
        room(control(settings(url=server.url))) as opened,
    ):
        opened.take(notification())
        await opened.ended(1)
    assert opened.ends == [("failed", "bad_routing_key")]
    assert [letter.error for letter in opened.dead_letters] == ["bad_routing_key"]
