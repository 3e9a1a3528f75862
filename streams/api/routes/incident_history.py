"""What is recorded of one incident: its timeline, alerts and deliveries, and what was before it and was like it."""

import re
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel

from schemas.wire.incident import Incident
from streams.api.found import IncidentOf
from streams.api.incident import Link, SeverityName, StatusName, links_of
from streams.api.parts import PartsOf
from streams.api.problems import ProblemError, Wrong
from streams.api.times import Time, moment, moment_or_none
from streams.history import queries
from streams.history.explain import explain_incident, meaning, of_timeline
from streams.history.times import milliseconds

router = APIRouter()

T = TypeVar("T")

_DELIVERIES = 1_000
_SIMILAR = 10
_SIMILAR_MS = 90 * 86_400_000
#: Minutes of activity, the latest ones of an incident that is older.
_MINUTES = 1_440
_AFTER = re.compile(r"([0-9]{1,15})\.([0-9a-f]{8}-[0-9a-f-]{27})")
#: What the query calls a reason.
_WHY = {"key": "the same alert", "text": "the same text but for numbers", "alike": "a similar text"}


class Items(BaseModel, Generic[T]):
    """A page; `next` is the `after` of the next one, null after the last."""

    items: list[T]
    next: str | None = None


class TimelineEntry(BaseModel):
    """An event, which has a version, or an attempt to tell a destination; `text` says it in a sentence.

    `reason` is why a destination was not told, in words of one table; `attempt` 0 is none.
    """

    at: Time
    kind: str
    text: str
    version: int | None
    actor: str | None
    from_status: str | None
    to_status: str | None
    note: str | None
    destination: str | None
    channel: str | None
    outcome: str | None
    attempt: int | None
    http_status: int | None
    reason: str | None


class IncidentAlert(BaseModel):
    """One alert. `severity_raw` is the one before rules, `rule` has the ids of those that matched."""

    event_id: UUID
    received_at: Time
    provider: str
    integration: str
    service: str
    severity: SeverityName
    severity_raw: SeverityName
    action: str
    outcome: str
    dedup_key: str
    summary: str
    source: str
    rule: str
    labels: dict[str, str]
    links: list[Link]


class IncidentDelivery(BaseModel):
    """One attempt to tell a destination, or (`attempt` 0) the reason for none; `means` says what `error` is."""

    id: UUID
    incident_id: UUID
    destination: str
    channel: str
    transition: str
    attempt: int
    queued_at: Time
    sent_at: Time | None
    finished_at: Time
    outcome: str
    http_status: int | None
    error: str
    means: str | None


class ChangeBefore(BaseModel):
    """A deployment or another change in the incident's service, before it opened."""

    at: Time
    summary: str
    source: str
    links: list[Link]
    seconds_before: int


class SimilarIncident(BaseModel):
    """An incident of before; `note` is the last one that a person wrote on it."""

    id: UUID
    status: StatusName
    severity: SeverityName
    service: str
    title: str
    opened_at: Time
    resolved_at: Time | None
    why: str
    note: str | None


class Sentence(BaseModel):
    """What happened, from what is recorded."""

    at: Time
    text: str


class Minute(BaseModel):
    """How many alerts of the incident's keys came in the minute that begins then, with all repeats."""

    at: Time
    alerts: int


class Timeline(Items[TimelineEntry]):
    """What happened to an incident."""


class IncidentAlerts(Items[IncidentAlert]):
    """A page of its alerts."""


class IncidentDeliveries(Items[IncidentDelivery]):
    """The attempts to tell of it."""


class ChangesBefore(Items[ChangeBefore]):
    """What changed before it."""


class SimilarIncidents(Items[SimilarIncident]):
    """Those that are like it."""


class Activity(Items[Minute]):
    """Its alerts by the minute."""


class Reasons(Items[Sentence]):
    """What happened, in sentences."""


@router.get("/incidents/{incident_id}/timeline")
async def list_timeline(parts: PartsOf, incident: IncidentOf) -> Timeline:
    """What happened to it, who did it, who was told, and why somebody was not."""
    rows = await parts.query(queries.TIMELINE, _scope(incident))
    return Timeline(items=[_entry(row, said.text) for row, said in zip(rows, of_timeline(rows), strict=True)])


@router.get("/incidents/{incident_id}/alerts")
async def list_incident_alerts(
    parts: PartsOf,
    incident: IncidentOf,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    after: Annotated[str, Query(max_length=60)] = "",
) -> IncidentAlerts:
    """Its alerts in order, without repeats that folded."""
    since, last = _place(after, incident)
    params = {**_scope(incident), "since": since, "after": last, "limit": limit + 1}
    rows = await parts.query(queries.ALERTS_OF_INCIDENT, params)
    more = rows[limit - 1] if len(rows) > limit else None
    return IncidentAlerts(
        items=[IncidentAlert.model_validate({**row, "links": links_of(row["links"])}) for row in rows[:limit]],
        next=f"{milliseconds(more['received_at'])}.{more['event_id']}" if more else None,
    )


