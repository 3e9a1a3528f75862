"""History: alerts that came, named questions, and what a time was like."""

from datetime import datetime, timedelta
from typing import Annotated, Any, NamedTuple
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel

from streams.api.caller import CallerOf
from streams.api.parts import Parts, PartsOf
from streams.api.problems import ProblemError, Wrong
from streams.api.rows import shown
from streams.api.tables import AlertShown, DestinationPages, HourShown, NoisyAlert, ServiceResponse
from streams.api.times import Time, moment
from streams.history import queries
from streams.history.times import milliseconds

router = APIRouter()

Begin = Annotated[datetime | None, Query(alias="from", description="A day ago, if it is left out.")]
End = Annotated[datetime | None, Query(alias="to", description="Now, if it is left out.")]
_DAY = timedelta(days=1)
_LAST_ID = UUID(int=2**128 - 1)


class Question(NamedTuple):
    """A named query over a tenant; it takes the `parameters` beside."""

    title: str
    sql: str
    parameters: tuple[str, ...]


QUESTIONS = {
    "noisiest": Question("Which alerts repeat most?", queries.NOISIEST, ("since", "limit")),
    "noise-reduction": Question("How many alerts opened no incident?", queries.NOISE_REDUCTION, ("since",)),
    "volumes": Question("How much came, opened and was told, by hour?", queries.VOLUMES, ("since", "until")),
    "response": Question("How fast do people respond, by service?", queries.RESPONSE, ("since", "until")),
    "pages": Question("Who is paged most, and at night?", queries.PAGES_BY_DESTINATION, ("since", "until")),
    "integration-traffic": Question("What do integrations send?", queries.INTEGRATION_TRAFFIC, ("since",)),
    "open-by-service": Question("Where is something open?", queries.OPEN_BY_SERVICE, ()),
}


class QuestionShown(BaseModel):
    """A question: its name in paths, and the parameters that it takes."""

    name: str
    title: str
    parameters: list[str]


class QuestionsShown(BaseModel):
    """Every question."""

    items: list[QuestionShown]


class QueryAnswer(BaseModel):
    """A table."""

    name: str
    title: str
    columns: list[str]
    rows: list[list[Any]]


class AlertsShown(BaseModel):
    """Alerts, the newest first; `next` is the `after` of the next page."""

    items: list[AlertShown]
    next: str | None


class Insights(BaseModel):
    """What a time was like. `noise_ratio` is the share of alerts that opened no incident; None without alerts."""

    since: Time
    until: Time
    alerts: int
    incidents: int
    pages: int
    noise_ratio: float | None
    hours: list[HourShown]
    noisiest: list[NoisyAlert]
    response: list[ServiceResponse]
    pages_by_destination: list[DestinationPages]


@router.get("/alerts")
async def list_alerts(
    parts: PartsOf,
    caller: CallerOf,
    q: Annotated[str, Query(max_length=200, description="A part of summary or key.")] = "",
    service: Annotated[str, Query(max_length=200)] = "",
    outcome: Annotated[str, Query(max_length=20)] = "",
    begin: Begin = None,
    end: End = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str, Query(max_length=80)] = "",
) -> AlertsShown:
    """The alerts of a time, with what became of each."""
    since, until = _span(begin, end, parts.now())
    before, before_id = _place(after) if after else (until + 1, _LAST_ID)
    params = {
        "tenant": caller.tenant,
        "since": since,
        "until": until + 1,
        "before": before,
        "before_id": str(before_id),
        "service": service,
        "outcome": outcome,
        "text": q,
        "limit": limit + 1,
    }
    rows = await parts.query(queries.ALERTS_PAGE, params)
    last = rows[limit - 1] if len(rows) > limit else None
    following = f"{milliseconds(last['received_at'])}:{last['event_id']}" if last is not None else None
    return AlertsShown(items=[AlertShown(**shown(row)) for row in rows[:limit]], next=following)


@router.get("/queries")
async def list_queries() -> QuestionsShown:
    """The questions that are answered."""
    return QuestionsShown(
        items=[
            QuestionShown(name=name, title=question.title, parameters=list(question.parameters))
            for name, question in QUESTIONS.items()
        ]
    )


@router.get("/queries/{name}")
async def run_query(
    parts: PartsOf,
    caller: CallerOf,
    name: str,
    begin: Begin = None,
    end: End = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
) -> QueryAnswer:
    """The answer to a question, about the caller's tenant."""
    question = QUESTIONS.get(name)
    if question is None:
        raise ProblemError(404, "there is no such question")
    since, until = _span(begin, end, parts.now())
    rows = await _ask(parts, caller.tenant, question, since, until, limit)
    columns = list(rows[0]) if rows else []
    return QueryAnswer(
        name=name, title=question.title, columns=columns, rows=[[row[each] for each in columns] for row in rows]
    )


@router.get("/insights")
async def show_insights(parts: PartsOf, caller: CallerOf, begin: Begin = None, end: End = None) -> Insights:
    """Volumes by hour, noise, how fast people respond, and who is paged."""
    since, until = _span(begin, end, parts.now())

    async def ask(name: str) -> list[dict[str, Any]]:
        return await _ask(parts, caller.tenant, QUESTIONS[name], since, until, 20)

    hours = await ask("volumes")
    alerts, incidents, pages = (sum(int(row[column]) for row in hours) for column in ("alerts", "incidents", "pages"))
    return Insights(
        since=moment(since),
        until=moment(until),
        alerts=alerts,
        incidents=incidents,
        pages=pages,
        noise_ratio=round(1 - incidents / alerts, 4) if alerts else None,
        hours=[HourShown(**row) for row in hours],
        noisiest=[NoisyAlert(**row) for row in await ask("noisiest")],
        response=[ServiceResponse(**row) for row in await ask("response")],
        pages_by_destination=[DestinationPages(**row) for row in await ask("pages")],
    )


async def _ask(
    parts: Parts, tenant: str, question: Question, since: int, until: int, limit: int
) -> list[dict[str, Any]]:
    values = {"since": since, "until": until, "limit": limit}
    params = {"tenant": tenant, **{name: values[name] for name in question.parameters}}
    return [shown(row) for row in await parts.query(question.sql, params)]


def _span(begin: datetime | None, end: datetime | None, now: int) -> tuple[int, int]:
    until = now if end is None else milliseconds(end)
    since = until - int(_DAY.total_seconds() * 1000) if begin is None else milliseconds(begin)
    if since < 0 or since >= until:
        raise ProblemError(422, "the request is not valid", [Wrong("to", "is not after `from`")])
    return since, until


def _place(text: str) -> tuple[int, UUID]:
    at, _, name = text.partition(":")
    try:
        return int(at), UUID(name)
    except ValueError:
        raise ProblemError(422, "the request is not valid", [Wrong("after", "is no `next` of a page")]) from None
