"""Services, which alerts are about: which alerts form one incident, and who is told of it."""

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator
from pydantic_core.core_schema import ValidationInfo

from schemas.control.life import Life, Threshold
from schemas.control.notify import Notify
from schemas.control.quiet import QuietHours, hours_references
from schemas.control.record import DEFAULT_TENANT, AnyRecord, Name, Record, Reference, references
from schemas.control.sla import SlaTargets, sla_references
from schemas.control.storm import Storm

DEFAULT_WINDOW_S = 60


_GROUP_FIELDS = frozenset(["service", "source", "component", "group", "class", "severity", "summary", "dedup_key"])


def _known(name: str) -> str:
    if name not in _GROUP_FIELDS and not re.fullmatch(r"labels\.[^\s]{1,100}", name):
        raise ValueError(f"{name!r} is neither an alert field nor labels.<name>")
    return name


#: A field that alerts are grouped by.
GroupField = Annotated[str, AfterValidator(_known)]


class Correlation(Record):
    """Alerts of one tenant with equal `group_by` values within `window` seconds form one incident; with a `threshold`
    once so many different alerts fired.

    `group_by` names alert fields (service, source, component, group, class, severity, summary) or
    `labels.<name>`. The window is rolling: each member extends it, up to `max_window` from the opening.
    """

    group_by: tuple[GroupField, ...] = Field(min_length=1, max_length=10)
    window: int = Field(default=300, ge=1, le=3600)
    max_window: int = Field(default=3600, ge=1, le=86_400)
    threshold: Threshold | None = None


class Service(AnyRecord):
    """What alerts are about. Without `correlation` each dedup key is its own incident.

    `dedup_window` and `straggler_hold` are seconds. For `straggler_hold` after a resolve, a trigger that repeats the
    start of the resolved alert is held: a second resolve ends it as stale, else it opens when the time is over.
    `destinations` are told of its incidents beside those that rules route to; `escalation` is the policy that pages
    people, `sla` are targets for the time to acknowledge and to resolve. `depends_on` are the services that it needs:
    while one of them has an incident, its own are told with that one. Services of one `domain` are decided on together;
    without a name those that depend on each other are. An alert that comes within `reopen` seconds after its incident
    was resolved opens that one again.
    """

    id: Name
    tenant: Name = DEFAULT_TENANT
    name: str = ""
    dedup_window: int = Field(default=DEFAULT_WINDOW_S, ge=0, le=86_400)
    straggler_hold: int = Field(default=60, ge=0, le=3600)
    correlation: Correlation | None = None
    destinations: tuple[Name, ...] = Field(default=(), max_length=50)
    life: Life = Life()
    notify: Notify = Notify()
    quiet_hours: tuple[QuietHours, ...] = Field(default=(), max_length=20)
    escalation: Name | None = None
    sla: SlaTargets = ()
    depends_on: tuple[Name, ...] = Field(default=(), max_length=50)
    domain: Name | None = None
    storm: Storm | None = None
    reopen: int = Field(default=0, ge=0, le=7 * 86_400)

    @field_validator("storm")
    @classmethod
    def _of_one_service(cls, storm: Storm | None, info: ValidationInfo) -> Storm | None:
        correlation = info.data.get("correlation")
        if storm is not None and correlation is not None and "service" not in correlation.group_by:
            raise ValueError(
                "correlation.group_by must have service: a group of several services is no service's storm"
            )
        return storm

    @field_validator("life")
    @classmethod
    def _one_window(cls, life: Life) -> Life:
        if life.window is not None:
            raise ValueError("the window of a service is its dedup_window; life.window is for rules")
        return life

    def references(self) -> Iterator[Reference]:
        """Its destinations, its escalation policy, and the calendars of its targets."""
        yield from references("destinations", "destination", self.destinations)
        yield from hours_references(self.quiet_hours)
        if self.escalation is not None:
            yield Reference("escalation", "escalation", self.escalation)
        yield from sla_references(self.sla)
        yield from references("depends_on", "service", self.depends_on)
