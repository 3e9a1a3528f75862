"""What a silence would hide; silences themselves are records."""

import time
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from streams.api.caller import CallerOf
from streams.api.parts import PartsOf
from streams.api.problems import ProblemError, Wrong
from streams.api.times import Time, moment
from streams.history.preview import preview
from streams.history.queries import INCIDENTS_SINCE
from streams.history.times import milliseconds
from streams.policy.language import compile_incident
from streams.policy.matching import is_broad

router = APIRouter()

#: Incidents that are read, and open ones that are listed.
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


class Preview(BaseModel):
    """`total` open incidents match, of which some are listed, and about so many a day opened."""

    sentence: str
    total: int
    hides_now: list[Hidden]
    hidden_a_day: float
    days: float
    warnings: list[Wrong]


@router.post("/silences/preview")
async def preview_silence(parts: PartsOf, caller: CallerOf, wanted: TriedSilence) -> Preview:
    """What a silence with these conditions would hide. Changes nothing."""
    for index, line in enumerate(wanted.match):
        try:
            compile_incident([line])
        except ValueError as error:
            raise ProblemError(422, "the request is not valid", [Wrong(f"match.{index}", str(error))]) from None
    now = time.time_ns() // 1_000_000
    since = now - wanted.days * _DAY_MS
    rows = await parts.query(INCIDENTS_SINCE, {"tenant": caller.tenant, "since": since, "limit": _READ})
    found = preview([{**row, "tenant": caller.tenant} for row in rows], wanted.match, since, now, _READ)
    broad = [Wrong("match", "may hide every incident: no line names a service, a label or a key")]
    return Preview(
        sentence=found.sentence(),
        total=len(found.open),
        hides_now=[
            Hidden(
                id=str(row["incident_id"]),
                status=row["status"],
                severity=row["severity"],
                service=row["service"],
                title=row["title"],
                opened_at=moment(milliseconds(row["opened_at"])),
            )
            for row in found.open[:_LISTED]
        ],
        hidden_a_day=round(found.a_day, 2),
        days=round(found.days, 2),
        warnings=broad if is_broad(wanted.match) else [],
    )
