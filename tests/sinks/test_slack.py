"""The Slack channel against a Slack that refuses what Slack refuses. slack_sdk's models judge the blocks."""

import json
import random
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import orjson
import pytest
from pydantic import ValidationError
from slack_sdk.models.blocks import Block

from schemas.wire.alert import Severity
from schemas.wire.incident import Incident, Status
from schemas.wire.notification import MAX_RELATED, Transition
from schemas.wire.subject import Subject
from sinks import slack_text
from sinks.channels import _slack_card, slack, slack_webhook
from sinks.channels.slack_webhook import SlackWebhookDestination
from sinks.contract import COMMON_HELP, Digest, End, Request
from sinks.fakes import _slack_rules
from sinks.fakes.slack import TOKEN
from sinks.outbound import Answer, ErrorCode
from sinks.slack_text import escaped
from tests.sinks.samples import INCIDENT, QUEUED_AT, message, notification, of_incident, related, until
from tests.sinks.slack_room import SlackRoom, bot, slack_room

GOLDEN = Path(__file__).parent / "golden"
HOSTILE = (
    "<!channel> & <@U0ADA>",
    "@channel @everyone @here",
    "two\r\nlines\x00\u202eback",
    "=cmd()",
    '<img src=x onerror="x">',
    "{{ 7*7 }}",
    "<https://evil.example.com|good>",
)


def body(request: Request) -> dict[str, Any]:
    """What a request sends."""
    found = orjson.loads(request.body)
    assert isinstance(found, dict)
    return found


def everywhere(text: str) -> dict[str, object]:
    """An incident's fields with this text in each of them."""
    return {"title": text, "dedup_key": text, "service": text, "source": text, "labels": {text: text}}


def digest_of(incidents: list[Incident], total: int) -> Digest:
    """A summary of these, the worst of `total`."""
    return Digest(
        "id", total, {Severity.CRITICAL: total - 1, Severity.INFO: 1}, 3, incidents, "https://s.example.com", QUEUED_AT
    )


# -- the card


@pytest.mark.parametrize(
    ("name", "transition", "changes"),
    [
        ("triggered", Transition.TRIGGERED, {}),
        ("resolved", Transition.RESOLVED, {"status": Status.RESOLVED, "resolved_at": QUEUED_AT}),
    ],
)
def test_the_card_is_the_golden_one(name: str, transition: Transition, changes: dict[str, object]) -> None:
    """A9: the whole message, as Slack gets it."""
    [request] = slack.render(message(notification(0, transition, **changes)), bot(mentions=["U0ADA"]), "")
    assert json.dumps(body(request)) == json.dumps(json.loads((GOLDEN / f"slack-{name}.json").read_bytes()))


def test_the_card_has_the_five_parts() -> None:
    """A9: alert name, severity, triggering condition, key metrics and the link to the dashboard, each by its key."""
    [request] = slack.render(message(), bot(), "")
    blocks = {block["block_id"]: block for block in body(request)["blocks"]}
    assert 'Disk "full" on db-1 ☃' in blocks["name"]["text"]["text"]
    assert blocks["severity"]["fields"][0]["text"] == "*Severity*\ncritical"
    assert "alert db-1/disk from db-1" in blocks["condition"]["text"]["text"]
    assert [field["text"] for field in blocks["metrics"]["fields"][:3]] == [
        "*Alerts*\n7",
        "*Repeats*\n5",
        "*Distinct alerts*\n2",
    ]
    [link] = [element for element in blocks["actions"]["elements"] if element["action_id"] == "open"]
    assert link["url"] == "https://stormweir.example.com/incidents/00010203-0405-0607-0809-0a0b0c0d0e0f"


@pytest.mark.parametrize(
    ("status", "settings", "actions"),
    [
        (Status.OPEN, {}, ["acknowledge", "resolve", "open"]),
        (Status.ACKNOWLEDGED, {}, ["resolve", "open"]),
        (Status.RESOLVED, {}, ["open"]),
        (Status.OPEN, {"buttons": False}, ["open"]),
    ],
)
def test_buttons_are_those_that_can_be_pressed(status: Status, settings: dict[str, object], actions: list[str]) -> None:
    """C98: what is done already has no button; each of the others names the incident."""
    [request] = slack.render(message(notification(status=status)), bot(**settings), "")
    elements = body(request)["blocks"][-1]["elements"]
    assert [element["action_id"] for element in elements] == actions
    subjects = {Subject.read(element["value"]) for element in elements if "value" in element}
    assert subjects <= {Subject(INCIDENT.tenant, INCIDENT.incident_id, INCIDENT.correlation_key)}


