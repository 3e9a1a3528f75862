"""Changes to destinations: the records that a change would write. Pure, as streams.control.edits."""

from schemas.control import AnyRecord, Destination, Rule, Service, Tenant, control_key
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
    """The destination is deleted, and nothing names it any more."""
    records = [
        changed
        for record in control.records.values()
        if record != destination and _tenant(record) == destination.tenant
        if (changed := _without(record, destination.id)) != record
    ]
    return Change(records, [control_key(destination)])


def _tenant(record: AnyRecord) -> str:
    return record.id if isinstance(record, Tenant) else record.tenant


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
        case Destination() if record.fallback == name:
            changes = {"fallback": None}
    if isinstance(record, Service | Rule):
        # Hours for this destination alone end with it: hours without destinations would be for all.
        kept = [hours for hours in record.quiet_hours if hours.destinations != (name,)]
        changes["quiet_hours"] = tuple(
            hours.model_copy(update={"destinations": _others(hours.destinations, name)}) for hours in kept
        )
    return record.model_copy(update=changes) if changes else record


def _others(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(each for each in names if each != name)
