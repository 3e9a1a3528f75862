"""Targets for the time until an incident is acknowledged and resolved. streams.policy.sla measures it."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from schemas.control.record import Name, Record, Reference, SeverityName

DAY_S = 86_400


class SlaTarget(Record):
    """Seconds until incidents of these severities are acknowledged and resolved, in the hours of `calendar`.

    Without a calendar every second counts.
    """

    severities: tuple[SeverityName, ...] = Field(min_length=1, max_length=4)
    acknowledge_within: int | None = Field(default=None, ge=1, le=366 * DAY_S)
    resolve_within: int | None = Field(default=None, ge=1, le=366 * DAY_S)
    calendar: Name | None = None

    @model_validator(mode="after")
    def _some_target(self) -> Self:
        if self.acknowledge_within is None and self.resolve_within is None:
            raise ValueError("acknowledge_within or resolve_within is needed")
        return self


def _one_each(targets: tuple[SlaTarget, ...]) -> tuple[SlaTarget, ...]:
    severities = [severity for target in targets for severity in target.severities]
    twice = {severity for severity in severities if severities.count(severity) > 1}
    if twice:
        raise ValueError(f"a severity has one target: {', '.join(sorted(twice))}")
    return targets


SlaTargets = Annotated[tuple[SlaTarget, ...], Field(max_length=4), AfterValidator(_one_each)]


def sla_references(targets: Iterable[SlaTarget]) -> Iterator[Reference]:
    """The calendars that a service's targets name."""
    for index, target in enumerate(targets):
        if target.calendar is not None:
            yield Reference(f"sla.{index}.calendar", "calendar", target.calendar)
