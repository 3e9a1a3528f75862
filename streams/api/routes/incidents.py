"""Incidents: the list, and one of them with what is known of it at a glance."""

import asyncio
import re
from contextlib import suppress
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from schemas.wire import incident as wire
from schemas.wire.alert import Severity
from schemas.wire.notification import Outcome
from sinks.clickhouse.client import ClickHouseError
from streams.api.caller import CallerOf
from streams.api.found import IncidentOf
from streams.api.incident import Incident, Link, SeverityName, StatusName, fields_of, links_of
from streams.api.model.pages import Filter, Order, Place
from streams.api.parts import Parts, PartsOf
from streams.api.problems import ProblemError, Wrong
from streams.api.times import Time, moment
from streams.history import queries
from streams.history.explain import meaning

router = APIRouter()

_CHILDREN = 100
_LINKS = 20
_PLACE = re.compile(r"(p|o)(-?[0-9]{1,16})\.([0-9]{1,16})")
_ORDERS: dict[str, Order] = {"p": "priority", "o": "-opened_at"}
#: How a reason begins that names the incident which is told instead.
_ABOVE = frozenset({"cause", "storm"})
_INTO = re.compile(r"into ([0-9a-f-]{36})")


def _split(value: Any) -> Any:
    """`a,b` and a parameter that is given twice are both a list."""
    parts = [part for text in value for part in text.split(",")] if isinstance(value, list) else value
    return [part.strip() for part in parts if part.strip()] if isinstance(parts, list) else parts


class IncidentQuery(BaseModel):
    """Filters of the list. Lists are separated by commas; of each, an incident must have one."""

    model_config = ConfigDict(extra="forbid")

    status: Annotated[list[StatusName], BeforeValidator(_split)] = []
    severity: Annotated[list[SeverityName], BeforeValidator(_split)] = []
    service: Annotated[list[Annotated[str, Field(max_length=200)]], BeforeValidator(_split), Field(max_length=100)] = []
    q: Annotated[
        str,
        Field(max_length=200, description="Words, or beginnings of words, of title, service, key, source and labels"),
    ] = ""
    mine: Annotated[bool, Field(description="Only those that the caller acknowledged")] = False
    order: Annotated[
        Order, Field(description="`priority`: open before acknowledged before resolved, the worst, then the newest")
    ] = "priority"
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    after: Annotated[str, Field(max_length=40, description="`next` of the page before")] = ""


class Facets(BaseModel):
    """For each value, how many incidents there would be if it were the only one chosen of its field.

    `at_least`: there may be more of each, as only the first 2,000 that the search finds are counted.
    """

    status: dict[str, int]
    severity: dict[str, int]
    service: dict[str, int]
    at_least: bool


class IncidentPage(BaseModel):
    """`total` is of all pages, `total_at_least`: there are more. Up to `as_of` the list has everything."""

    items: list[Incident]
    next: str | None
    total: int
    total_at_least: bool
    as_of: Time
    facets: Facets


class Told(BaseModel):
    """The newest message to a destination, or why it got none."""

    destination: str
    transition: str
    outcome: Literal["delivered", "retry", "failed", "suppressed"]
    at: Time
    reason: str | None


class IncidentDetail(Incident):
    """One incident as of the time `as_of`. The last fields are from history, and null while that does not answer.

    `open_alerts` are its keys that fire on. `parent` is the incident that it ended in, that is its cause, or that is
    told for it in a storm of the tenant; `children` are those for which it is that. `reasons` say what keeps it from
    destinations now.
    """

    as_of: Time
    open_alerts: int | None = None
    parent: UUID | None = None
    children: list[UUID] | None = None
    links: list[Link] | None = None
    told: list[Told] | None = None
    reasons: list[str] | None = None


@router.get("/incidents")
async def list_incidents(parts: PartsOf, caller: CallerOf, query: Annotated[IncidentQuery, Query()]) -> IncidentPage:
    """A page of incidents: those that are not resolved, and those resolved within the retention."""
    which = Filter(
        tenant=caller.tenant,
        statuses=[wire.Status[name.upper()] for name in query.status],
        severities=[Severity[name.upper()] for name in query.severity],
        services=query.service,
        text=query.q.strip(),
        acknowledged_by=caller.actor if query.mine else "",
    )
    as_of = parts.model.as_of
    page, facets = await parts.model.page(which, query.order, _place(query), query.limit)
    return IncidentPage(
        items=[Incident.of(incident) for incident in page.incidents],
        next=f"{'p' if query.order == 'priority' else 'o'}{page.next.key}.{page.next.number}" if page.next else None,
        total=facets.total,
        total_at_least=facets.total_at_least,
        as_of=moment(as_of),
        facets=Facets(status=facets.status, severity=facets.severity, service=facets.service, at_least=facets.at_least),
    )


@router.get("/incidents/{incident_id}")
async def show_incident(parts: PartsOf, incident: IncidentOf) -> IncidentDetail:
    """One incident, and who was told of it."""
    fields = fields_of(incident) | {"as_of": moment(parts.model.as_of)}
    # What people act on does not wait for history.
    with suppress(ClickHouseError):
        fields |= await _history(parts, incident)
    return IncidentDetail.model_validate(fields)


def _place(query: IncidentQuery) -> Place | None:
    if not query.after:
        return None
    found = _PLACE.fullmatch(query.after)
    if found is None or _ORDERS[found[1]] != query.order:
        raise ProblemError(422, "the request is not valid", [Wrong("after", "is not `next` of a page in this order")])
    return Place(int(found[2]), int(found[3]))


async def _history(parts: Parts, incident: wire.Incident) -> dict[str, object]:
    identity = str(UUID(bytes=incident.incident_id))
    scope = {"tenant": incident.tenant, "incident_id": identity}
    since = {**scope, "since": incident.opened_at}
    timeline, children, (short) = await asyncio.gather(
        parts.query(queries.TIMELINE, scope),
        parts.query(queries.CHILDREN_OF_INCIDENT, {**since, "limit": _CHILDREN}),
        parts.query(queries.ALERTS_IN_SHORT, {**since, "limit": _LINKS}),
    )
    newest: dict[str, dict[str, Any]] = {}
    parent = acknowledged_by = None
    for row in timeline:
        if row["version"]:
            into = _INTO.match(row["note"]) if row["kind"] == "merged" else None
            parent = into[1] if into else parent
            acknowledged_by = row["actor"] if row["kind"] == "acknowledged" else acknowledged_by
        else:
            newest[row["destination"]] = row
            kind, _, name = row["note"].partition("/")
            parent = name if kind in _ABOVE else parent
    told = [
        {"transition": row["kind"], "reason": row["note"] or None, **{name: row[name] for name in _TOLD}}
        for row in newest.values()
    ]
    kept = [row for row in newest.values() if row["outcome"] == Outcome.SUPPRESSED]
    found: dict[str, object] = {
        "parent": parent,
        "children": [row["incident_id"] for row in children],
        "told": told,
        "reasons": list(dict.fromkeys(meaning(row["channel"], row["note"]) for row in kept)),
    }
    if incident.acknowledged_at and not incident.acknowledged_by:
        found["acknowledged_by"] = acknowledged_by
    for row in short:
        found["open_alerts"] = 0 if incident.status == wire.Status.RESOLVED else row["firing"]
        links = [link for text in row["links"] for link in links_of(text)]
        found["links"] = [link for place, link in enumerate(links) if link not in links[:place]]
    return found


_TOLD = ("destination", "outcome", "at")