@pytest.mark.parametrize("text", ["", "x", "00.00", f"{'0' * 32}..t", f"{'0' * 32}.ab.", f"{'0' * 30}.ab.t", "zz.ab.t"])
def test_a_button_of_nobody_s_is_refused(text: str) -> None:
    """Only what `text` makes can be read."""
    with pytest.raises(ValueError, match=r"."):
        Subject.read(text)


@pytest.mark.parametrize("text", [*HOSTILE, "x" * 5_000, "&" * 5_000, "🚨" * 3_000, "a" * 148 + "🚨", "\n" * 5_000, ""])
@pytest.mark.parametrize("status", Status)
def test_blocks_are_valid_whatever_an_alert_says(text: str, status: Status) -> None:
    """slack_sdk's models take every card and every summary, and Slack's documented limits hold."""
    others = related(MAX_RELATED, title=text, service=text)
    named = msgspec.structs.replace(notification(status=status, **everywhere(text)), related=others, more=10**6)
    told = message(named)
    incidents = [told.incident] * 20
    requests = [*slack.render(told, bot(), "1.2"), *slack.digest(digest_of(incidents, 5_000), bot())]
    for request in (*requests, requests[0].instead):
        assert request is not None
        content = body(request)
        for block in content.get("blocks", []):
            parsed = Block.parse(block)
            assert parsed is not None
            assert parsed.to_dict()["type"] == block["type"]
        assert _slack_rules.block_error(content.get("blocks", [])) is None
        assert len(content["text"].encode()) <= _slack_rules.MAX_UPDATE_TEXT


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_notifies_nobody_and_is_no_link(text: str) -> None:
    """Neither the card, the thread nor the summary has a mention or a link that an alert asked for."""
    others = related(3, title=text, service=text)
    told = message(msgspec.structs.replace(notification(**everywhere(text)), related=others))
    for request in (*slack.render(told, bot(), "1.2"), *slack.digest(digest_of([told.incident], 1), bot())):
        content = body(request)
        assert _slack_rules.mentions(content) == []
        assert (content["parse"], content["link_names"]) == ("none", False)
        assert b"<https://evil" not in request.body
        shown = "".join(_slack_rules.texts(content.get("blocks", []))) + content["text"]
        assert not set("\r\x00\u202e") & set(shown)


def test_a_cut_never_splits_a_character_or_an_entity() -> None:
    """At every length the text fits and is whole, with an ellipsis if something is missing."""
    text = "a<b>&🚨" * 3
    whole = slack_text.escaped(text, 1_000)
    for most in range(1, 60):
        cut = slack_text.escaped(text, most)
        assert slack_text.units(cut) <= most
        if cut != whole:
            assert cut.endswith("…")
            assert whole.startswith(cut[:-1])
            assert cut[:-1].count("&") == cut[:-1].count(";")


LONG = "x" * 20_000
NAMES = {f"label{number}": "x" * 500 for number in range(100)}


