"""Changes to destinations: the records that a change would write. Pure, as streams.control.edits."""

from pydantic import ValidationError

from schemas.control import (
    AnyRecord,
    Destination,
    Escalation,
    Route,
    Rule,
    Service,
    Tenant,
    User,
    control_key,
    describe,
)
from schemas.control.route import Branch
from streams.control.edits import FieldError
from streams.control.state import Control
from streams.control.write import Change


def find_destination(control: Control, tenant: str, name: str) -> Destination:
    """The destination of this id. Raises FieldError."""
    found = control.destination(tenant, name)
    if found is None:
        raise FieldError("destination", f"the tenant {tenant} has no {name!r}; `stormweir destinations list` shows all")
    return found


def rules_of(control: Control, destination: Destination) -> list[Rule]:
    """The rules that route to this destination, by order and id."""
    rules = [rule for rule in control.rules.values() if rule.tenant == destination.tenant]
    return sorted((rule for rule in rules if destination.id in rule.route), key=lambda rule: (rule.order, rule.id))


def without(control: Control, destination: Destination) -> Change:
    """The destination is deleted, and nothing names it any more.

    Raises FieldError if a user cannot be reached without it, or an escalation policy would reach nobody.
    """
    records = [
        changed
        for record in control.records.values()
        if record != destination and record.owner == destination.tenant
        if (changed := _without(record, destination.id)) != record
    ]
    return Change(records, [control_key(destination)])


def _without(record: AnyRecord, name: str) -> AnyRecord:
    """The record, which no longer names this destination."""
    changes: dict[str, object] = {}
    match record:
        case Tenant():
            routes = {severity: _others(names, name) for severity, names in record.severity_routes.items()}
            changes = {"severity_routes": routes}
        case Service():
            changes = {"destinations": _others(record.destinations, name)}
        case Rule():
            changes = {"route": _others(record.route, name)}
        case Route():
            changes = _branch(record, name)
        case Destination() if record.fallback == name:
            changes = {"fallback": None}
        case User():
            changes = {"destinations": tuple(each for each in record.destinations if each.destination != name)}
        case Escalation():
            steps = tuple(
                each.model_copy(update={"destinations": _others(each.destinations, name)}) for each in record.steps
            )
            changes = {"steps": steps, "fallback": _others(record.fallback, name)}
    if isinstance(record, Service | Rule):
        # Hours for this destination alone end with it: hours without destinations would be for all.
        kept = [hours for hours in record.quiet_hours if hours.destinations != (name,)]
        changes["quiet_hours"] = tuple(
            hours.model_copy(update={"destinations": _others(hours.destinations, name)}) for hours in kept
        )
    changed = record.model_copy(update=changes) if changes else record
    if isinstance(record, User | Escalation):
        try:
            type(record).model_validate(changed.model_dump())
        except ValidationError as error:
            raise FieldError("destination", f"{control_key(record)} needs it: {describe(error)}") from None
    return changed


def _branch(branch: Branch, name: str) -> dict[str, object]:
    """The fields of a route, and of those below it, that no longer name this destination."""
    routes = tuple(each.model_copy(update=_branch(each, name)) for each in branch.routes)
    destinations = branch.destinations if branch.destinations is None else _others(branch.destinations, name)
    return {"destinations": destinations, "routes": routes}


def _others(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(each for each in names if each != name)
