"""What a silence would hide; silences themselves are records."""

from contextlib import suppress
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field

from schemas.wire.incident import Incident
from sinks.clickhouse.client import ClickHouseError
from streams.api.caller import CallerOf
from streams.api.parts import Parts, PartsOf
from streams.api.problems import ProblemError, Wrong
from streams.api.times import Time, moment
from streams.history.preview import Rate, preview, sentence
from streams.history.queries import INCIDENTS_SINCE
from streams.policy.language import compile_incident
from streams.policy.matching import is_broad

router = APIRouter()

#: Incidents that are read of history, and open ones that are listed.
_READ = 100_000
_LISTED = 100
_DAY_MS = 86_400_000


class TriedSilence(BaseModel):
    """Conditions as of a silence; all must hold. So many days are looked back."""

    match: list[Annotated[str, Field(max_length=2_000)]] = Field(max_length=50)
    days: int = Field(default=30, ge=1, le=365)


class Hidden(BaseModel):
    """An open incident that would be hidden."""

    id: str
    status: str
    severity: str
    service: str
    title: str
    opened_at: Time

    @classmethod
    def of(cls, incident: Incident) -> "Hidden":
        """As it is shown."""
        return cls(
            id=str(UUID(bytes=incident.incident_id)),
            status=incident.status.name.lower(),
            severity=incident.severity.name.lower(),
            service=incident.service,
            title=incident.title,
            opened_at=moment(incident.opened_at),
        )


class Preview(BaseModel):
    """`total` open incidents match, of which some are listed, and about so many a day opened in the last `days`.

    `hidden_a_day` and `days` are null while history does not answer.
    """

    sentence: str
    total: int
    hides_now: list[Hidden]
    hidden_a_day: float | None
    days: float | None
    warnings: list[Wrong]


@router.post("/silences/preview")
async def preview_silence(parts: PartsOf, caller: CallerOf, wanted: TriedSilence) -> Preview:
    """What a silence with these conditions would hide. Changes nothing."""
    for index, line in enumerate(wanted.match):
        try:
            compile_incident([line])
        except ValueError as error:
            raise ProblemError(422, "the request is not valid", [Wrong(f"match.{index}", str(error))]) from None
    found = await parts.model.working(caller.tenant, compile_incident(wanted.match))
    rate = None
    # What it hides now does not wait for history.
    with suppress(ClickHouseError):
        rate = await _rate(parts, caller.tenant, wanted)
    broad = [Wrong("match", "may hide every incident: no line names a service, a label or a key")]
    return Preview(
        sentence=sentence(len(found), rate),
        total=len(found),
        hides_now=[Hidden.of(incident) for incident in found[:_LISTED]],
        hidden_a_day=None if rate is None else round(rate.a_day, 2),
        days=None if rate is None else round(rate.days, 2),
        warnings=broad if is_broad(wanted.match) else [],
    )


async def _rate(parts: Parts, tenant: str, wanted: TriedSilence) -> Rate:
    now = parts.now()
    since = now - wanted.days * _DAY_MS
    rows = await parts.query(INCIDENTS_SINCE, {"tenant": tenant, "since": since, "limit": _READ})
    return preview([{**row, "tenant": tenant} for row in rows], wanted.match, since, now, _READ).rate