@pytest.mark.parametrize(
    ("module", "limit", "value", "changes", "error"),
    [
        (_slack_card, "MAX_HEADER", 151, {"title": LONG}, "invalid_blocks"),
        (_slack_card, "MAX_FIELD", 2_001, {"service": LONG}, "invalid_blocks"),
        (_slack_card, "MAX_CONDITION", 3_000, {"dedup_key": LONG}, "invalid_blocks"),
        (_slack_card, "MAX_LABELS", 14_000, {"labels": NAMES}, "msg_blocks_too_long"),
        (slack, "MAX_TEXT", 5_000, {"title": LONG}, "msg_too_long"),
    ],
)
async def test_each_limit_of_the_card_is_needed(
    module: ModuleType,
    limit: str,
    value: int,
    changes: dict[str, object],
    error: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the limit Slack takes the longest text; without it, it refuses."""
    for mutated in (False, True):
        if mutated:
            monkeypatch.setattr(module, limit, value)
        async with slack_room() as on:
            on.desk.take(notification(**changes))
            await on.ended(1)
            on.desk.take(notification(1, Transition.ACKNOWLEDGED, **changes))
            await on.ended(2)
            assert (error in on.slack.truth.refusals) is mutated


def test_the_limit_of_a_summary_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty long titles do not fit into a section: those that do are named, the rest is counted."""
    many = digest_of([notification(title=LONG).incident] * 20, 300)
    [request] = slack.digest(many, bot())
    assert _slack_rules.block_error(body(request)["blocks"]) is None
    lines = body(request)["blocks"][-1]["text"]["text"].splitlines()
    assert 5 < len(lines) < 20
    assert lines[-1] == f"and {300 - len(lines) + 1} more"
    monkeypatch.setattr(_slack_card, "MAX_SECTION", 10_000)
    [request] = slack.digest(many, bot())
    assert _slack_rules.block_error(body(request)["blocks"]) == "invalid_blocks"


# -- mentions


@pytest.mark.parametrize(
    ("transition", "severity", "settings", "notified"),
    [
        (Transition.TRIGGERED, Severity.CRITICAL, {}, ["<!channel>", "<!subteam^S0OPS>", "<@U0ADA>"]),
        (Transition.TRIGGERED, Severity.ERROR, {}, []),
        (Transition.RESOLVED, Severity.CRITICAL, {}, []),
        (Transition.RESOLVED, Severity.CRITICAL, {"mention_on": ["resolved"]}, ["<!channel>"]),
        (Transition.TRIGGERED, Severity.INFO, {"mention_severities": ["info"]}, ["<!channel>"]),
        (Transition.TRIGGERED, Severity.CRITICAL, {"mentions": []}, []),
    ],
)
async def test_mentions(
    transition: Transition, severity: Severity, settings: dict[str, object], notified: list[str]
) -> None:
    """A10: whom the destination names is notified at the changes and severities chosen, nobody otherwise."""
    async with slack_room({"mentions": ["channel", "U0ADA", "S0OPS"], **settings}) as on:
        on.desk.take(notification(0, transition, severity=severity))
        await on.ended(1)
        [posted] = on.slack.truth.messages
        assert set(notified) <= set(posted.notified)
        assert bool(posted.notified) is bool(notified)


@pytest.mark.parametrize("channel", ["slack", "slack_webhook"])
@pytest.mark.parametrize(
    ("transition", "notified"),
    [(Transition.TRIGGERED, ["<!here>", "<!channel>", "<@U0ADA>"]), (Transition.RESOLVED, [])],
)
def test_rules_mention_too(channel: str, transition: Transition, notified: list[str]) -> None:
    """A10: each once; names that are none of Slack's are left out, and an end mentions nobody."""
    told = msgspec.structs.replace(
        notification(0, transition), mentions=("@channel", "U0ADA", "ada@example.com", "@here", "channel")
    )
    if channel == "slack":
        [request] = slack.render(message(told), bot(mentions=["here"]), "")
    else:
        hook = SlackWebhookDestination.model_validate(
            {"id": "ops", "url": "https://hooks.slack.com/services/T/B/x", "mentions": ["here"]}
        )
        [request] = slack_webhook.render(message(told), hook, "")
    assert re.findall(r"<[@!][^>]*>", body(request)["text"]) == notified


@pytest.mark.parametrize("most", [150, 3_000])
def test_a_long_text_costs_no_more_than_its_beginning(most: int) -> None:
    """Only a few times what can be shown is looked at, and the end says that there is more."""
    assert escaped("<" * 10_000_000, most) == "&lt;" * ((most - 1) // 4) + "\u2026"
    assert escaped(" " * 10_000_000 + "x", most) == "\u2026"
    assert escaped("a" * most, most) == "a" * most


@pytest.mark.parametrize("name", ["everyone", "@channel", "<!channel>", "u0ada", "U", "U0ADA>", "here\n"])
def test_a_mention_is_an_id(name: str) -> None:
    """Anything else is refused with its place."""
    with pytest.raises(ValidationError) as caught:
        bot(mentions=["U0ADA", name])
    assert [error["loc"] for error in caught.value.errors()] == [("mentions", 1)]


# -- settings


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("channel", "#alerts"),
        ("channel", "alerts"),
        ("bot_token", "your token\r\nX: y"),
        ("bot_token", "token"),
        ("api_url", "ftp://x"),
        ("mention_on", ["opened"]),
        ("colour", "red"),
    ],
)
def test_a_wrong_setting_is_refused_by_name_without_its_value(field: str, value: object) -> None:
    """The error names the field; the token is in no error and no text form."""
    with pytest.raises(ValidationError) as caught:
        bot(**{field: value})
    assert {error["loc"][0] for error in caught.value.errors()} == {field}
    assert "your token" not in str(caught.value)
    assert TOKEN not in repr(bot())


