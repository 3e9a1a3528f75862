"""Rules: what is changed or decided for the alerts that match."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from schemas.control.life import Life
from schemas.control.quiet import QuietHours, hours_references
from schemas.control.record import DEFAULT_TENANT, AnyRecord, Name, Reference, SeverityName, references
from schemas.control.service import GroupField

#: Whom a message mentions, in the words of the channel: a user's or a group's id, `@channel`, `@here`.
Mention = Annotated[str, Field(pattern=r"^@?[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}$")]


class Rule(AnyRecord):
    """One rule. Rules are tried by `order`, then by id; every rule whose conditions all hold is applied.

    `match` lines are conditions (streams.policy.language), `when` is one more. Conditions see the alert as it arrived.
    `drop` ends the alert as suppressed and no later rule is tried; `stop` tries no later rule either. `suppress`
    stores the alert without an incident. `service` moves the alert to another service; its fingerprint, and with it
    what is a repeat of it, stays. `group_by` is its correlation key in place of the service's. `enrich` adds labels of
    lookup tables. `route` adds destinations; messages to them carry `mentions`, and `quiet_hours` are theirs.
    """

    id: Name
    tenant: Name = DEFAULT_TENANT
    order: int = 100
    match: tuple[str, ...] = Field(default=(), max_length=20)
    when: str = ""
    drop: bool = False
    suppress: bool = False
    stop: bool = False
    severity: SeverityName | None = None
    urgency: Literal["high", "low"] | None = None
    service: Name | None = None
    group_by: tuple[GroupField, ...] = Field(default=(), max_length=10)
    enrich: tuple[Name, ...] = Field(default=(), max_length=10)
    labels: dict[str, str] = Field(default_factory=dict)
    route: tuple[Name, ...] = Field(default=(), max_length=50)
    life: Life = Life()
    mentions: tuple[Mention, ...] = Field(default=(), max_length=20)
    quiet_hours: tuple[QuietHours, ...] = Field(default=(), max_length=20)

    @property
    def conditions(self) -> tuple[str, ...]:
        """The lines that must all hold; none match every alert."""
        return (*self.match, self.when) if self.when else self.match

    @property
    def condition_paths(self) -> tuple[str, ...]:
        """The path of each of `conditions` in the record."""
        paths = (f"match.{index}" for index in range(len(self.match)))
        return (*paths, "when") if self.when else tuple(paths)

    @model_validator(mode="after")
    def _drops_alone(self) -> Self:
        kept = {"id", "tenant", "order", "match", "when", "drop"}
        # A record of the topic has every field, also those that have their defaults.
        defaults = {
            name: field.get_default(call_default_factory=True) for name, field in type(self).model_fields.items()
        }
        idle = sorted(name for name in defaults.keys() - kept if getattr(self, name) != defaults[name])
        if self.drop and idle:
            raise ValueError(f"{', '.join(idle)}: has no effect on an alert that is dropped")
        return self

    def references(self) -> Iterator[Reference]:
        """The service that it moves to, its lookup tables, and the destinations that it routes to."""
        if self.service is not None:
            yield Reference("service", "service", self.service)
        yield from references("enrich", "lookup", self.enrich)
        yield from references("route", "destination", self.route)
        yield from hours_references(self.quiet_hours)
