"""On-call schedules: who is on call when. streams.policy.oncall says what they mean."""

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from schemas.control.quiet import DAYS, Day, Hours, Zone
from schemas.control.record import DEFAULT_TENANT, AnyRecord, Name, Record, Reference, references

Rotation = Literal["hourly", "daily", "weekly"]
Clock = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


class Layer(Record):
    """`users` take turns of `every` hours, days or weeks, the first one from `handover` of the day `start`.

    With `hours` or `days` its people are on call in these hours only, which belong to the day on which they begin.
    All times are by the clocks of the schedule.
    """

    name: str = Field(default="", max_length=200)
    users: tuple[Name, ...] = Field(min_length=1, max_length=200)
    start: date = Field(ge=date(1970, 1, 1), le=date(2199, 12, 31))
    rotation: Rotation = "weekly"
    every: int = Field(default=1, ge=1, le=1000)
    handover: Clock = "09:00"
    hours: Hours = "00:00-24:00"
    days: tuple[Day, ...] = Field(default=DAYS, min_length=1, max_length=7)


class Schedule(AnyRecord):
    """Who is on call: the last layer that has somebody decides, and an override (a record of its own) before all."""

    id: Name
    tenant: Name = DEFAULT_TENANT
    name: str = Field(default="", max_length=200)
    zone: Zone
    layers: tuple[Layer, ...] = Field(min_length=1, max_length=20)

    def references(self) -> Iterator[Reference]:
        """The users of its layers."""
        for index, layer in enumerate(self.layers):
            yield from references(f"layers.{index}.users", "user", layer.users)


class Override(AnyRecord):
    """`user` is on call in a schedule from `starts_at` until `ends_at`, whatever its layers say.

    It is a record of its own, so that a file with the schedule does not undo what commands have changed for a night.
    """

    id: Name
    tenant: Name = DEFAULT_TENANT
    schedule: Name
    user: Name
    starts_at: AwareDatetime
    ends_at: AwareDatetime

    @model_validator(mode="after")
    def _some_time(self) -> Self:
        if self.ends_at <= self.starts_at:
            raise ValueError("ends_at is not after starts_at")
        return self

    def references(self) -> Iterator[Reference]:
        """The schedule and the user."""
        yield Reference("schedule", "schedule", self.schedule)
        yield Reference("user", "user", self.user)