def test_no_scope_and_no_repr_contains_the_token() -> None:
    """Limits are named by a hash."""
    for request in slack.render(message(), bot(), "1.2"):
        assert request.rates
        assert TOKEN not in repr(request)


def test_destinations_of_one_workspace_share_its_limits() -> None:
    """One token: the workspace's limits are the same, those of two channels are not; another token has its own."""

    def scopes(**fields: str) -> set[str]:
        return {rate.scope for request in slack.render(message(), bot(**fields), "1.2") for rate in request.rates}

    assert len(scopes() & scopes(channel="C0GENERAL", id="other")) == 2
    assert len(scopes() - scopes(channel="C0GENERAL")) == 1
    assert not scopes() & scopes(bot_token="xoxb-another")


# -- deliveries


async def test_one_incident_is_one_card_with_a_thread() -> None:
    """A1, C99: the card is posted once, changed by each change, and each change is told in its thread."""
    async with slack_room() as on:
        on.desk.take(notification())
        await on.ended(1)
        on.desk.take(notification(1, Transition.ACKNOWLEDGED, status=Status.ACKNOWLEDGED))
        await on.ended(2)
        on.desk.take(notification(2, Transition.RESOLVED, status=Status.RESOLVED))
        await on.ended(3)
        card, first, second = on.slack.truth.messages
        assert (card.channel, card.thread_ts, card.edits) == ("C0ALERTS", "", 2)
        assert card.blocks[0]["text"]["text"].startswith("✅")
        assert {first.thread_ts, second.thread_ts} == {card.ts}
        assert first.text.startswith("Acknowledged: ")
        assert second.text.startswith("Resolved: ")
        assert on.slack.truth.refusals == []
        assert on.desk.ends == [("delivered", "")] * 3


async def test_changes_that_waited_are_told_together() -> None:
    """An incident that resolved while it waited is one card that says both."""
    async with slack_room({"enabled": False}) as on:
        on.desk.take(notification(), notification(1, Transition.RESOLVED, status=Status.RESOLVED))
        on.desk.control.apply("destination/default/ops", bot(on.url).model_dump_json().encode())
        await on.ended(2)
        [card] = on.slack.truth.messages
        assert card.text.startswith("Triggered, resolved: ✅")


async def test_each_channel_gets_its_own() -> None:
    """A11: two destinations, two channels: each message is in its own."""
    other = {"id": "other", "channel": "C0GENERAL"}
    async with slack_room({}, other) as on:
        on.desk.take(of_incident(1, title="one"))
        on.desk.take(notification(to="other", title="two"))
        await on.ended(2)
        seen = {posted.channel: posted.text.rpartition(" ")[2] for posted in on.slack.truth.messages}
        assert seen == {"C0ALERTS": "one", "C0GENERAL": "two"}


def test_a_test_says_exactly_that() -> None:
    """A6: the sentence of the seeds, without a card, a button or a mention."""
    [request] = slack.render(message(test=True), bot(mentions=["channel"]), "")
    assert body(request)["text"] == "Slack is connected!"
    assert "blocks" not in body(request)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"channel": "C0OTHERS"}, "not_in_channel"),
        ({"channel": "G0SECRET"}, "channel_not_found"),
        ({"channel": "C0NOWHERE"}, "channel_not_found"),
        ({"channel": "C0OLD"}, "is_archived"),
        ({"bot_token": "xoxb-another"}, "invalid_auth"),
    ],
)
async def test_a_destination_that_cannot_work_is_tried_once(settings: dict[str, object], reason: str) -> None:
    """A4: `failed` with a reason that says what to do, and no storm of retries: ten incidents, one request."""
    async with slack_room(settings) as on:
        on.desk.take(*(of_incident(number) for number in range(10)))
        await on.ended(1)
        assert on.desk.ends[0] == ("failed", reason)
        on.desk.time.advance(30)
        assert on.slack.truth.refusals == [reason]
        assert on.slack.truth.messages == []
        assert reason in slack.HELP


def test_who_is_not_in_the_channel_is_told_to_invite_the_bot() -> None:
    """A4: in words."""
    assert "Invite the bot" in slack.HELP["not_in_channel"].do


@pytest.mark.parametrize(("revoke", "reason"), [(True, "token_revoked"), (False, "missing_scope")])
async def test_a_token_that_lost_its_rights(revoke: bool, reason: str) -> None:
    """What was connected may stop working: the reason says so."""
    async with slack_room() as on:
        if revoke:
            on.slack.revoked.add(TOKEN)
        else:
            on.slack.tokens[TOKEN] = {"channels:read"}
        on.desk.take(notification())
        await on.ended(1)
        assert on.desk.ends == [("failed", reason)]


