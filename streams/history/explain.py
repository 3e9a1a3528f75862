"""Why somebody was told of an alert or an incident, or was not: what is recorded in ClickHouse, in sentences.

Nothing is guessed: each sentence is one row of `alerts`, `incident_events` or `deliveries`.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from schemas.wire.alert import Action
from schemas.wire.notification import Outcome, Transition
from schemas.wire.rows import AlertOutcome
from sinks.contract import SKIP_HELP
from sinks.reasons import explain
from streams.history import queries
from streams.history.queries import Query
from streams.history.times import milliseconds
from streams.rehearsal.reasons import MESSAGES, sentence

Row = Mapping[str, Any]

#: What became of an alert; `{}` is its incident.
OUTCOMES: Mapping[AlertOutcome, str] = {
    AlertOutcome.OPENED: "It opened the incident {}.",
    AlertOutcome.CORRELATED: "It joined the incident {}, which was open for its group.",
    AlertOutcome.DEDUPLICATED: "It repeated an alert that was open already: people know of it by that one.",
    AlertOutcome.SUPPRESSED: "It was suppressed by a rule: it is stored, and nobody is told of it.",
    AlertOutcome.ACKNOWLEDGED: "It acknowledged the incident {}.",
    AlertOutcome.RESOLVED: "It ended its part of the incident {}.",
    AlertOutcome.STALE: "It was sent before what is known of its key, or another resolve ended it: it changed nothing.",
    AlertOutcome.UNMATCHED: "Nothing was open that it could acknowledge or resolve: it changed nothing.",
}
ACTIONS: Mapping[Action, str] = {
    Action.TRIGGER: "an alert",
    Action.ACKNOWLEDGE: "an acknowledgement",
    Action.RESOLVE: "a resolve",
}
#: Lines of a timeline that a person or Stormweir itself caused; `{}` is who.
EVENTS: Mapping[str, str] = {
    "triggered": "The incident opened.",
    "joined": "One more alert joined it.",
    "escalated": "An alert made it more severe.",
    "acknowledged": "{} acknowledged it; escalation stops.",
    "unacknowledged": "{} took the acknowledgement back; escalation goes on.",
    "resolved": "{} resolved it.",
    "note": "{} noted something.",
}
#: Who acts where a timeline says `stream`: an alert that the sender sent.
_SENDER = "The sender"


#: Alerts of an incident that are told of; the timeline counts all of them.
_ALERTS = 20


class Sentence(NamedTuple):
    """What happened at a time, in milliseconds since 1970 UTC."""

    at: int
    text: str


async def explain_incident(query: Query, tenant: str, row: Row) -> list[Sentence]:
    """What became of an incident, a row of `queries.INCIDENTS_BY_ID`: its alerts and its timeline, in order of time."""
    scope = {"tenant": tenant, "incident_id": str(row["incident_id"])}
    first = {**scope, "since": milliseconds(row["opened_at"]), "after": "", "limit": _ALERTS}
    alerts = await query(queries.ALERTS_OF_INCIDENT, first)
    return await _with_timeline(query, scope, [each for alert in alerts for each in of_alert(alert)])


async def explain_alert(query: Query, tenant: str, row: Row) -> list[Sentence]:
    """What became of an alert, a row of `queries.ALERTS_BY_ID`, and of its incident, in order of time."""
    sentences, incident = [*of_alert(row)], row["incident_id"]
    if not incident.int:
        before = {"fingerprint": str(row["fingerprint"]), "until": milliseconds(row["received_at"])}
        repeats = row["outcome"] == "deduplicated"
        members = await query(queries.MEMBER_BEFORE, {"tenant": tenant, **before}) if repeats else []
        if not members:
            return sentences
        incident = members[0]["incident_id"]
        sentences.append(of_member(members[0]))
    return await _with_timeline(query, {"tenant": tenant, "incident_id": str(incident)}, sentences)


async def _with_timeline(query: Query, scope: Mapping[str, object], sentences: list[Sentence]) -> list[Sentence]:
    timeline = await query(queries.TIMELINE, scope)
    found = sorted([*sentences, *of_timeline(timeline)], key=lambda sentence: sentence.at)
    return [*found, conclusion(timeline, found[-1].at)] if found else []


def of_alert(row: Row) -> Iterator[Sentence]:
    """One alert: a row of `queries.ALERTS_BY_ID`."""
    at = milliseconds(row["received_at"])
    action = Action[row["action"].upper()]
    sender = f"{row['provider']} ({row['integration']})" if row["integration"] else row["provider"]
    yield Sentence(at, f"{ACTIONS[action].capitalize()} came from {sender}: {row['service']}, key {row['dedup_key']}.")
    if action is Action.TRIGGER:
        if row["rule"]:
            yield Sentence(at, f"These rules matched: {row['rule'].replace(',', ', ')}.")
        if row["severity"] != row["severity_raw"]:
            yield Sentence(at, f"They changed its severity from {row['severity_raw']} to {row['severity']}.")
    yield Sentence(at, _outcome(row))


def of_timeline(rows: Iterable[Row]) -> Iterator[Sentence]:
    """An incident's timeline: rows of `queries.TIMELINE`, in their order."""
    for row in rows:
        yield Sentence(milliseconds(row["at"]), _event(row) if row["version"] else _delivery(row))


def of_member(row: Row) -> Sentence:
    """The alert that opened or joined the incident before this one repeated it: a row of `queries.MEMBER_BEFORE`."""
    at = milliseconds(row["received_at"])
    return Sentence(at, f"The alert {row['event_id']} of the same key was the first. {_outcome(row)}")


def conclusion(rows: Iterable[Row], at: int) -> Sentence:
    """A last sentence, as of `at`: whether somebody was told at all."""
    deliveries = [row for row in rows if not row["version"]]
    told = {row["destination"] for row in deliveries if row["outcome"] == Outcome.DELIVERED or row["note"] == "digest"}
    if told:
        return Sentence(at, f"Told: {', '.join(sorted(told))}.")
    if deliveries:
        return Sentence(at, "Nobody was told.")
    return Sentence(at, "Nobody was told: no rule, no service and no escalation policy named a destination.")


def _outcome(row: Row) -> str:
    return OUTCOMES[AlertOutcome[row["outcome"].upper()]].format(row["incident_id"])


def _event(row: Row) -> str:
    who = _SENDER if row["actor"] == "stream" else row["actor"]
    text = EVENTS.get(row["kind"], f"{{}}: {row['kind']}.").replace("{}", who)
    return f"{text[:-1]}: {row['note']}" if row["note"] else text


def _delivery(row: Row) -> str:
    what, destination = MESSAGES[Transition(row["kind"])], row["destination"] or "Nobody"
    reason, outcome = row["note"], Outcome(row["outcome"])
    if outcome is Outcome.DELIVERED:
        return f"{destination} was told that {what}."
    why = meaning(row["channel"], reason)
    if outcome is Outcome.SUPPRESSED:
        return f"{destination} was {'not ' if row['destination'] else ''}told that {what}: {why}."
    again = "it is tried again" if outcome is Outcome.RETRY else "it was given up"
    return f"Attempt {row['attempt']} to tell {destination} that {what} failed, {again}: {why}."


def meaning(channel: str, reason: str) -> str:
    """What a reason means, without a full stop; a reason that nobody knows stands for itself."""
    own = sentence(reason)
    if own is not None:
        return own
    found = SKIP_HELP.get(reason) or explain(channel, reason)
    return found.means.rstrip(".")
