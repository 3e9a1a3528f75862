"""Escalation policies: who is paged until somebody acknowledges. streams.policy.escalation says how."""

from collections.abc import Iterator
from typing import Self

from pydantic import Field, model_validator

from schemas.control.record import DEFAULT_TENANT, AnyRecord, Name, Record, Reference, references

DAY_S = 86_400


class Step(Record):
    """Users, whoever is on call in schedules, and destinations; the next step follows `delay` seconds later."""

    users: tuple[Name, ...] = Field(default=(), max_length=50)
    schedules: tuple[Name, ...] = Field(default=(), max_length=50)
    destinations: tuple[Name, ...] = Field(default=(), max_length=50)
    delay: int = Field(default=300, ge=10, le=DAY_S)

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not (self.users or self.schedules or self.destinations):
            raise ValueError("users, schedules or destinations are needed")
        return self


class Escalation(AnyRecord):
    """Steps, one after another until somebody acknowledges, and `repeat` times again.

    `fallback` are destinations for a step that reaches nobody. An acknowledgement ends after `acknowledge_timeout`
    seconds, and who acknowledged is reminded every `remind_after` seconds; None means never.
    """

    id: Name
    tenant: Name = DEFAULT_TENANT
    name: str = Field(default="", max_length=200)
    steps: tuple[Step, ...] = Field(min_length=1, max_length=50)
    repeat: int = Field(default=0, ge=0, le=9)
    fallback: tuple[Name, ...] = Field(default=(), max_length=50)
    acknowledge_timeout: int | None = Field(default=None, ge=60, le=30 * DAY_S)
    remind_after: int | None = Field(default=None, ge=60, le=30 * DAY_S)

    @model_validator(mode="after")
    def _never_nobody(self) -> Self:
        if not self.fallback and not any(step.users or step.destinations for step in self.steps):
            raise ValueError("a fallback is needed: nobody may be on call in the schedules of all steps")
        return self

    def references(self) -> Iterator[Reference]:
        """The users, schedules and destinations of its steps, and its fallback."""
        for index, step in enumerate(self.steps):
            yield from references(f"steps.{index}.users", "user", step.users)
            yield from references(f"steps.{index}.schedules", "schedule", step.schedules)
            yield from references(f"steps.{index}.destinations", "destination", step.destinations)
        yield from references("fallback", "destination", self.fallback)