@pytest.mark.parametrize("error", ["invalid_blocks", "msg_blocks_too_long"])
async def test_a_card_that_slack_does_not_take_goes_as_plain_text_once(error: str) -> None:
    """The news get out in one attempt, and the thread hangs on the plain message."""
    async with slack_room() as on:
        on.slack.script.append(error)
        on.desk.take(notification())
        await on.ended(1)
        [posted] = on.slack.truth.messages
        assert (posted.blocks, posted.text) == ([], 'Triggered: 🔴 Disk "full" on db-1 ☃')
        assert on.desk.ends == [("delivered", "")]
        on.desk.take(notification(1, Transition.RESOLVED, status=Status.RESOLVED))
        await on.ended(2)
        assert on.slack.truth.messages[1].thread_ts == posted.ts


async def test_plain_text_is_not_tried_twice() -> None:
    """If Slack refuses that too, the message is given up."""
    async with slack_room() as on:
        on.slack.script += ["invalid_blocks", "msg_too_long"]
        on.desk.take(notification())
        await on.ended(1)
        assert on.desk.ends == [("failed", "msg_too_long")]
        assert len(on.slack.truth.received) == 2


async def test_a_deleted_card_is_replaced() -> None:
    """Somebody deleted the card: the next change is a new card, and later changes are in its thread."""
    async with slack_room() as on:
        on.desk.take(notification())
        await on.ended(1)
        on.slack.truth.messages.clear()
        on.desk.take(notification(1, Transition.ACKNOWLEDGED, status=Status.ACKNOWLEDGED))
        await on.ended(2)
        card = on.slack.truth.messages[0]
        assert (card.thread_ts, card.blocks[0]["block_id"]) == ("", "name")
        on.desk.take(notification(2, Transition.RESOLVED, status=Status.RESOLVED))
        await on.ended(3)
        assert card.edits == 1
        assert on.slack.truth.messages[-1].thread_ts == card.ts


async def storm(on: SlackRoom) -> None:
    """Twenty incidents open, and all of them resolve when they were told."""
    for number in range(20):
        on.desk.take(of_incident(number))
    await on.ended(20)
    for number in range(20):
        on.desk.take(of_incident(number, Transition.RESOLVED, status=Status.RESOLVED, version=9))
    await on.ended(40)


async def test_a_storm_stays_below_slack_s_rates() -> None:
    """Forty changes of twenty incidents, as fast as allowed: Slack has no reason to refuse one."""
    async with slack_room({"digest_after": 0}) as on:
        on.desk.take(*(of_incident(number) for number in range(20)))
        await on.ended(20)
        on.desk.take(*(of_incident(number, Transition.RESOLVED, status=Status.RESOLVED) for number in range(20)))
        assert on.slack.truth.refusals == []
        started = on.desk.time.now
        on.desk.take(
            *(of_incident(number, Transition.RESOLVED, status=Status.RESOLVED, version=9) for number in range(20))
        )
        await on.ended(40)
        assert on.desk.time.now - started >= 19_000
        assert on.slack.truth.refusals == []


