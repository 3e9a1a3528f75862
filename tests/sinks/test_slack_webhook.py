"""The channel of Slack-compatible webhooks against the fake's webhook; other products' answers by example."""

from typing import Any

import orjson
import pytest

from schemas.wire.alert import Severity
from schemas.wire.incident import Status
from schemas.wire.notification import Transition
from sinks.channels import slack_webhook
from sinks.contract import COMMON_HELP, Digest, End, Request
from sinks.fakes import _slack_rules
from sinks.outbound import Answer
from tests.sinks.samples import QUEUED_AT, message, notification, of_incident
from tests.sinks.slack_room import hook, slack_room
from tests.sinks.test_slack import HOSTILE, everywhere


def body(request: Request) -> dict[str, Any]:
    """What a request sends."""
    found = orjson.loads(request.body)
    assert isinstance(found, dict)
    return found


def test_the_message_has_the_five_parts() -> None:
    """A9: name and link, severity, condition and metrics, in the fields that all three products show."""
    [request] = slack_webhook.render(message(), hook(), "")
    content = body(request)
    [attachment] = content["attachments"]
    fields = {field["title"]: field["value"] for field in attachment["fields"]}
    assert content["text"] == 'Triggered: 🔴 Disk "full" on db-1 ☃'
    assert attachment["title"] == '🔴 Disk "full" on db-1 ☃'
    assert attachment["title_link"] == "https://stormweir.example.com/incidents/00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert fields == {
        "Severity": "critical",
        "Status": "open",
        "Service": "pay ments/eu",
        "Condition": "alert db-1/disk from db-1",
        "Alerts": "7",
        "Repeats": "5",
    }


@pytest.mark.parametrize("text", [*HOSTILE, "![x](https://evil.example.com/x.png)", "🚨" * 900, "&" * 900])
def test_hostile_text_is_only_text(text: str) -> None:
    """No markup, no mention by id or by name, no image in Markdown, and nothing long."""
    told = message(notification(**everywhere(text)))
    digest = Digest("id", 40, {Severity.CRITICAL: 40}, 0, [told.incident] * 20, "https://s.example.com", QUEUED_AT)
    for request in (*slack_webhook.render(told, hook(), ""), *slack_webhook.digest(digest, hook())):
        shown = request.body.decode()
        assert _slack_rules.mentions(body(request)) == []
        for markup in ("@channel", "@everyone", "@here", "](", "<", "\u202e", "\\u0000"):
            assert markup not in shown
        assert len(shown) < 6_000


@pytest.mark.parametrize(
    ("transition", "severity", "notified"),
    [
        (Transition.TRIGGERED, Severity.CRITICAL, ["<!channel>"]),
        (Transition.TRIGGERED, Severity.ERROR, []),
        (Transition.RESOLVED, Severity.CRITICAL, []),
    ],
)
async def test_mentions(transition: Transition, severity: Severity, notified: list[str]) -> None:
    """Whoever is named is notified when a critical incident opens, and at nothing else."""
    async with slack_room({"mentions": ["channel"]}, webhook=True) as on:
        on.desk.take(notification(0, transition, severity=severity))
        await on.ended(1)
        assert [posted.notified for posted in on.slack.truth.messages] == [notified]


async def test_every_change_is_a_message_below_the_rate() -> None:
    """There are no threads; one message a second goes out, and none is refused."""
    async with slack_room({"digest_after": 0}, webhook=True) as on:
        on.desk.take(*(of_incident(number) for number in range(5)))
        await on.ended(5)
        on.desk.take(of_incident(1, Transition.RESOLVED, status=Status.RESOLVED, version=9))
        await on.ended(6)
        assert len(on.slack.truth.messages) == 6
        assert on.slack.truth.refusals == []
        assert on.desk.ends == [("delivered", "")] * 6


async def test_a_429_s_body_says_when() -> None:
    """`retry_after` in the body is obeyed as the header is."""
    async with slack_room(webhook=True) as on:
        on.slack.script.append("ratelimited")
        on.desk.take(notification())
        await on.ended(1)
        assert on.desk.ends == [("retry", "rate_limited"), ("delivered", "")]
        first, second = on.desk.deliveries
        assert second.sent_at - first.finished_at >= 1_000


def test_a_test_says_exactly_that() -> None:
    """A6, for webhooks too."""
    [request] = slack_webhook.render(message(test=True), hook(), "")
    assert body(request) == {"text": "Slack is connected!"}


@pytest.mark.parametrize(
    ("answer", "end", "reason", "broken"),
    [
        (Answer(200, body=b"ok"), End.DONE, "", False),
        (Answer(200, body=b'{"success":true}'), End.DONE, "", False),
        (Answer(200, body=b'{"success":false}'), End.REFUSED, "rejected", False),
        (Answer(400, body=b"invalid_payload"), End.REFUSED, "invalid_payload", False),
        (Answer(400, body=b"no_text"), End.REFUSED, "no_text", False),
        (Answer(403, body=b"invalid_token"), End.REFUSED, "invalid_token", True),
        (Answer(403, body=b"action_prohibited\n"), End.REFUSED, "action_prohibited", True),
        (Answer(404, body=b"no_service"), End.REFUSED, "no_service", True),
        (Answer(410, body=b"channel_is_archived"), End.REFUSED, "channel_is_archived", True),
        (Answer(400, body=b'{"id":"web.incoming_webhook.decode.app_error"}'), End.REFUSED, "rejected", False),
        (Answer(500, body=b"rollup_error"), End.RETRY, "unavailable", False),
        (Answer(404, body=b"\xff<html>"), End.REFUSED, "not_found", True),
        (Answer(429, body=b'{"retry_after":"soon"}'), End.RETRY, "rate_limited", False),
    ],
)
def test_verdict(answer: Answer, end: End, reason: str, broken: bool) -> None:
    """Answers in plain text and in JSON; each reason has help."""
    verdict = slack_webhook.classify(answer)
    assert (verdict.end, verdict.reason, verdict.broken) == (end, reason, broken)
    assert not reason or reason in slack_webhook.HELP or reason in COMMON_HELP
