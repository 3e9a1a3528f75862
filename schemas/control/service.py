"""Services, which alerts are about: which alerts form one incident, and who is told of it."""

import re

from pydantic import Field, field_validator

from schemas.control.notify import Notify
from schemas.control.quiet import QuietHours
from schemas.control.record import DEFAULT_TENANT, Name, Record

DEFAULT_WINDOW_S = 60


class Correlation(Record):
    """Alerts of one tenant with equal `group_by` values within `window` seconds form one incident.

    `group_by` names alert fields (service, source, component, group, class, severity, summary) or
    `labels.<name>`. The window is rolling: each member extends it, up to `max_window` from the opening.
    """

    group_by: tuple[str, ...] = Field(min_length=1, max_length=10)
    window: int = Field(default=300, ge=1, le=3600)
    max_window: int = Field(default=3600, ge=1, le=86_400)

    @field_validator("group_by")
    @classmethod
    def _known_fields(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        allowed = {"service", "source", "component", "group", "class", "severity", "summary", "dedup_key"}
        for name in names:
            if name not in allowed and not re.fullmatch(r"labels\.[^\s]{1,100}", name):
                raise ValueError(f"{name!r} is neither an alert field nor labels.<name>")
        return names


class Service(Record):
    """What alerts are about. Without `correlation` each dedup key is its own incident.

    `dedup_window` and `straggler_hold` are seconds. For `straggler_hold` after a resolve, a trigger that repeats the
    start of the resolved alert is held: a second resolve ends it as stale, else it opens when the time is over.
    `destinations` are told of its incidents beside those that rules route to.
    """

    id: Name
    tenant: Name = DEFAULT_TENANT
    name: str = ""
    dedup_window: int = Field(default=DEFAULT_WINDOW_S, ge=0, le=86_400)
    straggler_hold: int = Field(default=60, ge=0, le=3600)
    correlation: Correlation | None = None
    destinations: tuple[Name, ...] = Field(default=(), max_length=50)
    notify: Notify = Notify()
    quiet_hours: tuple[QuietHours, ...] = Field(default=(), max_length=20)
