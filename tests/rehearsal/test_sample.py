"""One alert through the stages: who is told, when, and why others are not."""

from typing import Any

import pytest

from schemas.wire.notification import Transition
from streams.rehearsal.sample import MOST, Message, alert_of, rehearse, sentences
from tests.rehearsal.test_line import RECORDS
from tests.stages.path import START, control

HOUR_MS = 3_600_000


def fields(**changes: Any) -> dict[str, Any]:
    """An event of the service web."""
    return {"service": "web", "dedup_key": "k", "summary": "s", **changes}


def test_who_is_told_and_when() -> None:
    """Steps of an escalation come at their times; what nothing names is listed."""
    alert = alert_of(fields(severity="critical"), START)
    told = rehearse(control(*RECORDS), ("pager", "chat"), alert, 24 * HOUR_MS)
    assert told.messages == (
        Message(0, Transition.TRIGGERED, "pager"),
        Message(60_000, Transition.REMINDER, "pager"),
    )
    assert (told.outcome, told.severity, told.others) == ("opened", "critical", ("chat",))
    assert list(sentences(told, alert, 24)) == [
        "opened: web k, critical; no rule matches",
        "+0:00:00  pager is told that it opened",
        "+0:01:00  pager is told that it is still open",
        "not asked: chat: no rule, service or escalation policy names them for this alert",
    ]


def test_why_others_are_not() -> None:
    """A rule's quiet hours, the service's flags and a silence have their sentences; a mute that ends is seen to end."""
    silence = {
        "id": "hush",
        "match": ['service="web"'],
        "starts_at": "2025-06-15T00:00:00Z",
        "ends_at": "2025-06-15T18:00:00Z",
        "author": "ada",
        "reason": "r",
    }
    rule = {"id": "page", "match": ['service="web"'], "route": ["chat"], "mentions": ["U1"]}
    records = (*RECORDS, ("silence/default/hush", silence), ("rule/default/page", rule))
    alert = alert_of(fields(), START)
    told = rehearse(control(*records), (), alert, 24 * HOUR_MS)
    assert list(sentences(told, alert, 24)) == [
        "opened: web k, error; rules: page",
        "+0:00:00  chat is not told that it opened: the silence hush mutes the incident",
        "+2:53:20  chat is told that it opened; mentions U1",
        "+2:53:20  pager is told that it opened",
        "+2:54:20  pager is told that it is still open",
    ]
    off = ("service/default/web", {"id": "web", "destinations": ["chat"], "notify": {"triggered": False}})
    flagged = rehearse(control(*RECORDS, off), ("chat",), alert, HOUR_MS)
    assert list(sentences(flagged, alert, 1))[1:] == [
        "+0:00:00  chat is not told that it opened: `notify` of the service turns messages of this kind off",
        "nobody is told within 1 h",
    ]


def test_an_alert_that_opens_nothing() -> None:
    """Suppressed by a rule; an end of what is not open; one for which nobody said who is told."""
    hidden = alert_of(fields(dedup_key="c", severity="info"), START)
    told = rehearse(control(*RECORDS), (), hidden, HOUR_MS)
    assert (told.outcome, told.rules, told.messages) == ("suppressed", ("noise",), ())
    end = alert_of(fields(action="resolve"), START)
    assert rehearse(control(*RECORDS), (), end, HOUR_MS).outcome == "unmatched"
    routes = ("tenant/default", {"id": "default", "severity_routes": {"critical": ["chat"]}})
    other = rehearse(control(*RECORDS, routes), ("chat",), alert_of(fields(service="x"), START), HOUR_MS)
    assert list(sentences(other, alert_of(fields(service="x"), START), 1))[1:3] == [
        "+0:00:00  nobody is told that it opened: nothing routes the alert, and `severity_routes` does not list its "
        "severity",
        "nobody is told within 1 h",
    ]


@pytest.mark.parametrize(
    ("bad", "text"),
    [({"severity": "bad"}, "severity"), ({"service": ""}, "service"), ({"x": 1}, "x"), ({"labels": 1}, "labels")],
)
def test_a_wrong_field_is_named(bad: dict[str, Any], text: str) -> None:
    """As a dead letter would name it."""
    with pytest.raises(ValueError, match=text):
        alert_of(fields(**bad), START)


def test_what_repeats_for_ever_ends() -> None:
    """A reminder each second of a week is cut, and the result says so and nothing of who may come later."""
    often = {
        "id": "root",
        "destinations": ["pager"],
        "group_wait": 0,
        "group_interval": 1,
        "repeat_interval": 1,
    }
    alert = alert_of(fields(severity="critical"), START)
    told = rehearse(control(*RECORDS, ("route/default/root", often)), ("pager", "chat"), alert, 168 * HOUR_MS)
    assert (len(told.messages), told.messages[-1].after < HOUR_MS, told.others) == (MOST, True, ())
    assert list(sentences(told, alert, 168))[-1] == "these are the first 1,000 messages: the rehearsal ended there"
