"""Routes: trees that say who is told of an incident, and which incidents share a message.

streams.policy.routing says how they are walked. The meanings are those of Alertmanager's routes:
https://prometheus.io/docs/alerting/latest/configuration/#route
"""

import re
from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from schemas.control.record import DEFAULT_TENANT, AnyRecord, Name, Record, Reference, references

DAY_S = 86_400
#: Levels of a tree below its root, and routes of a whole tree.
MAX_DEPTH = 8
MAX_ROUTES = 2_000
#: In `group_by`: each incident is a group by itself.
EACH = "..."
#: The fields of an incident that groups may share; any other is a label.
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,200}")


def _groupable(names: tuple[str, ...]) -> tuple[str, ...]:
    if EACH in names and len(names) > 1:
        raise ValueError(f"{EACH} is each incident by itself, and stands alone")
    if len(set(names)) < len(names):
        raise ValueError("has a field twice")
    for name in names:
        if name != EACH and not _FIELD.fullmatch(name):
            raise ValueError(f"{name[:100]!r} is no field of an incident, and no label")
    return names


class Branch(Record):
    """A node of a tree: it takes the incidents for which all `match` lines hold, unless a route below does.

    What is not given is the parent's, but `match`, `continue` and the calendars; naming `destinations` or an
    `escalation` replaces both. Without destinations (`[]`) and escalation nobody is told. Times are seconds.
    """

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    match: tuple[str, ...] = Field(default=(), max_length=20)
    destinations: Annotated[tuple[Name, ...], Field(max_length=50)] | None = None
    escalation: Name | None = None
    group_by: Annotated[tuple[str, ...], Field(max_length=20), AfterValidator(_groupable)] | None = None
    group_wait: int | None = Field(default=None, ge=0, le=DAY_S)
    group_interval: int | None = Field(default=None, ge=1, le=DAY_S)
    repeat_interval: int | None = Field(default=None, ge=1, le=366 * DAY_S)
    #: Whether the routes after this one are tried too. `continue` is no name in Python.
    continue_: bool = Field(default=False, alias="continue")
    mute_calendars: tuple[Name, ...] = Field(default=(), max_length=10)
    active_calendars: tuple[Name, ...] = Field(default=(), max_length=10)
    routes: tuple["Branch", ...] = Field(default=(), max_length=MAX_ROUTES)

    def walk(self, path: str = "", depth: int = 0) -> Iterator[tuple[str, int, "Branch"]]:
        """This route and all below it, each with the beginning of its fields' paths (`routes.0.`) and its depth."""
        yield path, depth, self
        for index, route in enumerate(self.routes):
            yield from route.walk(f"{path}routes.{index}.", depth + 1)


class Route(Branch, AnyRecord):
    """The root of a tree. A tenant's roots are tried by `order`, then by id, like routes below one parent."""

    id: Name
    tenant: Name = DEFAULT_TENANT
    order: int = 100

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.destinations is None and self.escalation is None:
            raise ValueError("destinations or an escalation is needed; destinations: [] is nobody")
        for count, (path, depth, _) in enumerate(self.walk()):
            if depth > MAX_DEPTH:
                raise ValueError(f"{path[:-1]} is deeper than {MAX_DEPTH} levels")
            if count > MAX_ROUTES:
                raise ValueError(f"has more than {MAX_ROUTES} routes")
        return self

    def references(self) -> Iterator[Reference]:
        """The destinations, escalation policies and calendars of the whole tree."""
        for path, _, branch in self.walk():
            yield from references(f"{path}destinations", "destination", branch.destinations or ())
            if branch.escalation is not None:
                yield Reference(f"{path}escalation", "escalation", branch.escalation)
            yield from references(f"{path}mute_calendars", "calendar", branch.mute_calendars)
            yield from references(f"{path}active_calendars", "calendar", branch.active_calendars)