@pytest.mark.parametrize(
    ("limit", "value", "refused"), [("PER_CHANNEL", 1_000.0, "chat.postMessage"), ("UPDATES", 1_000.0, "chat.update")]
)
async def test_each_rate_is_needed(limit: str, value: float, refused: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it Slack refuses with 429, and the messages are delivered later all the same."""
    monkeypatch.setattr(slack, limit, value)
    if refused == "chat.update":
        monkeypatch.setattr("sinks.fakes._slack_workspace.UPDATES", (50 / 60, 5.0))
        monkeypatch.setattr("sinks.fakes._slack_workspace.MESSAGES", (1_000.0, 1_000.0))
        monkeypatch.setattr(slack, "PER_CHANNEL", 1_000.0)
        monkeypatch.setattr(slack, "PER_WORKSPACE", 1_000.0)
    async with slack_room({"digest_after": 0}) as on:
        on.desk.take(*(of_incident(number) for number in range(20)))
        await on.ended(20)
        on.desk.take(
            *(of_incident(number, Transition.RESOLVED, status=Status.RESOLVED, version=9) for number in range(20))
        )
        await on.ended(40)
        assert "ratelimited" in on.slack.truth.refusals


async def test_retry_after_is_obeyed() -> None:
    """A 429 pauses the channel for as long as Slack says."""
    async with slack_room() as on:
        on.slack.script.append("ratelimited")
        on.desk.take(notification())
        await until(lambda: on.desk.ends == [("retry", "rate_limited")])
        at = on.desk.time.now
        await on.ended(1)
        assert on.desk.deliveries[-1].sent_at - at >= 1_000


async def test_slack_s_bad_days_lose_and_double_nothing() -> None:
    """Under a seeded schedule of passing failures every incident has exactly one card in the end."""
    chance = random.Random(7)
    passing = ("internal_error", "service_unavailable", "ratelimited", "fatal_error")
    async with slack_room({"digest_after": 0}) as on:
        on.slack.script += [chance.choice((None, None, *passing)) for _ in range(60)]
        on.desk.take(*(of_incident(number, title=f"incident {number}") for number in range(15)))
        await on.ended(15)
        assert sorted(posted.text for posted in on.slack.truth.messages) == sorted(
            f"Triggered: 🔴 incident {number}" for number in range(15)
        )


async def test_many_are_one_summary() -> None:
    """What the rate cannot carry in a minute is told in one message that Slack takes."""
    async with slack_room({"digest_after": 5}) as on:
        on.desk.take(*(of_incident(number, severity=Severity.ERROR) for number in range(100)))
        await on.ended(100)
        assert len(on.slack.truth.messages) < 20
        summaries = [posted for posted in on.slack.truth.messages if "incidents changed" in posted.text]
        assert summaries
        assert "more" in summaries[0].blocks[-1]["text"]["text"]
        assert on.slack.truth.refusals == []


# -- verdicts


@pytest.mark.parametrize(
    ("answer", "end", "reason", "broken"),
    [
        (Answer(200, body=b'{"ok":true,"ts":"1.2"}'), End.DONE, "", False),
        (Answer(200, body=b'{"ok":false,"error":"ratelimited"}'), End.RETRY, "rate_limited", False),
        (Answer(429, 30.0, body=b'{"ok":false,"error":"ratelimited"}'), End.RETRY, "rate_limited", False),
        *((Answer(200, body=b'{"ok":false,"error":"%b"}' % e.encode()), End.RETRY, "unavailable", False)
          for e in ("internal_error", "fatal_error", "service_unavailable", "request_timeout", "org_login_required")),
        *((Answer(200, body=b'{"ok":false,"error":"%b"}' % e.encode()), End.REFUSED, e, True)
          for e in ("not_in_channel", "channel_not_found", "is_archived", "token_revoked", "invalid_auth",
                    "not_authed", "account_inactive", "token_expired", "missing_scope", "restricted_action")),
        *((Answer(200, body=b'{"ok":false,"error":"%b"}' % e.encode()), End.REFUSED, e, False)
          for e in ("invalid_blocks", "msg_blocks_too_long", "msg_too_long", "message_not_found")),
        (Answer(200, body=b'{"ok":false,"error":"of_next_year"}'), End.REFUSED, "rejected", False),
        *((Answer(200, body=b), End.RETRY, "unavailable", False)
          for b in (b"", b"<html>", b"[]", b"null", b'{"ok":1}', b'{"ok":false,"error":7}', b"\xff")),
        (Answer(503), End.RETRY, "unavailable", False),
        (Answer(302), End.REFUSED, "redirected", True),
        (Answer(0, error_code=ErrorCode.TIMEOUT), End.RETRY, "timeout", False),
    ],
)  # fmt: skip
def test_verdict(answer: Answer, end: End, reason: str, broken: bool) -> None:
    """`ok:false` in a 200 is no success; each error is told apart, and each reason has help."""
    verdict = slack.classify(answer)
    assert (verdict.end, verdict.reason, verdict.broken) == (end, reason, broken)
    assert verdict.retry_after_s == answer.retry_after_s
    assert not reason or reason in slack.HELP or reason in COMMON_HELP


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (b'{"ok":true,"ts":"1.2","message":{"text":"a"}}', "1.2"),
        (b'{"ok":true,"ts":"1.2","message":{"thread_ts":"1.2"}}', "1.2"),
        (b'{"ok":true,"ts":"1.3","message":{"thread_ts":"1.2"}}', ""),
        (b'{"ok":true,"ts":5}', ""),
        (b"ok", ""),
    ],
)
def test_the_handle_is_the_card_s_time_stamp(given: bytes, kept: str) -> None:
    """Never that of a message in its thread."""
    assert slack.keep(Answer(200, body=given)) == kept