@router.get("/incidents/{incident_id}/deliveries")
async def list_incident_deliveries(parts: PartsOf, incident: IncidentOf) -> IncidentDeliveries:
    """The latest attempts to tell of it, and the reasons for none."""
    rows = await parts.query(queries.DELIVERIES_OF_INCIDENT, {**_scope(incident), "limit": _DELIVERIES})
    return IncidentDeliveries(items=[_delivery(row) for row in rows])


@router.get("/incidents/{incident_id}/changes")
async def list_incident_changes(
    parts: PartsOf, incident: IncidentOf, hours: Annotated[int, Query(ge=1, le=168)] = 24
) -> ChangesBefore:
    """What was changed in its service before it opened, the newest first."""
    rows = await parts.query(queries.CHANGES_BEFORE, {**_scope(incident), "hours": hours})
    return ChangesBefore(items=[ChangeBefore.model_validate({**row, "links": links_of(row["links"])}) for row in rows])


@router.get("/incidents/{incident_id}/similar")
async def list_similar(parts: PartsOf, incident: IncidentOf) -> SimilarIncidents:
    """Incidents of its service in the 90 days before, the most alike first."""
    params = {
        **_scope(incident),
        "service": incident.service,
        "dedup_key": incident.dedup_key,
        "title": incident.title,
        "since": max(0, incident.opened_at - _SIMILAR_MS),
        "until": incident.opened_at,
        "limit": _SIMILAR,
    }
    rows = await parts.query(queries.SIMILAR_INCIDENTS, params)
    return SimilarIncidents(items=[_similar(row) for row in rows])


@router.get("/incidents/{incident_id}/activity")
async def list_activity(parts: PartsOf, incident: IncidentOf) -> Activity:
    """How many alerts came in each minute that had some, the latest day of them."""
    until = incident.resolved_at or parts.now()
    params = {**_scope(incident), "since": incident.opened_at, "until": until, "limit": _MINUTES}
    return Activity(
        items=[Minute.model_validate(row) for row in await parts.query(queries.ACTIVITY_OF_INCIDENT, params)]
    )


@router.get("/incidents/{incident_id}/explain")
async def list_reasons(parts: PartsOf, incident: IncidentOf) -> Reasons:
    """In sentences, in order of time: what happened, who was told, and why somebody was not."""
    row = {"incident_id": UUID(bytes=incident.incident_id), "opened_at": moment(incident.opened_at)}
    sentences = await explain_incident(parts.query, incident.tenant, row)
    return Reasons(items=[Sentence(at=moment(each.at), text=each.text) for each in sentences])


def _scope(incident: Incident) -> dict[str, object]:
    return {"tenant": incident.tenant, "incident_id": str(UUID(bytes=incident.incident_id))}


def _place(after: str, incident: Incident) -> tuple[int, str]:
    """The time from which alerts are read, and the id of the last one of that time that was read."""
    if not after:
        return incident.opened_at, ""
    found = _AFTER.fullmatch(after)
    if found is None:
        raise ProblemError(422, "the request is not valid", [Wrong("after", "is not `next` of a page")])
    return max(int(found[1]), incident.opened_at), found[2]


def _entry(row: dict[str, Any], text: str) -> TimelineEntry:
    told = not row["version"]
    event = ("version", "actor", "from_status", "to_status", "note")
    delivery = ("destination", "channel", "outcome", "attempt", "http_status")
    values = {name: row[name] or None for name in event if not told}
    if told:
        values = {name: row[name] for name in delivery} | {"reason": row["note"] or None}
    empty = dict.fromkeys((*event, *delivery, "reason"))
    return TimelineEntry.model_validate({"at": row["at"], "kind": row["kind"], "text": text, **empty, **values})


def _delivery(row: dict[str, Any]) -> IncidentDelivery:
    values = {
        **row,
        "id": row["notification_id"],
        "http_status": row["http_status"] or None,
        "sent_at": moment_or_none(milliseconds(row["sent_at"])),
        "means": meaning(row["channel"], row["error"]) if row["error"] else None,
    }
    return IncidentDelivery.model_validate(values)


def _similar(row: dict[str, Any]) -> SimilarIncident:
    values = {
        **row,
        "id": row["incident_id"],
        "resolved_at": moment_or_none(milliseconds(row["resolved_at"])),
        "why": _WHY[row["why"]],
        "note": row["note"] or None,
    }
    return SimilarIncident.model_validate(values)
