"""What would happen: one alert through the stages, and recorded alerts through another configuration."""

from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from streams.api.caller import CallerOf
from streams.api.parts import PartsOf
from streams.api.problems import ProblemError, Wrong
from streams.api.replays import Job
from streams.api.times import Time, iso, moment
from streams.control import rehearsed
from streams.control.document import ConfigurationError
from streams.control.state import Control
from streams.history.times import milliseconds
from streams.rehearsal.sample import alert_of, rehearse, sentences

router = APIRouter()

#: Characters of a configuration.
_LONGEST = 2_000_000


class Sample(BaseModel):
    """An alert as on the topic `alerts.events`. It comes `at` (now), and stays open for so many `hours`.

    `configuration` is what `stormweir apply` would be given; nothing of it is applied.
    """

    alert: dict[str, Any]
    at: datetime | None = None
    hours: int = Field(default=24, ge=0, le=168)
    configuration: str | None = Field(default=None, max_length=_LONGEST)


class RoutedStep(BaseModel):
    """A destination is told, or for a reason is not, so many seconds after the alert."""

    after_s: float
    transition: str
    destination: str
    reason: str
    mentions: list[str]


class Routed(BaseModel):
    """What would become of the alert, in sentences and as values."""

    lines: list[str]
    outcome: str
    severity: str
    rules: list[str]
    steps: list[RoutedStep]
    others: list[str]


class NewReplay(BaseModel):
    """A replay of the alerts of a time, under today's configuration and, if one is given, another one."""

    since: datetime = Field(alias="from")
    until: datetime | None = Field(default=None, alias="to")
    configuration: str | None = Field(default=None, max_length=_LONGEST)
    anyway: bool = Field(default=False, description="Go on if the record is not reproduced.")


class ReplayShown(BaseModel):
    """A replay: how far it is (0 to 1), and in the end its report, or why it failed."""

    id: str
    state: Literal["running", "done", "failed"]
    progress: float
    started_at: Time
    since: Time = Field(serialization_alias="from")
    until: Time = Field(serialization_alias="to")
    error: str
    report: dict[str, Any] | None


class ReplaysShown(BaseModel):
    """The tenant's replays, the newest first, without their reports."""

    items: list[ReplayShown]


@router.post("/route-test")
async def test_route(parts: PartsOf, caller: CallerOf, sample: Sample) -> Routed:
    """Who would be told of an alert that nobody handles, when, and why others would not. Sends nothing."""
    begins = parts.now() if sample.at is None else milliseconds(sample.at)
    fields = {"dedup_key": "route-test", "summary": "route-test", **sample.alert, "tenant": caller.tenant}
    try:
        alert = alert_of(fields, begins)
    except (ValueError, TypeError) as error:
        raise ProblemError(422, "the alert is not valid", [Wrong("alert", str(error))]) from None
    control = _configured(sample.configuration, parts.control)
    names = [name for tenant, name in control.destinations if tenant == caller.tenant]
    told = rehearse(control, names, alert, sample.hours * 3_600_000)
    return Routed(
        lines=list(sentences(told, alert, sample.hours)),
        outcome=told.outcome,
        severity=told.severity,
        rules=list(told.rules),
        steps=[
            RoutedStep(
                after_s=message.after / 1000,
                transition=message.transition.value,
                destination=message.destination,
                reason=message.reason,
                mentions=list(message.mentions),
            )
            for message in told.messages
        ],
        others=list(told.others),
    )


@router.post("/replays", status_code=202)
async def start_replay(parts: PartsOf, caller: CallerOf, wanted: NewReplay) -> ReplayShown:
    """Begin a replay; ask for it until it is done. One runs at a time (409)."""
    since, until = milliseconds(wanted.since), parts.now() if wanted.until is None else milliseconds(wanted.until)
    if until <= since:
        raise ProblemError(422, "the request is not valid", [Wrong("to", "is not after `from`")])
    _configured(wanted.configuration, parts.control)
    after = {"from": iso(moment(since)), "to": iso(moment(until)), "configuration": wanted.configuration is not None}

    async def note(job: Job) -> None:
        await parts.audit.add(caller.tenant, caller.by, "started", "replay", job.id, after=after)

    return _shown(await parts.replays.start(caller.tenant, since, until, wanted.configuration, wanted.anyway, note))


@router.get("/replays")
async def list_replays(parts: PartsOf, caller: CallerOf) -> ReplaysShown:
    """The replays that are remembered."""
    found = reversed(parts.replays.of(caller.tenant))
    return ReplaysShown(items=[_shown(job).model_copy(update={"report": None}) for job in found])


@router.get("/replays/{replay_id}")
async def show_replay(parts: PartsOf, caller: CallerOf, replay_id: str) -> ReplayShown:
    """One replay, with its report once it is done."""
    return _shown(_found(parts.replays.of(caller.tenant), replay_id))


@router.delete("/replays/{replay_id}", status_code=204)
async def delete_replay(parts: PartsOf, caller: CallerOf, replay_id: str) -> None:
    """End a replay and forget it."""
    found = _found(parts.replays.of(caller.tenant), replay_id)
    await parts.audit.add(caller.tenant, caller.by, "deleted", "replay", replay_id)
    await parts.replays.forget(found)


def _configured(text: str | None, control: Control) -> Control:
    """The configuration with a file applied. Raises ProblemError."""
    if text is None:
        return control
    try:
        return rehearsed.applied(text, control)
    except ConfigurationError as error:
        lines = [line.strip().partition(": ") for line in str(error).splitlines()[1:]]
        wrong = [Wrong(f"configuration.{path}", what) for path, _, what in lines]
        raise ProblemError(422, "the configuration is not valid", wrong) from None


def _found(jobs: list[Job], name: str) -> Job:
    found = next((job for job in jobs if job.id == name), None)
    if found is None:
        raise ProblemError(404, "there is no such replay")
    return found


def _shown(job: Job) -> ReplayShown:
    return ReplayShown(
        id=job.id,
        state=job.state,
        progress=job.progress,
        started_at=moment(job.started_at),
        since=moment(job.since),
        until=moment(job.until),
        error=job.error,
        report=job.report,
    )
