"""Explanations: rows of ClickHouse become sentences, and every reason has one."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from schemas.wire.alert import Action
from schemas.wire.command import CommandAction
from schemas.wire.notification import Transition
from schemas.wire.rows import AlertOutcome
from sinks.channels import CHANNELS
from sinks.contract import COMMON_HELP, SKIP_HELP
from streams.history.explain import ACTIONS, EVENTS, OUTCOMES, conclusion, meaning, of_alert, of_member, of_timeline
from streams.policy.audience import Skip
from streams.rehearsal.reasons import MESSAGES, SENTENCES, sentence
from streams.rehearsal.recorded import _ACTIONS as KINDS

AT = datetime(2026, 11, 26, 12, tzinfo=UTC)
INCIDENT = UUID("0198c0de-0123-7456-89ab-cdef01234567")


def event(seconds: float, version: int, kind: str, actor: str = "stream", note: str = "") -> dict[str, Any]:
    """A line of the timeline."""
    return {"at": AT + timedelta(seconds=seconds), "version": version, "kind": kind, "actor": actor, "note": note}


def delivery(
    seconds: float, kind: str, destination: str, outcome: str, note: str = "", attempt: int = 0
) -> dict[str, Any]:
    """An attempt, or a reason for none."""
    return {
        "at": AT + timedelta(seconds=seconds),
        "version": 0,
        "kind": kind,
        "destination": destination,
        "channel": "webhook" if attempt else "",
        "outcome": outcome,
        "attempt": attempt,
        "note": note,
    }


TIMELINE = [
    event(0, 1, "triggered"),
    delivery(0, "triggered", "chat", "suppressed", "quiet_hours"),
    delivery(0, "triggered", "pager", "suppressed", "silence/new-switch"),
    delivery(0, "triggered", "", "suppressed", "nobody_on_call"),
    delivery(0.4, "triggered", "mail", "retry", "timeout", 1),
    delivery(9, "triggered", "mail", "delivered", "", 2),
    event(20, 2, "joined", note="disk 2 is full"),
    event(30, 3, "acknowledged", "cli:ada", "on it"),
    event(40, 4, "unacknowledged", "stormweir", "acknowledged, and not resolved in time"),
    event(50, 5, "resolved"),
    delivery(50, "resolved", "chat", "suppressed", "not_told"),
    delivery(50, "resolved", "hook", "failed", "gone", 5),
]


def test_a_timeline_in_words() -> None:
    """Who did what, who was told of it, and why others were not."""
    assert [each.text for each in of_timeline(TIMELINE)] == [
        "The incident opened.",
        "chat was not told that it opened: it has quiet hours, of the service or of the rule that routes to it.",
        "pager was not told that it opened: the silence new-switch mutes the incident.",
        "Nobody was told that it opened: nobody is on call in the schedules of this step of the escalation policy.",
        "Attempt 1 to tell mail that it opened failed, it is tried again: No connection in 5 s, or no answer in 30 s.",
        "mail was told that it opened.",
        "One more alert joined it: disk 2 is full",
        "cli:ada acknowledged it; escalation stops: on it",
        "stormweir took the acknowledgement back; escalation goes on: acknowledged, and not resolved in time",
        "The sender resolved it.",
        "chat was not told that it is resolved: it was not told that the incident is there, so it does not hear what "
        "became of it.",
        "Attempt 5 to tell hook that it is resolved failed, it was given up: The receiver was removed for good.",
    ]


def test_who_was_told_at_last() -> None:
    """Those who were; nobody, if something kept it from all; nobody, if there is no row at all."""
    assert conclusion(TIMELINE, 5) == (5, "Told: mail.")
    assert conclusion(TIMELINE[:4], 5).text == "Nobody was told."
    assert conclusion(TIMELINE[:1], 5).text.startswith("Nobody was told: no rule, no service")
    assert conclusion([delivery(0, "triggered", "chat", "suppressed", "digest")], 5).text == "Told: chat."


def alert(**changes: Any) -> dict[str, Any]:
    """A row of one alert."""
    row = {
        "event_id": INCIDENT,
        "received_at": AT,
        "provider": "events_v2",
        "integration": "5f0c2a...",
        "service": "web",
        "dedup_key": "disk/1",
        "action": "trigger",
        "outcome": "opened",
        "severity": "critical",
        "severity_raw": "error",
        "rule": "a,b",
        "incident_id": INCIDENT,
    }
    return row | changes


def test_an_alert_in_words() -> None:
    """Where it came from, what the rules did, what became of it; an end has no rules."""
    assert [each.text for each in of_alert(alert())] == [
        "An alert came from events_v2 (5f0c2a...): web, key disk/1.",
        "These rules matched: a, b.",
        "They changed its severity from error to critical.",
        f"It opened the incident {INCIDENT}.",
    ]
    ended = alert(action="resolve", outcome="unmatched", integration="", provider="kafka", rule="")
    assert [each.text for each in of_alert(ended)] == [
        "A resolve came from kafka: web, key disk/1.",
        "Nothing was open that it could acknowledge or resolve: it changed nothing.",
    ]
    assert of_member(alert()).text == (
        f"The alert {INCIDENT} of the same key was the first. It opened the incident {INCIDENT}."
    )


def test_every_reason_has_a_sentence() -> None:
    """Of dispatch, of the notifier and of every channel: none stands for itself."""
    assert set(SENTENCES) == set(Skip)
    records = [f"{kind}/x" for kind in ("silence", "maintenance", "inhibition", "calendar", "cause")]
    assert all("x" in (sentence(reason) or "") for reason in records)
    reasons = {*Skip, *records, *SKIP_HELP, *COMMON_HELP}
    assert not [reason for reason in reasons if meaning("webhook", reason) == reason]
    assert all(meaning(slug, code) != code for slug, channel in CHANNELS.items() for code in channel.help)
    assert meaning("webhook", "of a later version") == "of a later version"


def test_every_outcome_action_message_and_event_has_words() -> None:
    """A new one needs its own."""
    assert set(OUTCOMES) == set(AlertOutcome)
    assert set(ACTIONS) == set(Action)
    assert set(MESSAGES) == set(Transition)
    assert set(EVENTS) >= {*KINDS, "triggered", "escalated", "joined"}
    assert set(KINDS.values()) == set(CommandAction) - {CommandAction.MERGE, CommandAction.SPLIT}


@pytest.mark.parametrize("kind", ["merged", "split"])
def test_an_unknown_event_is_named(kind: str) -> None:
    """A line of a later version."""
    (found,) = of_timeline([event(0, 1, kind, "cli:ada", "why")])
    assert found.text == f"cli:ada: {kind}: why"
